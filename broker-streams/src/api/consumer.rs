//! Requests about consumers that exist.

use super::call::Call;
use super::request::{ConsumerListRequest, PauseRequest, Request, ResetRequest, UnpinRequest};
use super::response::{
    ConsumerFound, ConsumerList, ConsumerNames, ConsumerReset, Nothing, Page, Paused, Success,
    encode, send_to,
};
use super::stream::{MAX_NAMES, MAX_STATES};
use crate::cell::Cell;
use crate::config::check::is_valid_group;
use crate::config::{Time, version};
use crate::consumer::ConsumerInfo;
use crate::error::ApiError;
use crate::go::json::Mode;
use crate::outbox::Outbox;

pub(super) fn names(call: &mut Call<'_>, stream: &str) {
    let result = list_names(call, stream);
    call.send("consumer_names", result);
}

fn list_names(call: &mut Call<'_>, stream: &str) -> Result<ConsumerNames, ApiError> {
    call.limits()?;
    let request: ConsumerListRequest = call.read_optional()?;
    let names = call.with_cell(stream, |cell, _, _| Ok(public_names(cell)))?;
    let (page, consumers) = Page::of(names, request.offset, MAX_NAMES);
    Ok(ConsumerNames { page, consumers })
}

/// Returns the names of consumers that are not made for other streams.
fn public_names(cell: &Cell) -> Vec<String> {
    let mut names = cell.consumer_names();
    names.retain(|name| cell.consumer(name).is_some_and(|consumer| !consumer.config().direct));
    names
}

pub(super) fn list(call: &mut Call<'_>, stream: &str) {
    let result = list_states(call, stream);
    call.send("consumer_list", result);
}

fn list_states(call: &mut Call<'_>, stream: &str) -> Result<ConsumerList, ApiError> {
    call.limits()?;
    let request: ConsumerListRequest = call.read_optional()?;
    let now = call.now;
    call.with_cell(stream, |cell, _, out| {
        let (page, names) = Page::of(public_names(cell), request.offset, MAX_STATES);
        let states = names.iter().filter_map(|name| cell.consumer_info(name, now, out));
        Ok(ConsumerList { page, consumers: states.collect() })
    })
}

pub(super) fn info(call: &mut Call<'_>, stream: &str, name: &str) {
    let result = consumer_info(call, stream, name);
    call.send("consumer_info", result);
}

fn consumer_info(call: &mut Call<'_>, stream: &str, name: &str) -> Result<ConsumerFound, ApiError> {
    call.check_empty()?;
    call.limits()?;
    let (now, identity) = (call.now, call.identity.clone());
    call.with_cell(stream, |cell, _, out| {
        let info = with_versions(cell, name, now, &identity.version, out)?;
        Ok(ConsumerFound { info: Some(info) })
    })
}

/// Returns the state of a consumer, with the entries of metadata that answers about one consumer have.
pub(super) fn with_versions(
    cell: &mut Cell,
    name: &str,
    now: Time,
    version: &str,
    out: &mut dyn Outbox,
) -> Result<ConsumerInfo, ApiError> {
    let info = cell.consumer_info(name, now, out);
    let mut info = info.ok_or(ApiError::CONSUMER_NOT_FOUND)?;
    version::add_dynamic(&mut info.config.metadata, version);
    Ok(info)
}

pub(super) fn delete(call: &mut Call<'_>, stream: &str, name: &str) {
    let now = call.now;
    match call.limits().and_then(|_| call.check_empty()) {
        Ok(()) => call.change("consumer_delete", stream, |cell, _, out| {
            match cell.remove_consumer(name, now, out)? {
                true => Ok(Success::YES),
                false => Err(ApiError::CONSUMER_NOT_FOUND),
            }
        }),
        Err(error) => call.send::<Success>("consumer_delete", Err(error)),
    }
}

// NATS 2.14: jetstream_api.go jsConsumerPauseRequest.
pub(super) fn pause(call: &mut Call<'_>, stream: &str, name: &str) {
    let request: Result<PauseRequest, _> = call.read_optional();
    let now = call.now;
    match request.and_then(|request| call.limits().map(|_| request)) {
        Ok(request) => call.change("consumer_pause", stream, |cell, _, out| {
            let consumer = cell.consumer(name).ok_or(ApiError::CONSUMER_NOT_FOUND)?;
            let mut config = consumer.config().clone();
            let until = request.pause_until;
            config.pause_until = (until.0 != 0).then_some(until);
            version::set_consumer_level(&mut config);
            cell.update_consumer(name, config, now, out)
                .map_err(|error| ApiError::consumer_store_failed(error.description))?;
            let paused = until > now;
            let pause_remaining = if paused { until.since(now) } else { 0 };
            Ok(Paused { paused, pause_until: until, pause_remaining })
        }),
        Err(error) => call.send::<Paused>("consumer_pause", Err(error)),
    }
}

// NATS 2.14: jetstream_api.go jsConsumerUnpinRequest.
pub(super) fn unpin(call: &mut Call<'_>, stream: &str, name: &str) {
    let now = call.now;
    match read_unpin(call) {
        Ok(request) => call.change("consumer_unpin", stream, |cell, _, out| {
            let consumer = cell.consumer(name).ok_or(ApiError::CONSUMER_NOT_FOUND)?;
            if !consumer.config().priority_groups.contains(&request.group) {
                return Err(ApiError::CONSUMER_INVALID_PRIORITY_GROUP);
            }
            cell.unpin(name, &request.group, now, out);
            Ok(Nothing {})
        }),
        Err(error) => call.send::<Nothing>("consumer_unpin", Err(error)),
    }
}

fn read_unpin(call: &mut Call<'_>) -> Result<UnpinRequest, ApiError> {
    call.check_level()?;
    let request = UnpinRequest::read(call.request.payload, Mode::One)?;
    if request.group.is_empty() {
        return Err(ApiError::invalid_json("consumer group not specified"));
    }
    if !is_valid_group(&request.group) {
        return Err(ApiError::CONSUMER_INVALID_GROUP_NAME);
    }
    call.limits()?;
    Ok(request)
}

/// Sets a consumer back. The reference answers in the place of the consumer: without one there is no answer, and none is counted.
// NATS 2.14: consumer.go processResetReq.
pub(super) fn reset(call: &mut Call<'_>, stream: &str, name: &str) {
    let (reply, now, identity) = (call.request.reply, call.now, call.identity.clone());
    if reply.is_empty() {
        return;
    }
    let request = read_reset(call);
    let _ = call.with_cell(stream, |cell, _, out| {
        if cell.consumer(name).is_none() {
            return Ok(());
        }
        let result = request.and_then(|request| {
            let sequence = cell.reset_consumer(name, request.sequence, now, out);
            let sequence = sequence.map_err(ApiError::consumer_invalid_reset)?;
            let info = with_versions(cell, name, now, &identity.version, out)?;
            let sequence = sequence.ok_or(ApiError::CONSUMER_NOT_FOUND)?;
            Ok(ConsumerReset { info: Some(info), sequence })
        });
        if result.is_ok() {
            cell.answer(reply, &encode("consumer_reset", result), out);
        } else {
            send_to(out, reply, &encode("consumer_reset", result));
        }
        Ok(())
    });
}

fn read_reset(call: &Call<'_>) -> Result<ResetRequest, ApiError> {
    call.check_level()?;
    match call.request.payload {
        [] => Ok(ResetRequest::default()),
        payload => ResetRequest::read(payload, Mode::One),
    }
}
