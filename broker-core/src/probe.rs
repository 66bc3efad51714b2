//! A seam for test kits (cargo feature `testing`): somebody who sees each message before it is delivered,
//! decides what becomes of it, and reads along what is said.
//!
//! Without the feature nothing of this is compiled, and the way of a message is what it was.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::account::Account;
use crate::broker::Broker;
use crate::endpoint::{Endpoint, LocalQueues, Run, Scratch, Subscription};
use crate::headers::HeaderMap;
use crate::interest::{Interested, Matches};
use crate::message::Message;
use crate::proto::Publish;
use crate::random::Random;
use crate::routing::{deliver_run, flush_touched};
use crate::subject::{Subject, SubjectFilter};
use crate::sync::Arc;
use crate::transport::TransportInfo;

/// Watches a broker, and may interfere.
///
/// It is called while a message is on its way: it must not wait, and not publish. To publish what it
/// has kept it calls [`Broker::release`] at another time.
pub trait Probe: Send + Sync + 'static {
    /// A message that its publisher may publish is about to be delivered. What becomes of it?
    fn pass(&self, message: &Passing<'_>) -> Fate {
        let _ = message;
        Fate::DELIVER
    }

    /// Is [`Self::line`] called at all? Asked once for each connection.
    fn wants_lines(&self) -> bool {
        false
    }

    /// A connection has said a line (`<<-`), or is told one (`->>`), as tracing shows it.
    fn line(&self, client: &str, line: fmt::Arguments<'_>) {
        let _ = (client, line);
    }
}

/// A message on its way.
pub struct Passing<'a> {
    account: &'a Account,
    from: &'a Endpoint,
    subject: &'a [u8],
    message: &'a Publish<'a>,
}

impl Passing<'_> {
    /// The account it is published in.
    pub fn account(&self) -> &str {
        &self.account.name
    }

    /// The number of the connection or in-process client that publishes it.
    pub fn from(&self) -> u64 {
        self.from.id
    }

    /// Is it a connection, not an in-process client?
    pub fn is_from_connection(&self) -> bool {
        self.from.is_connection
    }

    /// Would a subscription to `filter` get it?
    pub fn matches(&self, filter: &SubjectFilter) -> bool {
        filter.matches_bytes(self.subject)
    }

    /// A copy.
    pub fn to_message(&self) -> Message {
        let message = self.message;
        Message {
            subject: Subject::from_wire(self.subject),
            reply: (!message.reply.is_empty()).then(|| Subject::from_wire(message.reply)),
            headers: message.has_headers().then(|| HeaderMap::parse(message.headers())).flatten(),
            payload: Bytes::copy_from_slice(message.payload()),
        }
    }

    /// A copy that can be [released](Broker::release) later.
    pub fn hold(&self) -> Held {
        let message = self.message;
        Held {
            account: Arc::clone(&self.account.name),
            from: self.from.id,
            echo: self.from.wants_echo(),
            subject: self.subject.into(),
            reply: message.reply.into(),
            header_len: message.header_len,
            sizes: message.sizes.into(),
            body: Bytes::copy_from_slice(message.body),
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Default)]
pub struct Fate {
    /// How often it is delivered: not at all, once, or more. Of one that is not nobody is told, as if a
    /// network had lost it.
    pub copies: u32,
    /// What is delivered right behind it.
    pub then: Vec<Held>,
}

impl Fate {
    /// It is delivered, as if nobody had watched.
    pub const DELIVER: Self = Self { copies: 1, then: Vec::new() };
    /// It is lost.
    pub const LOSE: Self = Self { copies: 0, then: Vec::new() };
}

/// A message that was taken off its way.
pub struct Held {
    account: Arc<str>,
    from: u64,
    echo: bool,
    subject: Box<[u8]>,
    reply: Box<[u8]>,
    header_len: Option<usize>,
    sizes: Box<[u8]>,
    body: Bytes,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&String::from_utf8_lossy(&self.subject)).finish()
    }
}

