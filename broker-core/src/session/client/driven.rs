//! The client's session as its driver sees it.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ClientSession;
use crate::auth::{Compute, Denied, Grant};
use crate::endpoint::{ByteQueue, ClientEncoder, Scratch};
use crate::error::{ClientFault, CloseReason};
use crate::security::Security;
use crate::session::{Received, Session};
use crate::sync::Arc;

/// The methods of the same names, which need no import of the trait.
impl Session for ClientSession {
    type Encoder = ClientEncoder;

    #[inline]
    fn id(&self) -> u64 {
        self.id()
    }

    #[inline]
    fn byte_queue(&self) -> &Arc<ByteQueue> {
        self.byte_queue()
    }

    #[inline]
    fn read_limit(&self) -> usize {
        self.read_limit()
    }

    #[inline]
    fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: Option<&Bytes>,
        scratch: &mut Scratch,
    ) -> Received {
        self.receive(now, input, shared, scratch)
    }

    #[inline]
    fn flush(&mut self, now: Instant, scratch: &mut Scratch) {
        self.flush(now, scratch);
    }

    #[inline]
    fn closing(&self) -> Option<CloseReason> {
        self.closing()
    }

    #[inline]
    fn next_timeout(&self) -> Instant {
        self.next_timeout()
    }

    #[inline]
    fn handle_timeout(&mut self, now: Instant, scratch: &mut Scratch) {
        self.handle_timeout(now, scratch);
    }

    #[inline]
    fn depart(&mut self, reason: CloseReason) -> bool {
        self.depart(reason)
    }

    #[inline]
    fn is_unauthenticated(&self) -> bool {
        self.is_unauthenticated()
    }

    #[inline]
    fn wants_input(&self) -> bool {
        self.wants_input()
    }

    #[inline]
    fn is_patient(&mut self) -> bool {
        self.is_patient()
    }

    #[inline]
    fn has_update(&self) -> bool {
        self.has_update()
    }

    #[inline]
    fn handle_update(&mut self, now: Instant, scratch: &mut Scratch) {
        self.handle_update(now, scratch);
    }

    #[inline]
    fn ignore_updates(&self) {
        self.ignore_updates();
    }

    #[inline]
    fn has_chores(&self) -> bool {
        self.has_chores()
    }

    #[inline]
    fn do_chores(&mut self, now: Instant, scratch: &mut Scratch) {
        self.do_chores(now, scratch);
    }

    #[inline]
    fn take_check(&mut self) -> Option<Compute> {
        self.take_check()
    }

    #[inline]
    fn handle_checked(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        self.handle_checked(result, now, scratch);
    }

    #[inline]
    fn greet(&mut self, now: Instant, scratch: &mut Scratch) {
        self.greet(now, scratch);
    }

    #[inline]
    fn handle_secured(&mut self, security: Option<Security>, now: Instant, scratch: &mut Scratch) {
        self.handle_secured(security, now, scratch);
    }

    #[inline]
    fn handle_insecure(&mut self, fault: &ClientFault, now: Instant, scratch: &mut Scratch) {
        self.handle_insecure(fault, now, scratch);
    }

    #[inline]
    fn has_half_closed(&self) -> bool {
        self.has_half_closed()
    }

    #[inline]
    fn patience(&self) -> Duration {
        self.patience()
    }

    #[inline]
    fn take_has_published(&mut self) -> bool {
        self.take_has_published()
    }

    #[inline]
    fn note_flush(&self, took: Duration) {
        self.note_flush(took);
    }

    #[inline]
    fn log_read_error(&self, why: &dyn fmt::Display) {
        self.log_read_error(why);
    }
}
