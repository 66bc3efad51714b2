//! Makes a backup, and sends it to a client in chunks.
// NATS 2.14: jetstream_api.go jsStreamSnapshotRequest, streamSnapshot.

use std::io::{self, Write};
use std::sync::{Arc, Weak};
use std::time::Instant;

use broker_core::endpoint::Scratch;
use broker_core::{HandlerSubscription, ServerPublisher};

use super::super::outbox::BrokerOutbox;
use super::super::unit::Unit;
use super::acks::Acks;
use super::{Home, LOOK, OwnedRequest, PATIENCE};
use crate::api::request::SnapshotRequest;
use crate::api::{ApiRequest, BackupEvent, Host, answer_snapshot, stream_state, tell_backup};
use crate::backup::{BackupError, Start, write};
use crate::cell::Cell;
use crate::error::ApiError;
use crate::go;
use crate::limits::{CHUNK_BYTES, WINDOW_BYTES};
use crate::outbox::{Outbox, Outgoing};

/// The time that the first chunk waits for a subscription to the subject of the chunks.
const INTEREST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Begins a backup on a thread of its own.
///
/// # Errors
///
/// The error of the answer.
pub(in super::super) fn start(
    account: &Arc<dyn Home>,
    unit: &Arc<Unit>,
    options: &SnapshotRequest,
    request: &ApiRequest<'_>,
) -> Result<(), ApiError> {
    let stream = unit.config().name.clone();
    let snapshot = Snapshot {
        account: Arc::clone(account),
        unit: Arc::downgrade(unit),
        stream,
        options: options.clone(),
        request: OwnedRequest::of(request),
    };
    account.server().backups.start(move || snapshot.run()).map_err(ApiError::stream_snapshot)
}

/// A backup that is made.
struct Snapshot {
    account: Arc<dyn Home>,
    unit: Weak<Unit>,
    stream: String,
    options: SnapshotRequest,
    request: OwnedRequest,
}

impl Snapshot {
    fn run(&self) {
        let (account, stream) = (self.account.name(), &self.stream);
        let what =
            if self.options.check_messages { "health check and snapshot" } else { "snapshot" };
        tracing::info!("Starting {what} for stream '{account} > {stream}'");
        let begin = self.account.server().now();
        let started = match self.account.claim_snapshot(stream) {
            Some(claim) => self.begin().map(|started| (started, claim)),
            None => Err("snapshot in progress".to_owned()),
        };
        let ((start, state), _claim) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!("Snapshot of stream '{account} > {stream}' failed: {error}");
                let error = ApiError::stream_snapshot(error);
                return self.publish(|host, out| {
                    let now = self.account.server().now();
                    answer_snapshot(host, &self.request.get(), Err(error.clone()), now, out);
                });
            }
        };
        let answer = (start.config.clone(), state.clone());
        self.publish(|host, out| {
            let now = self.account.server().now();
            answer_snapshot(host, &self.request.get(), Ok(answer.clone()), now, out);
        });
        self.tell(&BackupEvent::SnapshotCreate(state));
        self.send(&start);
        self.tell(&BackupEvent::SnapshotComplete { start: begin });
        let bytes = go::friendly_bytes(start.state.bytes);
        let took = go::duration(self.account.server().now().since(begin));
        tracing::info!("Completed snapshot of {bytes} for stream '{account} > {stream}' in {took}");
    }

    /// Reads the state, and checks the messages if that is asked for.
    fn begin(&self) -> Result<(Start, crate::api::StreamState), String> {
        let mut started = None;
        self.see(&mut |cell| started = Some((Start::of(cell), stream_state(cell))));
        let closed = || BackupError::StreamClosed.to_string();
        let started = started.ok_or_else(closed)?;
        if self.options.check_messages {
            started.0.check(&mut |read| self.see(read)).map_err(|error| error.to_string())?;
        }
        Ok(started)
    }

    /// Sends the backup and its end.
    fn send(&self, start: &Start) {
        let mut chunks = match Chunks::open(&self.account, &self.stream, &self.options) {
            Ok(chunks) => chunks,
            Err(error) => return self.warn(&error),
        };
        let now = self.account.server().now();
        let with_consumers = !self.options.no_consumers;
        let written = write(&mut chunks, start, with_consumers, now, &mut |read| self.see(read));
        match written {
            Ok(written) if written.damaged > 0 => {
                let damaged = written.damaged;
                self.warn(&format!("{damaged} damaged messages are not part of the backup"));
            }
            Ok(_) => {}
            Err(ref error) => self.warn(error),
        }
        chunks.finish(written.err());
    }

    fn warn(&self, error: &dyn std::fmt::Display) {
        let (account, stream) = (self.account.name(), &self.stream);
        tracing::warn!("Snapshot of stream '{account} > {stream}' failed: {error}");
    }

    fn see(&self, read: &mut dyn FnMut(&Cell)) -> bool {
        let Some(unit) = self.unit.upgrade() else { return false };
        unit.see(|cell| read(cell));
        true
    }

    fn tell(&self, event: &BackupEvent) {
        self.publish(|host, out| {
            let now = self.account.server().now();
            tell_backup(host, &self.request.get(), &self.stream, event, now, out);
        });
    }

    fn publish(&self, mut call: impl FnMut(&mut dyn Host, &mut dyn Outbox)) {
        self.account.publish(&mut call);
    }
}

