//! Probes for test kits (cargo feature `testing`). A probe receives each message before it is delivered, decides
//! its fate, and reads the protocol lines of connections.
//!
//! None of this is compiled without the feature.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::headers::HeaderMap;
use crate::message::Message;
use crate::proto::Publish;
use crate::subject::{Subject, SubjectFilter};
use crate::sync::Arc;

/// An observer of a broker that may interfere with messages.
///
/// It is called during a delivery: it must neither block nor publish. A held message is published later, by
/// `Broker::release`.
pub trait Probe: Send + Sync + 'static {
    /// Decides the fate of a message that has passed the permissions of its publisher.
    fn pass(&self, message: &Passing<'_>) -> Fate {
        let _ = message;
        Fate::DELIVER
    }

    /// Returns true if [`Self::line`] is to be called. Called once for each connection.
    fn wants_lines(&self) -> bool {
        false
    }

    /// Receives a line that a connection has sent (`<<-`) or is sent (`->>`), in the form of traces.
    fn line(&self, client: &str, line: fmt::Arguments<'_>) {
        let _ = (client, line);
    }
}

/// A message between permission and delivery.
pub struct Passing<'a> {
    pub(crate) account: &'a Arc<str>,
    pub(crate) from: u64,
    pub(crate) is_from_connection: bool,
    pub(crate) wants_echo: bool,
    pub(crate) subject: &'a [u8],
    pub(crate) shown: Option<&'a [u8]>,
    pub(crate) message: &'a Publish<'a>,
}

impl Passing<'_> {
    /// The account that it is published in.
    pub fn account(&self) -> &str {
        self.account
    }

    /// The id of the connection or in-process client that publishes it.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Returns true if a connection publishes it, false for an in-process client.
    pub fn is_from_connection(&self) -> bool {
        self.is_from_connection
    }

    /// Returns true if a subscription to `filter` matches it.
    pub fn matches(&self, filter: &SubjectFilter) -> bool {
        filter.matches_bytes(self.subject)
    }

    /// Copies it.
    pub fn to_message(&self) -> Message {
        let message = self.message;
        Message {
            subject: Subject::from_wire(self.subject),
            reply: (!message.reply.is_empty()).then(|| Subject::from_wire(message.reply)),
            headers: message.has_headers().then(|| HeaderMap::parse(message.headers())).flatten(),
            payload: Bytes::copy_from_slice(message.payload()),
        }
    }

    /// Copies it so that `Broker::release` can deliver it later.
    pub fn hold(&self) -> Held {
        let message = self.message;
        Held {
            account: Arc::clone(self.account),
            from: self.from,
            echo: self.wants_echo,
            subject: self.subject.into(),
            shown: self.shown.map(Into::into),
            reply: message.reply.into(),
            header_len: message.header_len,
            sizes: message.sizes.into(),
            body: Bytes::copy_from_slice(message.body),
        }
    }
}

/// The fate of a message.
#[derive(Debug, Default)]
pub struct Fate {
    /// The number of times that it is delivered. With 0 it is lost without notice, as in a network.
    pub copies: u32,
    /// Messages that are delivered directly after it.
    pub then: Vec<Held>,
}

impl Fate {
    /// Delivers the message once.
    pub const DELIVER: Self = Self { copies: 1, then: Vec::new() };
    /// Drops the message.
    pub const LOSE: Self = Self { copies: 0, then: Vec::new() };
}

/// A held message.
pub struct Held {
    pub(crate) account: Arc<str>,
    pub(crate) from: u64,
    pub(crate) echo: bool,
    pub(crate) subject: Box<[u8]>,
    pub(crate) shown: Option<Box<[u8]>>,
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

/// The slot for the probe of a broker, shared by its accounts and sessions.
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
