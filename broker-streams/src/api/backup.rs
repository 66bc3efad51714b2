//! Requests that make backups of streams, and restore them.
// NATS 2.14: jetstream_api.go jsStreamSnapshotRequest, jsStreamRestoreRequest.

use super::advisory::{self, Action, BackupEvent};
use super::call::Call;
use super::host::{ApiRequest, Host};
use super::request::{RestoreRequest, SnapshotRequest};
use super::response::{
    Nothing, RestoreStarted, SnapshotStarted, StreamCreated, StreamState, encode, send_to,
};
use super::stream::with_versions;
use super::stream_change::{check_bytes, check_config, check_overlap, check_reserved, check_room};
use crate::cell::Cell;
use crate::config::{StreamConfig, Time};
use crate::error::ApiError;
use crate::go::json;
use crate::outbox::Outbox;

pub(super) fn snapshot(call: &mut Call<'_>, name: &str) {
    // The backup itself answers once it has begun.
    if let Err(error) = try_snapshot(call, name) {
        call.send::<Nothing>("stream_snapshot", Err(error));
    }
}

fn try_snapshot(call: &mut Call<'_>, name: &str) -> Result<(), ApiError> {
    call.limits()?;
    if json::is_empty_request(call.request.payload) {
        return Err(ApiError::BAD_REQUEST);
    }
    call.with_cell(name, |_, _, _| Ok(()))?;
    let snapshot: SnapshotRequest = call.read()?;
    if broker_core::Subject::parse(&snapshot.deliver_subject).is_err() {
        return Err(ApiError::SNAPSHOT_DELIVER_SUBJECT_INVALID);
    }
    call.host.start_snapshot(name, &snapshot, call.request)
}

/// Answers a request for a backup that has begun, or that has failed.
pub(crate) fn answer_snapshot(
    host: &mut dyn Host,
    request: &ApiRequest<'_>,
    result: Result<(StreamConfig, StreamState), ApiError>,
    now: Time,
    out: &mut dyn Outbox,
) {
    let identity = host.identity();
    let mut call = Call { host, identity, request, now, out };
    let started =
        result.map(|(config, state)| SnapshotStarted { config: Some(config), state: Some(state) });
    call.send("stream_snapshot", started);
}

pub(super) fn restore(call: &mut Call<'_>, name: &str) {
    let result = try_restore(call, name);
    call.send("stream_restore", result);
}

fn try_restore(call: &mut Call<'_>, name: &str) -> Result<RestoreStarted, ApiError> {
    let limits = call.limits()?;
    let RestoreRequest { mut config } = call.read_required()?;
    if config.name.is_empty() {
        name.clone_into(&mut config.name);
    }
    if config.name != name {
        return Err(ApiError::STREAM_MISMATCH);
    }
    if name.contains(['\\', '/']) {
        return Err(ApiError::STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    let config = check_config(call, None, &config, &limits, false)?;
    check_room(call, &config, &limits)?;
    check_bytes(call, &config, &limits)?;
    if call.host.stream_config(name).is_some() {
        return Err(ApiError::STREAM_NAME_EXIST_RESTORE_FAILED);
    }
    let deliver_subject = call.host.start_restore(config, call.request)?;
    Ok(RestoreStarted { deliver_subject })
}

/// Checks whether the account and the server have room for a stream that is being restored, of which the backup has that many
/// bytes so far, and whether its subjects are free.
///
/// # Errors
///
/// An error of the API.
// NATS 2.14: stream.go RestoreStream.
pub(crate) fn check_restored(
    host: &dyn Host,
    config: &StreamConfig,
    bytes: u64,
) -> Result<(), ApiError> {
    if config.replicas > 1 {
        return Err(ApiError::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    let limits = host.limits().ok_or(ApiError::NOT_ENABLED_FOR_ACCOUNT)?;
    let selected = limits.select(config.replicas).ok_or(ApiError::NO_LIMITS)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let bytes = config.max_bytes.max(1).saturating_add(bytes);
    check_reserved(host, config, bytes, selected, 0)?;
    if host.stream_config(&config.name).is_some() {
        return Err(ApiError::STREAM_NAME_EXIST_RESTORE_FAILED);
    }
    check_overlap(host, config)
}

/// A restoration that answers the chunks of the backup.
pub(crate) struct Restoration<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) request: &'a ApiRequest<'a>,
    pub(crate) stream: &'a str,
    pub(crate) now: Time,
    pub(crate) out: &'a mut dyn Outbox,
}

impl Restoration<'_> {
    /// Tells about the restoration.
    pub(crate) fn tell(&mut self, event: &BackupEvent) {
        advisory::tell_backup(self.host, self.request, self.stream, event, self.now, self.out);
    }

    /// Tells about the stream that was created.
    pub(crate) fn tell_created(&mut self) {
        advisory::stream_action(self.host, self.stream, Action::Create, self.now, self.out);
    }

    /// Answers with an error.
    pub(crate) fn fail(&mut self, reply: &[u8], error: ApiError) {
        if !reply.is_empty() {
            let answer = encode::<Nothing>("stream_create", Err(error));
            send_to(self.out, reply, &answer);
        }
    }

    /// Answers with the state of the stream.
    pub(crate) fn succeed(&mut self, reply: &[u8]) {
        let (now, identity) = (self.now, self.host.identity());
        self.host.with_stream(self.stream, &mut |cell: &mut Cell, _, out| {
            let info = with_versions(cell, now, &identity.version);
            let created = StreamCreated { info: Some(info), did_create: false };
            cell.answer(reply, &encode("stream_create", Ok(created)), out);
        });
    }
}
