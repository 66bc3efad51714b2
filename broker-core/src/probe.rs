//! A seam for test kits (cargo feature `testing`): somebody who sees each message before it is delivered,
//! decides what becomes of it, and reads along what is said.
//!
//! Without the feature nothing of this is compiled, and the way of a message is what it was.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::message::Message;
use crate::proto::Publish;
use crate::subject::{Subject, SubjectFilter};
use crate::sync::Arc;

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
    pub(crate) account: &'a Arc<str>,
    pub(crate) from: u64,
    pub(crate) is_from_connection: bool,
    pub(crate) wants_echo: bool,
    pub(crate) subject: &'a [u8],
    pub(crate) message: &'a Publish<'a>,
}

impl Passing<'_> {
    /// The account it is published in.
    pub fn account(&self) -> &str {
        self.account
    }

    /// The number of the connection or in-process client that publishes it.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Is it a connection, not an in-process client?
    pub fn is_from_connection(&self) -> bool {
        self.is_from_connection
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
            account: Arc::clone(self.account),
            from: self.from,
            echo: self.wants_echo,
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
    pub(crate) account: Arc<str>,
    pub(crate) from: u64,
    pub(crate) echo: bool,
    pub(crate) subject: Box<[u8]>,
    pub(crate) reply: Box<[u8]>,
    pub(crate) header_len: Option<usize>,
    pub(crate) sizes: Box<[u8]>,
    pub(crate) body: Bytes,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&String::from_utf8_lossy(&self.subject)).finish()
    }
}

/// Where a broker keeps its probe; all its accounts and sessions look there.
#[derive(Default)]
pub(crate) struct Seam(pub(crate) OnceLock<Box<dyn Probe>>);

impl Seam {
    pub(crate) fn probe(&self) -> Option<&dyn Probe> {
        self.0.get().map(|probe| &**probe)
    }

    pub(crate) fn wants_lines(&self) -> bool {
        self.probe().is_some_and(Probe::wants_lines)
    }
}
