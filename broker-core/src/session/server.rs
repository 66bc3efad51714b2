//! Messages of the server itself, which need no session.

use super::sizes::Sizes;
use crate::account::Account;
use crate::endpoint::{Endpoint, Kind, Run, Scratch, Sender, Subscription};
use crate::header_block;
use crate::interest::Matches;
use crate::message::RawMessage;
use crate::message_trace::MessageTrace;
use crate::proto::Publish;
use crate::random::Random;
use crate::routing::{
    Requesting, ServiceState, deliver, deliver_with_services, flush_touched, pass_to_services,
    would_reach,
};
use crate::shared::Shared;
use crate::sync::Arc;

/// The server as a publisher: no endpoint has this id.
pub(super) const SERVER: Sender =
    Sender { id: 0, kind: Kind::System, echo: true, is_served: false };

/// Returns true if a message of the server to `subject` would have a receiver.
pub(crate) fn has_receivers(account: &Account, subject: &[u8]) -> bool {
    let mut matches = Matches::default();
    account.interest.collect(subject, &mut matches);
    reaches(subject, &matches)
}

/// Returns true if the service of another account would take a message to `subject`.
pub(crate) fn has_service(account: &Account, subject: &[u8]) -> bool {
    let mut matches = Matches::default();
    account.interest.collect(subject, &mut matches);
    !matches.services().is_empty()
}

/// A service of another account may take it; that is only known once it is passed on.
pub(super) fn reaches(subject: &[u8], matches: &Matches<Subscription>) -> bool {
    !matches.services().is_empty() || would_reach(SERVER, subject, matches)
}

/// Delivers a message of the server, without permissions: of its own accord, or as the answer to a request. Returns
/// false if it had no receiver.
pub(crate) fn publish_from_server(
    shared: &Shared,
    account: &Arc<Account>,
    message: &RawMessage<'_>,
) -> bool {
    let mut matches = Matches::default();
    account.interest.collect(message.subject, &mut matches);
    if !reaches(message.subject, &matches) {
        return false;
    }
    let mut scratch = Scratch::new();
    scratch.start_by(&shared.clock);
    let mut random = Random::new(shared.next_seed());
    let mut is_delivered = true;
    with_run(message, |run| {
        let unanswered = |_: &Publish<'_>, _: &mut Scratch| is_delivered = false;
        let (random, scratch) = (&mut random, &mut scratch);
        // Only accounts with a context have services.
        let context = account.context().filter(|_| !matches.services().is_empty());
        let Some(context) = context else {
            return deliver(account, SERVER, run, &matches, random, scratch, unanswered);
        };
        let (endpoint, state) = (&*context.responses, &mut ServiceState::default());
        let mut requesting = Requesting { endpoint, random, state, scratch };
        deliver_with_services(account, run, &matches, &mut requesting, unanswered);
    });
    flush_touched(&mut scratch);
    if shared.queues.memory.excess_bytes() > 0 {
        shared.guard_total(&shared.options.load().limits);
    }
    is_delivered
}

/// Publishes the event of a trace in the account of the sender of the message, where the sender may publish. The caller
/// flushes.
// NATS 2.14: events.go sendInternalAccountSysMsg: without mappings.
pub(super) fn publish_event(
    shared: &Shared,
    (account, endpoint): (&Arc<Account>, &Endpoint),
    trace: MessageTrace,
    random: &mut Random,
    services: &mut Option<Box<ServiceState>>,
    scratch: &mut Scratch,
) {
    let Some(trace) = trace.end(&account.name) else { return };
    let event = Event::of(shared, trace);
    let mut matches = Matches::default();
    account.interest.collect(&event.subject, &mut matches);
    with_run(&event.message(), |run| {
        deliver(account, SERVER, run, &matches, random, scratch, |_, _| ());
        if !matches.services().is_empty() {
            let state = services.get_or_insert_default();
            let mut requesting = Requesting { endpoint, random, state, scratch };
            pass_to_services(account, run, &matches, &mut requesting);
        }
    });
}

/// Publishes the event of a trace that has waited for streams, in the account of the sender of the message.
pub(crate) fn publish_awaited_event(shared: &Shared, account: &str, trace: MessageTrace) {
    if let Some(account) = shared.known_account(account) {
        publish_from_server(shared, &account, &Event::of(shared, trace).message());
    }
}

/// The event of a trace as a message.
struct Event {
    subject: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

impl Event {
    fn of(shared: &Shared, trace: MessageTrace) -> Self {
        let (subject, encoding) = (trace.destination().to_vec(), trace.encoding());
        let payload = encoding.encode(trace.into_json(&shared.server_info()));
        let name = encoding.name();
        let headers = name.map(|name| header_block::set(b"", b"Content-Encoding", name.as_bytes()));
        Self { subject, headers: headers.unwrap_or_default(), payload }
    }

    fn message(&self) -> RawMessage<'_> {
        RawMessage {
            subject: &self.subject,
            reply: b"",
            headers: &self.headers,
            payload: &self.payload,
            body: None,
            shared: None,
            sender: None,
            trace: None,
        }
    }
}

/// Calls `deliver` with a message as a run.
fn with_run(message: &RawMessage<'_>, deliver: impl FnOnce(&Run<'_>)) {
    let joined;
    let body = match message.body {
        Some(body) => body,
        None => {
            joined = [message.headers, message.payload].concat();
            &joined
        }
    };
    let header_len = Some(message.headers.len()).filter(|len| *len > 0);
    let mut sizes = Sizes::default();
    let publish = Publish {
        subject: message.subject,
        reply: message.reply,
        header_len,
        body,
        sizes: sizes.of(header_len, body.len()),
        tail: None,
    };
    deliver(&Run {
        shown: None,
        subject: message.subject,
        messages: std::slice::from_ref(&publish),
        shared: message.shared,
        parsed: None,
        prefetched: None,
    });
}