/// Where a broker keeps its probe; all its accounts and sessions look there.
#[derive(Default)]
pub(crate) struct Seam(OnceLock<Box<dyn Probe>>);

impl Seam {
    pub(crate) fn probe(&self) -> Option<&dyn Probe> {
        self.0.get().map(|probe| &**probe)
    }

    pub(crate) fn wants_lines(&self) -> bool {
        self.probe().is_some_and(Probe::wants_lines)
    }
}

impl Broker {
    /// Has somebody watch, for as long as the broker lives. False if somebody does already.
    pub fn set_probe(&self, probe: impl Probe) -> bool {
        self.shared().seam.0.set(Box::new(probe)).is_ok()
    }

    /// Delivers a message that a probe has held, past the probe, to whoever wants it now.
    pub fn release(&self, held: &Held) {
        let shared = self.shared();
        let account = shared.account(&held.account);
        let mut scratch = Scratch::new();
        scratch.start_by(shared.clock);
        held.deliver(&account, &mut Random::new(shared.next_seed()), &mut scratch);
        flush_touched(&mut scratch);
        shared.guard_total(&shared.options.load().limits);
    }

    /// Does somebody, in any account, get everything that is published to `filter`?
    pub fn is_subscribed(&self, filter: &SubjectFilter) -> bool {
        self.shared().all_accounts().iter().any(|account| {
            // Wildcards match themselves as if they were tokens; that they match more than that is seen
            // by comparing the filters.
            let mut matches = Matches::default();
            account.interest.collect(filter.as_bytes(), &mut matches);
            let all = matches.plain.iter().chain(matches.groups().iter().flatten());
            all.filter_map(|one| SubjectFilter::parse(one.filter()).ok())
                .any(|one| one.covers(filter))
        })
    }

    /// Tells a connection something beyond the protocol's turn: the bytes of whole lines. False if there
    /// is none of that number.
    pub fn tell(&self, id: u64, lines: impl Into<Bytes>) -> bool {
        let lines = lines.into();
        let Some(endpoint) = self.shared().endpoint(id) else { return false };
        let is_told = endpoint.control.leave(None, |control| control.lines.push(lines));
        if is_told {
            endpoint.destination.wake();
        }
        is_told
    }
}

impl Held {
    fn deliver(&self, account: &Account, random: &mut Random, scratch: &mut Scratch) {
        let message = Publish {
            subject: &self.subject,
            reply: &self.reply,
            header_len: self.header_len,
            body: &self.body,
            sizes: &self.sizes,
            tail: None,
        };
        let run = Run {
            subject: &self.subject,
            messages: std::slice::from_ref(&message),
            shared: Some(&self.body),
            parsed: None,
            prefetched: None,
        };
        // Its publisher may be gone; all that delivery asks of it is whether it wants its own messages.
        let byte_queue = Arc::new(LocalQueues::default());
        let from = Endpoint::new(
            self.from,
            0,
            None,
            TransportInfo::Memory,
            scratch.now(),
            byte_queue,
            false,
        );
        from.set_echo(self.echo);
        let mut matches = Matches::default();
        account.interest.collect(&self.subject, &mut matches);
        deliver_run(account, &from, &run, &matches, random, scratch, |_, _| ());
    }
}

/// [`deliver_run`] with somebody watching: message by message.
pub(crate) fn deliver_watched<'a>(
    account: &Account,
    from: &Endpoint,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    scratch: &mut Scratch,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let Some(probe) = account.seam.probe() else { return };
    for message in run.messages {
        let fate = probe.pass(&Passing { account, from, subject: run.subject, message });
        let one = Run { messages: std::slice::from_ref(message), ..*run };
        for copy in 0..fate.copies {
            deliver_run(account, from, &one, matches, random, scratch, |message, scratch| {
                if copy == 0 {
                    no_responders(message, scratch);
                }
            });
        }
        for held in fate.then {
            held.deliver(account, random, scratch);
        }
    }
}
