//! Traces of messages (ADR-41): the hops that one message takes within this server, published as an event.
//!
//! A publisher that finds a request for a trace puts a [`MessageTrace`] into the [`Scratch`](crate::endpoint::Scratch)
//! of the call, and takes it out again to publish its event. Between the two, code that redirects the message
//! notes its hop there. Messages without a trace take another path, which asks for none.
// NATS 2.14: msgtrace.go.

mod awaited;
mod encoding;
mod event;

use awaited::Awaited;
pub use awaited::{StreamReport, StreamTrace};
pub use encoding::Encoding;
pub(crate) use event::{Hop, NotDelivered};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Clock;
use crate::go_json;
use crate::limits::TRACE_HOPS;
use crate::reserved;
use crate::server_info::ServerInfo;
use crate::sync::Arc;
use crate::timestamp::Timestamp;

/// An endpoint as an event names it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Party {
    pub(crate) kind: u8,
    pub(crate) cid: u64,
    pub(crate) name: String,
    pub(crate) account: String,
}

/// The trace of one message: its hops so far.
pub(crate) struct MessageTrace {
    clock: Arc<dyn Clock>,
    destination: Vec<u8>,
    is_only: bool,
    encoding: Encoding,
    request: Request,
    /// The place of this server in the path of the message; empty where it was published.
    hop: String,
    /// The number of other servers that the message was sent to.
    sent: usize,
    /// The place of the server that the next egress leads to.
    next_hop: String,
    hops: Vec<Hop>,
    /// The reports of streams that the event waits for; `None` if the message goes to no stream.
    awaited: Option<Arc<Awaited>>,
}

/// The traced message.
#[derive(Debug, Default, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "is_zero")]
    msgsize: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// The properties of a trace that its message requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requested<'a> {
    /// The subject of the event.
    pub(crate) destination: &'a [u8],
    /// The message is not delivered.
    pub(crate) is_only: bool,
    pub(crate) encoding: Encoding,
}

impl MessageTrace {
    /// Begins the trace of a message of `size` bytes, headers included, with those headers, that `from` has
    /// published to `subject`.
    pub(crate) fn begin<'h>(
        clock: &Arc<dyn Clock>,
        requested: Requested<'_>,
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        size: usize,
        from: Party,
        subject: &[u8],
    ) -> Self {
        let mut header: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            header.entry(text(name)).or_default().push(text(value));
        }
        let Party { kind, cid, name, account } = from;
        let is_from_server = kind != 0;
        let ts = Timestamp(clock.wall());
        let subject = text(subject);
        let ingress = Hop::Ingress { ts, kind, cid, name, account, subject, error: None };
        Self {
            clock: Arc::clone(clock),
            destination: requested.destination.to_vec(),
            is_only: requested.is_only,
            encoding: requested.encoding,
            hop: header
                .get(&text(reserved::TRACE_HOP))
                .and_then(|all| all.first().cloned())
                .filter(|_| is_from_server)
                .unwrap_or_default(),
            sent: 0,
            next_hop: String::new(),
            request: Request { header, msgsize: size },
            hops: vec![ingress],
            awaited: None,
        }
    }

    /// Returns true if the message is not delivered to the last receivers.
    pub(crate) fn is_only(&self) -> bool {
        self.is_only
    }

    /// Returns the subject of the event.
    pub(crate) fn destination(&self) -> &[u8] {
        &self.destination
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Replaces the size of the message, headers included.
    pub(crate) fn set_size(&mut self, size: usize) {
        self.request.msgsize = size;
    }

    /// Notes that the message was refused, with the text that its publisher gets.
    pub(crate) fn set_ingress_error(&mut self, why: &str) {
        if let Some(Hop::Ingress { error, .. }) = self.hops.first_mut() {
            *error = Some(why.to_owned());
        }
    }

    /// Notes that a mapping has replaced the subject.
    pub(crate) fn note_mapping(&mut self, to: &[u8]) {
        let (ts, to) = (self.now(), text(to));
        self.note(Hop::SubjectMapping { ts, to });
    }

    /// Notes that the message goes to a subscription of `account`, as `to`, because that account imports the stream.
    pub(crate) fn note_stream_export(&mut self, account: &str, to: &[u8]) {
        let (ts, account, to) = (self.now(), account.to_owned(), text(to));
        self.note(Hop::StreamExport { ts, account, to });
    }

    /// Notes that the message goes to `account`, which exports the service, as `to` instead of `from`.
    pub(crate) fn note_service_import(&mut self, account: &str, from: &[u8], to: &[u8]) {
        let (ts, account, from, to) = (self.now(), account.to_owned(), text(from), text(to));
        self.note(Hop::ServiceImport { ts, account, from, to });
    }

    /// Notes a delivery to a subscription, or the reason why there was none.
    pub(crate) fn note_egress(
        &mut self,
        to: Party,
        filter: &[u8],
        queue: Option<&[u8]>,
        outcome: Result<(), NotDelivered>,
    ) {
        let ts = self.now();
        let Party { kind, cid, name, mut account } = to;
        if self.is_account_of_sender(&account) {
            account.clear();
        }
        let (subscription, queue) = (text(filter), text(queue.unwrap_or_default()));
        let error = outcome.err().map(NotDelivered::text);
        let hop = std::mem::take(&mut self.next_hop);
        self.note(Hop::Egress { ts, kind, cid, name, hop, account, subscription, queue, error });
    }

    /// Returns the place of the next server that the message is sent to, for its headers.
    // NATS 2.14: msgtrace.go setHopHeader.
    pub(crate) fn begin_hop(&mut self) -> String {
        self.sent += 1;
        let before = if self.hop.is_empty() { String::new() } else { format!("{}.", self.hop) };
        self.next_hop = format!("{before}{}", self.sent);
        self.next_hop.clone()
    }

    /// Returns the event as JSON.
    pub(crate) fn into_json(self, server: &ServerInfo) -> Vec<u8> {
        #[derive(Serialize)]
        struct Event<'a> {
            server: &'a ServerInfo,
            request: &'a Request,
            #[serde(skip_serializing_if = "is_zero")]
            hops: usize,
            events: &'a [Hop],
        }
        let event = Event { server, request: &self.request, hops: self.sent, events: &self.hops };
        // Plain strings and numbers can always be written.
        go_json::compact(&event).unwrap_or_default()
    }

    fn is_account_of_sender(&self, name: &str) -> bool {
        matches!(self.hops.first(), Some(Hop::Ingress { account, .. }) if account == name)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.wall())
    }

    fn note(&mut self, hop: Hop) {
        if self.hops.len() < TRACE_HOPS {
            self.hops.push(hop);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
