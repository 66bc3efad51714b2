//! Requests for single messages.

use super::call::Call;
use super::request::MessageDeleteRequest;
use super::response::{MessageFound, StoredMessage, Success, base64, encode, send_to};
use crate::cell::Cell;
use crate::config::StorageType;
use crate::error::ApiError;
use crate::stream::MessageRequest;

/// Answers with a message. This answer is not counted, and there is no advisory about it.
// NATS 2.14: jetstream_api.go jsMsgGetRequest.
pub(super) fn get(call: &mut Call<'_>, name: &str) {
    let request = match read_get(call) {
        Ok(request) => request,
        Err(error) => return call.send::<MessageFound>("stream_msg_get", Err(error)),
    };
    let reply = call.request.reply;
    let found = call.with_cell(name, |cell, _, out| {
        let mut buffer = Vec::new();
        let visible = cell.stream().visible();
        let record = cell.stream().get(&request, &mut buffer)?;
        let is_durable = record.sequence <= visible;
        let headers = if request.no_headers { &[][..] } else { record.headers };
        let message = StoredMessage {
            subject: String::from_utf8_lossy(record.subject).into_owned(),
            sequence: record.sequence,
            headers: base64(headers),
            data: base64(record.payload),
            time: record.time,
        };
        let answer = encode("stream_msg_get", Ok(MessageFound { message: Some(message) }));
        if is_durable {
            send_to(out, reply, &answer);
        } else {
            cell.answer(reply, &answer, out);
        }
        Ok(())
    });
    if let Err(error) = found {
        call.send::<MessageFound>("stream_msg_get", Err(error));
    }
}

fn read_get(call: &mut Call<'_>) -> Result<MessageRequest, ApiError> {
    call.limits()?;
    let request: MessageRequest = call.read_required()?;
    let MessageRequest { sequence, last_for, next_for, start_time, batch, max_bytes, .. } =
        &request;
    let (by_sequence, by_time) = (*sequence > 0, start_time.is_some());
    let (last, next) = (!last_for.is_empty(), !next_for.is_empty());
    let is_contradictory = (by_sequence && last)
        || (!by_sequence && !last && !next && !by_time)
        || (by_sequence && by_time)
        || (by_time && last)
        || (last && next);
    if *batch > 0 || *max_bytes > 0 || is_contradictory {
        return Err(ApiError::BAD_REQUEST);
    }
    Ok(request)
}

pub(super) fn delete(call: &mut Call<'_>, name: &str) {
    let now = call.now;
    match read_delete(call) {
        Ok(request) => call.attempt("stream_msg_delete", name, |cell, _, out| {
            let config = cell.stream().config();
            if config.sealed {
                return Err(ApiError::STREAM_SEALED);
            }
            if config.deny_delete {
                return Err(ApiError::stream_msg_delete_failed("message delete not permitted"));
            }
            let sequence = request.sequence;
            let missing = missing(cell, sequence);
            Ok(match cell.remove_message(sequence, !request.no_erase, now, out) {
                Ok(true) => Ok(Success::YES),
                Ok(false) => Err(missing),
                Err(error) => Err(error),
            })
        }),
        Err(error) => call.send::<Success>("stream_msg_delete", Err(error)),
    }
}

/// Returns the error about a message that cannot be removed because there is none.
// NATS 2.14: filestore.go removeMsg refuses sequences before the first and after the last message; memstore.go does not.
fn missing(cell: &Cell, sequence: u64) -> ApiError {
    let stream = cell.stream();
    let state = stream.state();
    let range = state.first_sequence..=state.last_sequence;
    let is_within = sequence > 0 && state.messages > 0 && range.contains(&sequence);
    match stream.config().storage {
        StorageType::File if sequence > state.last_sequence => {
            ApiError::stream_msg_delete_failed("stream store EOF")
        }
        StorageType::File if !is_within => ApiError::stream_msg_delete_failed("no message found"),
        _ => ApiError::sequence_not_found(sequence),
    }
}

fn read_delete(call: &mut Call<'_>) -> Result<MessageDeleteRequest, ApiError> {
    call.limits()?;
    call.read_required()
}
