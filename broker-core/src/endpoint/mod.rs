//! The part of a session that others touch: where its deliveries go, what it may get, its counters.

mod blocks;
mod byte_queue;
mod client_info;
mod control;
mod destination;
mod kind;
mod local_queue;
mod sids;
mod subscription;

pub use byte_queue::{ByteQueue, Drained, WriteHandle};
pub use client_info::ClientInfo;
pub use control::Applied;
pub use destination::{OutCounts, Scratch};
pub use kind::Kind;

pub(crate) use byte_queue::is_inbox;
pub(crate) use client_info::AccountMembership;
pub(crate) use control::{AckGuard, ControlMailbox};
pub(crate) use destination::{Accepted, Destination, Run};
pub(crate) use local_queue::{LocalQueues, sid_number};
pub(crate) use sids::Sids;
pub(crate) use subscription::Subscription;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::auth::{Permissions, Replies};
use crate::interest::LookUps;
use crate::security::Security;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, OnceLock, Ordering};
use crate::transport::TransportInfo;

/// See the module.
pub(crate) struct Endpoint {
    /// The connection's number: `cid`.
    pub(crate) id: u64,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) transport: TransportInfo,
    pub(crate) since: Instant,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) control: ControlMailbox,
    pub(crate) kind: Kind,
    /// What the party says of itself; nothing before it has.
    pub(crate) client_info: ArcSwapOption<ClientInfo>,
    /// The account it is in; none before it is let in.
    pub(crate) membership: ArcSwapOption<AccountMembership>,
    /// Its subscriptions by their names.
    pub(crate) sids: Sids,
    /// Does it want its own messages?
    echo: AtomicBool,
    pub(crate) permissions: ArcSwapOption<Permissions>,
    /// How its connection is secured.
    pub(crate) security: ArcSwapOption<Security>,
    /// Which replies it may publish because it got their requests; only where its permissions say so.
    replies: Mutex<Option<Replies>>,
    tracks_replies: AtomicBool,
    /// It may be asked things. Known once the server has said that it will go.
    pub(crate) is_service: AtomicBool,
    /// Subscriptions that have not ended.
    pub(crate) subscriptions: AtomicUsize,
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    /// The last round trip that was measured, in nanoseconds; 0 for none.
    pub(crate) rtt_nanos: AtomicU64,
    /// How often its session had to ask who wants a subject. None before it publishes.
    pub(crate) counted_look_ups: OnceLock<Arc<LookUps>>,
}

/// The endpoint that brings a message, as far as it decides who gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// It wants its own messages.
    pub(crate) echo: bool,
}

impl Endpoint {
    #[inline]
    pub(crate) fn as_sender(&self) -> Sender {
        Sender { id: self.id, kind: self.kind, echo: self.wants_echo() }
    }

    pub(crate) fn new(
        id: u64,
        seed: u64,
        remote: Option<SocketAddr>,
        transport: TransportInfo,
        now: Instant,
        destination: Arc<dyn Destination>,
        kind: Kind,
    ) -> Self {
        Self {
            id,
            remote,
            transport,
            since: now,
            destination,
            control: ControlMailbox::default(),
            kind,
            client_info: ArcSwapOption::empty(),
            membership: ArcSwapOption::empty(),
            sids: Sids::new(seed),
            echo: AtomicBool::new(true),
            permissions: ArcSwapOption::empty(),
            security: ArcSwapOption::empty(),
            replies: Mutex::new(None),
            tracks_replies: AtomicBool::new(false),
            is_service: AtomicBool::new(false),
            subscriptions: AtomicUsize::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            rtt_nanos: AtomicU64::new(0),
            counted_look_ups: OnceLock::new(),
        }
    }

    /// Messages and bytes so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic_with(self.destination.counts())
    }

    /// The same for a caller that has the destination's counts already.
    pub(crate) fn traffic_with(&self, out: OutCounts) -> Traffic {
        Traffic {
            in_messages: self.in_messages.load(Ordering::Relaxed),
            in_bytes: self.in_bytes.load(Ordering::Relaxed),
            out_messages: out.messages,
            out_bytes: out.bytes,
        }
    }

    pub(crate) fn look_ups(&self) -> InterestStats {
        self.counted_look_ups.get().map(|look_ups| look_ups.stats()).unwrap_or_default()
    }

    pub(crate) fn set_echo(&self, echo: bool) {
        self.echo.store(echo, Ordering::Relaxed);
    }

    pub(crate) fn wants_echo(&self) -> bool {
        self.echo.load(Ordering::Relaxed)
    }

    pub(crate) fn set_permissions(&self, permissions: Option<Arc<Permissions>>) {
        let replies = permissions.as_ref().and_then(|permissions| permissions.allow_responses());
        self.tracks_replies.store(replies.is_some(), Ordering::Relaxed);
        *self.replies.lock() = replies.map(Replies::new);
        self.permissions.store(permissions);
    }

    /// The permissions of the one who is here have changed. What was asked before may still be answered,
    /// as far as the new ones allow answers.
    pub(crate) fn change_permissions(&self, permissions: Option<Arc<Permissions>>) {
        let rule = permissions.as_ref().and_then(|permissions| permissions.allow_responses());
        let mut replies = self.replies.lock();
        *replies = match (replies.take(), rule) {
            (Some(mut held), Some(rule)) => {
                held.set_rule(rule);
                Some(held)
            }
            (_, rule) => rule.map(Replies::new),
        };
        drop(replies);
        self.tracks_replies.store(rule.is_some(), Ordering::Relaxed);
        self.permissions.store(permissions);
    }

    /// May it get a message to `subject` through a subscription that [needs](crate::subscription)
    /// each one checked?
    pub(crate) fn may_get(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let permissions = self.permissions.load();
        permissions.as_ref().is_none_or(|permissions| permissions.may_deliver(subject, queue))
    }

    pub(crate) fn tracks_replies(&self) -> bool {
        self.tracks_replies.load(Ordering::Relaxed)
    }

    /// It got a request: it may answer to `reply`, unless it may publish there anyway.
    pub(crate) fn note_reply(&self, reply: &[u8], now: Instant) {
        let permissions = self.permissions.load();
        if permissions.as_ref().is_some_and(|permissions| permissions.may_publish(reply)) {
            return;
        }
        if let Some(replies) = &mut *self.replies.lock() {
            replies.note(reply, now);
        }
    }

    /// May it answer to `subject` now? Uses up one of its answers.
    pub(crate) fn take_reply(&self, subject: &[u8], now: Instant) -> bool {
        self.replies.lock().as_mut().is_some_and(|replies| replies.take(subject, now))
    }
}

/// As logs name a party of which nothing else is known.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match (&self.remote, &self.transport) {
            // NATS 2.14: client.go initClient.
            (Some(remote), TransportInfo::Websocket(websocket)) => match websocket.forwarded_for {
                Some(IpAddr::V4(ip)) => write!(f, "{ip}/{remote} - wid:{id}"),
                Some(IpAddr::V6(ip)) => write!(f, "[{ip}]/{remote} - wid:{id}"),
                None => write!(f, "{remote} - wid:{id}"),
            },
            (Some(remote), _) => write!(f, "{remote} - cid:{id}"),
            (None, TransportInfo::Unix) => write!(f, "unix - cid:{id}"),
            (None, TransportInfo::Stream) => write!(f, "stream - cid:{id}"),
            (None, _) => write!(f, "pipe - cid:{id}"),
        }
    }
}