/// The reason why no more is sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Stop {
    /// Nobody subscribes to the subject of the chunks any more.
    #[error("408 No Interest")]
    NoInterest,
    /// The client does not acknowledge.
    #[error("408 No Flow Response")]
    NoFlow,
    #[error("500 server shutting down")]
    ServerEnds,
}

/// Chunks to a client, which acknowledges them.
struct Chunks {
    account: Arc<dyn Home>,
    publisher: ServerPublisher,
    scratch: Scratch,
    deliver: String,
    ack_subject: String,
    acks: Arc<Acks>,
    _subscription: HandlerSubscription,
    chunk: Vec<u8>,
    chunk_bytes: usize,
    /// The number of the next chunk.
    number: u64,
    /// The client subscribes to the subject itself, and not only to a wildcard; `None` before the first chunk.
    is_literal: Option<bool>,
}

impl Chunks {
    fn open(
        account: &Arc<dyn Home>,
        stream: &str,
        options: &SnapshotRequest,
    ) -> Result<Self, String> {
        let (chunk_bytes, most) = flow(options);
        let server = account.server();
        let acks = Arc::new(Acks::new(most));
        let ack_subject = format!("$JS.SNAPSHOT.ACK.{stream}.{}", server.unique_id());
        let acknowledged = Arc::clone(&acks);
        let handler =
            server.broker.handle_as_server(account.name(), move |_, _| acknowledged.acknowledged());
        let subject = format!("{ack_subject}.>");
        handler.subscribe(&subject, None).map_err(|error| error.to_string())?;
        Ok(Self {
            account: Arc::clone(account),
            publisher: server.broker.server_publisher(account.name()),
            scratch: Scratch::new(),
            deliver: options.deliver_subject.clone(),
            ack_subject,
            acks,
            _subscription: handler,
            chunk: Vec::with_capacity(chunk_bytes),
            chunk_bytes,
            number: 1,
            is_literal: None,
        })
    }

    /// Sends the chunk once the client has acknowledged enough.
    fn send_chunk(&mut self) -> Result<(), Stop> {
        self.wait()?;
        let reply = format!("{}.{}.{}", self.ack_subject, self.chunk.len(), self.number);
        self.send(reply.as_bytes(), b"");
        self.number += 1;
        self.chunk.clear();
        Ok(())
    }

    /// Waits until a chunk may be sent.
    fn wait(&mut self) -> Result<(), Stop> {
        self.wait_for_interest();
        let begin = Instant::now();
        loop {
            if self.account.server().backups.is_ended() {
                return Err(Stop::ServerEnds);
            }
            if !self.has_interest() {
                return Err(Stop::NoInterest);
            }
            if self.acks.take(LOOK) {
                return Ok(());
            }
            if begin.elapsed() >= PATIENCE {
                return Err(Stop::NoFlow);
            }
        }
    }

