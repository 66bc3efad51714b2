//! A request that is being answered.

use std::sync::Arc;

use serde::Serialize;

use super::advisory::{self, Action};
use super::host::{ApiRequest, Host, Identity};
use super::request::Request;
use super::response::{Success, encode, send_to};
use crate::cell::Cell;
use crate::config::Time;
use crate::config::limits::AccountLimits;
use crate::config::version::{REQUIRED_LEVEL_HEADER, exceeds_level};
use crate::error::ApiError;
use crate::go::json::{self, Mode};
use crate::outbox::Outbox;
use crate::stream::Room;

/// A request that is being answered.
pub(super) struct Call<'a> {
    pub(super) host: &'a mut dyn Host,
    pub(super) identity: Arc<Identity>,
    pub(super) request: &'a ApiRequest<'a>,
    pub(super) now: Time,
    pub(super) out: &'a mut dyn Outbox,
}

impl Call<'_> {
    /// Checks the API level that the request needs, and that the account may have streams. Returns its limits.
    pub(super) fn limits(&self) -> Result<Arc<AccountLimits>, ApiError> {
        self.check_level()?;
        self.host.limits().ok_or(ApiError::NOT_ENABLED_FOR_ACCOUNT)
    }

    pub(super) fn check_level(&self) -> Result<(), ApiError> {
        let header = broker_core::header_block::value(
            self.request.headers,
            REQUIRED_LEVEL_HEADER.as_bytes(),
        );
        if exceeds_level(header) { Err(ApiError::REQUIRED_API_LEVEL) } else { Ok(()) }
    }

    pub(super) fn mode(&self) -> Mode {
        if self.identity.strict { Mode::Strict } else { Mode::Lenient }
    }

    /// Reads the request; an invalid one is logged.
    pub(super) fn read<R: Request>(&mut self) -> Result<R, ApiError> {
        let read = R::read(self.request.payload, self.mode());
        if let Err(error) = &read {
            self.warn(error);
        }
        read
    }

    /// Reads a request that must have content.
    pub(super) fn read_required<R: Request>(&mut self) -> Result<R, ApiError> {
        if json::is_empty_request(self.request.payload) {
            return Err(ApiError::BAD_REQUEST);
        }
        self.read()
    }

    /// Reads a request whose content is optional.
    pub(super) fn read_optional<R: Request>(&mut self) -> Result<R, ApiError> {
        if json::is_object_or_array(self.request.payload) { self.read() } else { Ok(R::default()) }
    }

    /// Checks that the request has no content.
    pub(super) fn check_empty(&self) -> Result<(), ApiError> {
        let is_empty = json::is_empty_request(self.request.payload);
        if is_empty { Ok(()) } else { Err(ApiError::NOT_EMPTY_REQUEST) }
    }

    // NATS 2.14: jetstream_api.go unmarshalRequest.
    fn warn(&mut self, error: &ApiError) {
        let text = error.description.trim_start_matches("invalid JSON: ");
        let subject = self.request.subject;
        self.host.warn(&format!("Invalid JetStream request '{subject}': {text}"));
    }

    /// Calls `act` with a stream.
    pub(super) fn with_cell<T>(
        &mut self,
        stream: &str,
        act: impl FnOnce(&mut Cell, Room, &mut dyn Outbox) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (mut act, mut result) = (Some(act), None);
        self.host.with_stream(stream, &mut |cell, room, out| {
            result = act.take().map(|act| act(cell, room, out));
        });
        result.unwrap_or_else(|| Err(self.host.not_served(stream)))
    }

    /// Sends an answer.
    pub(super) fn send<B: Serialize + Default>(&mut self, kind: &str, result: Result<B, ApiError>) {
        let is_error = result.is_err();
        let answer = encode(kind, result);
        if !self.request.reply.is_empty() {
            send_to(self.out, self.request.reply, &answer);
        }
        self.finish(&answer, is_error);
    }

    /// Calls `act` with the stream, and answers with its result once its changes are durable.
    pub(super) fn change<B: Serialize + Default>(
        &mut self,
        kind: &str,
        stream: &str,
        act: impl FnOnce(&mut Cell, Room, &mut dyn Outbox) -> Result<B, ApiError>,
    ) {
        self.attempt(kind, stream, |cell, room, out| act(cell, room, out).map(Ok));
    }

    /// [`Self::change`] where the inner result is that of the stream itself, whose errors are not counted.
    pub(super) fn attempt<B: Serialize + Default>(
        &mut self,
        kind: &str,
        stream: &str,
        act: impl FnOnce(&mut Cell, Room, &mut dyn Outbox) -> Result<Result<B, ApiError>, ApiError>,
    ) {
        let reply = self.request.reply;
        let sent = self.with_cell(stream, |cell, room, out| {
            let result = act(cell, room, out);
            let is_error = result.is_err();
            let answer = encode(kind, result.flatten());
            if !reply.is_empty() {
                cell.answer(reply, &answer, out);
            }
            Ok((answer, is_error))
        });
        match sent {
            Ok((answer, is_error)) => self.finish(&answer, is_error),
            Err(error) => self.send::<B>(kind, Err(error)),
        }
    }

    /// Counts the request, and publishes its audit advisory.
    fn finish(&mut self, answer: &[u8], is_error: bool) {
        self.host.count(is_error);
        let Self { host, request, out, .. } = self;
        advisory::audit(*host, request, answer, self.now, *out);
    }

    /// Publishes the advisory of a change of a stream.
    pub(super) fn stream_action(&mut self, stream: &str, action: Action) {
        let Self { host, out, .. } = self;
        advisory::stream_action(*host, stream, action, self.now, *out);
    }

    /// Refuses a request that only servers with replicated streams serve.
    pub(super) fn needs_cluster(&mut self, kind: &str) {
        self.send::<Success>(kind, Err(ApiError::CLUSTER_REQUIRED));
    }
}
