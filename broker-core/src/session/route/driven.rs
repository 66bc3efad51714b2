//! The session of another server as its driver sees it.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::{Phase, RouteSession};
use crate::auth::{Compute, Denied, Grant};
use crate::endpoint::{ByteQueue, RouteEncoder, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::limits::PRE_AUTH_READ_BYTES;
use crate::security::Security;
use crate::session::{Received, Session};
use crate::sync::Arc;
use crate::transport::CompressionLevel;

impl Session for RouteSession {
    type Encoder = RouteEncoder;

    fn id(&self) -> u64 {
        self.endpoint.id
    }

    fn byte_queue(&self) -> &Arc<ByteQueue<RouteEncoder>> {
        &self.byte_queue
    }

    fn read_limit(&self) -> usize {
        match self.phase {
            Phase::Joined => usize::MAX,
            _ => PRE_AUTH_READ_BYTES.max(self.limits.max_kept_line_bytes() + 1),
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        scratch.start(now);
        let received = self.receive_all(now, input, shared, scratch);
        if !scratch.take_expects_more() {
            self.flush_all(now, scratch);
        }
        received
    }

    fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        self.flush_all(now, scratch);
    }

    fn closing(&self) -> Option<CloseReason> {
        self.byte_queue.ending().or(self.closing)
    }

    fn next_timeout(&self) -> Instant {
        self.deadline()
    }

    fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch) {
        self.check_deadlines(now, scratch);
    }

    fn depart(&mut self, reason: CloseReason) -> bool {
        self.depart_by_slice(reason)
    }

    fn is_unauthenticated(&self) -> bool {
        !matches!(self.phase, Phase::Joined)
    }

    fn wants_input(&self) -> bool {
        self.takes_input()
    }

    fn has_update(&self) -> bool {
        self.endpoint.control.is_there()
    }

    fn handle_update(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        let control = self.endpoint.control.take();
        if control.options {
            self.follow_options(now);
        }
        if control.account_removed {
            self.accounts.leave_removed();
        }
        for account in &control.moved {
            self.accounts.leave(account);
        }
        if control.permissions {
            self.follow_permissions();
        }
        self.write_slices(now, scratch);
    }

    fn ignore_updates(&self) {
        self.endpoint.control.close();
    }

    fn has_chores(&self) -> bool {
        self.is_paused || self.link.has_more() || self.accounts.has_leaving()
    }

    fn do_chores(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        self.is_paused = false;
        if self.link.has_more() {
            self.link.step();
            self.unwritten_slices += 1;
        }
        self.accounts.step();
        self.write_slices(now, scratch);
    }

    fn take_check(&mut self) -> Option<Compute> {
        self.check.take()
    }

    fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        scratch.start(now);
        self.conclude(&result, scratch);
    }

    fn handle_secured(&mut self, security: Option<Security>, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        if let Some(security) = &security {
            tracing::debug!(client = %self.endpoint, "TLS handshake complete");
            let Security { version, cipher_suite, .. } = security;
            tracing::debug!(
                client = %self.endpoint,
                "TLS version {version}, cipher suite {cipher_suite}"
            );
        }
        self.endpoint.security.store(security.map(Arc::new));
        self.begin(now, scratch);
    }

    fn handle_insecure(&mut self, fault: &ClientFault, now: Instant, scratch: &mut Scratch) {
        let _ = (now, scratch);
        // NATS 2.14: client.go doTLSHandshake.
        let text = fault.to_string().replacen("TLS handshake", "TLS route handshake", 1);
        tracing::error!(client = %self.endpoint, "{text}");
        self.closing = self.closing.or(Some(CloseReason::TlsHandshakeFailure));
    }

    fn wants_compression(&self) -> Option<CompressionLevel> {
        self.wanted_level()
    }

    fn handle_compressed(&mut self, now: Instant, scratch: &mut Scratch) {
        self.note_compressed(now, scratch);
    }

    fn take_has_published(&mut self) -> bool {
        std::mem::take(&mut self.has_published)
    }

    fn note_flush(&self, took: std::time::Duration) {
        self.shared.flushes.add(took);
    }

    fn log_read_error(&self, why: &dyn fmt::Display) {
        tracing::error!(client = %self.endpoint, "{why}");
    }
}