    /// Returns true if the client still subscribes.
    fn has_interest(&mut self) -> bool {
        let subject = self.deliver.as_bytes();
        match self.is_literal {
            Some(true) => self.publisher.has_literal_interest(subject, None),
            _ => self.publisher.has_interest(subject, None),
        }
    }

    /// Waits for a while until the client subscribes, before the first chunk: clients do so once they have the answer. They
    /// may subscribe to all of their inboxes before.
    fn wait_for_interest(&mut self) {
        if self.is_literal.is_some() {
            return;
        }
        let begin = Instant::now();
        let mut is_literal = false;
        while !is_literal
            && begin.elapsed() < INTEREST_PATIENCE
            && !self.account.server().backups.is_ended()
        {
            is_literal = self.publisher.has_literal_interest(self.deliver.as_bytes(), None);
            if !is_literal {
                std::thread::sleep(LOOK / 10);
            }
        }
        self.is_literal = Some(is_literal);
    }

    /// Sends what is left, and the end.
    // NATS 2.14: the last chunk, which is not full, is not acknowledged.
    fn finish(mut self, mut error: Option<BackupError>) {
        if error.is_none() && self.chunk.len() == self.chunk_bytes {
            error = self.send_chunk().err().map(|stop| io::Error::other(stop).into());
        }
        let status = match error {
            None => {
                self.wait_for_interest();
                if !self.chunk.is_empty() {
                    self.send(b"", b"");
                }
                (self.number > 1).then(|| "204".to_owned())
            }
            Some(BackupError::Io(error)) => {
                match error.get_ref().and_then(|it| it.downcast_ref()) {
                    Some(stop) => Some(Stop::to_string(stop)),
                    None => Some(format!("500 {error}")),
                }
            }
            Some(error) => Some(format!("500 {error}")),
        };
        self.chunk.clear();
        let headers = status.map(|status| format!("NATS/1.0 {status}\r\n\r\n"));
        self.send(b"", headers.unwrap_or_default().as_bytes());
    }

    fn send(&mut self, reply: &[u8], headers: &[u8]) {
        let Self { account, publisher, scratch, deliver, chunk, .. } = self;
        let broker = &account.server().broker;
        broker.begin(scratch);
        let subject = deliver.as_bytes();
        let message = Outgoing { to: subject, subject, reply, headers, payload: chunk };
        BrokerOutbox { publisher, scratch }.send(&message);
        broker.flush(scratch);
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == self.chunk_bytes {
            self.send_chunk().map_err(io::Error::other)?;
        }
        let length = bytes.len().min(self.chunk_bytes - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the bytes of a chunk, and the most chunks that are not acknowledged.
fn flow(options: &SnapshotRequest) -> (usize, usize) {
    let clamp = |asked: i64, (default, least, most): (usize, usize, usize)| match asked {
        0 => default,
        asked => usize::try_from(asked).unwrap_or(0).clamp(least, most),
    };
    let chunk = clamp(options.chunk_size, CHUNK_BYTES);
    let window = clamp(options.window_size, WINDOW_BYTES).max(chunk);
    (chunk, window / chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_windows_are_within_the_limits_of_the_reference() {
        let flow = |chunk_size, window_size| {
            flow(&SnapshotRequest { chunk_size, window_size, ..SnapshotRequest::default() })
        };
        assert_eq!(flow(0, 0), (128 << 10, 64));
        assert_eq!(flow(1, 1), (1024, 1));
        assert_eq!(flow(-1, -1), (1024, 1));
        assert_eq!(flow(i64::MAX, i64::MAX), (1 << 20, 32));
        assert_eq!(flow(1024, 1 << 40), (1024, 32768));
        assert_eq!(flow(1 << 20, 1024), (1 << 20, 1));
    }
}
