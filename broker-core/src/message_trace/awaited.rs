//! Traces of messages that streams receive: the event is published when the publisher and all of these streams have done their part.
// NATS 2.14: msgtrace.go addJetStreamEvent, sendEventFromJetStream.

use std::fmt;

use super::{Hop, MessageTrace};
use crate::sync::{Arc, Mutex};

/// A traced message on its way into a stream. The stream reports what has become of it by
/// [`Broker::report_traced`](crate::Broker::report_traced).
#[derive(Clone)]
pub struct StreamTrace {
    awaited: Arc<Awaited>,
    /// The place of the stream among the hops.
    at: usize,
    is_only: bool,
}

/// The result of a traced message in a stream: stored, not wanted, or refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StreamReport {
    /// The subject that it is stored with; empty if it was refused before that was certain.
    pub subject: String,
    /// No consumer is interested, so that it is not stored.
    pub no_interest: bool,
    /// The reason why it is not stored.
    pub error: Option<String>,
}

/// A complete trace, with the account of the publisher.
pub(crate) type Complete = (String, MessageTrace);

/// The reports that an event waits for.
#[derive(Default)]
pub(super) struct Awaited {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The streams that have not reported.
    missing: usize,
    reports: Vec<(usize, StreamReport)>,
    /// Present once the publisher has done its part.
    trace: Option<Complete>,
}

impl State {
    fn take_complete(&mut self) -> Option<Complete> {
        if self.missing > 0 {
            return None;
        }
        let (account, mut trace) = self.trace.take()?;
        for (at, report) in self.reports.drain(..) {
            trace.set_report(at, report);
        }
        Some((account, trace))
    }
}

impl MessageTrace {
    /// Notes that the message goes to a stream, which reports.
    pub(crate) fn note_stream(&mut self, stream: &str) -> StreamTrace {
        let (ts, at) = (self.now(), self.hops.len());
        self.note(Hop::JetStream {
            ts,
            stream: stream.to_owned(),
            subject: String::new(),
            no_interest: false,
            error: None,
        });
        let awaited = Arc::clone(self.awaited.get_or_insert_default());
        awaited.state.lock().missing += 1;
        StreamTrace { awaited, at, is_only: self.is_only }
    }

    /// Ends the part of the publisher, whose account is named. Returns the trace unless streams have still to report: the last of them
    /// gets it.
    pub(crate) fn end(mut self, account: &str) -> Option<Self> {
        let Some(awaited) = self.awaited.take() else { return Some(self) };
        let mut state = awaited.state.lock();
        state.trace = Some((account.to_owned(), self));
        state.take_complete().map(|(_, trace)| trace)
    }

    fn set_report(&mut self, place: usize, report: StreamReport) {
        let now = self.now();
        if let Some(Hop::JetStream { ts, subject, no_interest, error, .. }) =
            self.hops.get_mut(place)
        {
            *ts = now;
            (*subject, *no_interest, *error) = (report.subject, report.no_interest, report.error);
        }
    }
}

impl StreamTrace {
    /// Returns true if the message is not to be stored: the stream only checks it.
    pub fn is_only(&self) -> bool {
        self.is_only
    }

    /// Reports what has become of the message. Returns the trace if it waited only for that.
    pub(crate) fn report(self, report: StreamReport) -> Option<Complete> {
        let mut state = self.awaited.state.lock();
        state.missing = state.missing.saturating_sub(1);
        state.reports.push((self.at, report));
        state.take_complete()
    }
}

impl fmt::Debug for StreamTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTrace").field("at", &self.at).finish_non_exhaustive()
    }
}
