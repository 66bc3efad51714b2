//! Endpoints: a connected client or peer as other code sees it, with its destination, its permissions to receive and
//! its counters.

mod admission;
mod blocks;
mod byte_queue;
mod client_info;
mod control;
mod destination;
mod handler;
mod info_wave;
mod kind;
mod local_queues;
mod membership;
mod piece;
mod queues;
mod request_tracker;
mod sids;
mod subscriber_queue;
mod subscription;

pub use byte_queue::{ByteQueue, ClientEncoder, Drained, Encoder, RouteEncoder, WriteHandle};
pub use client_info::ClientInfo;
pub use control::Applied;
pub use destination::{OutCounts, Scratch};
pub(crate) use kind::Quota;
pub use kind::{Kind, Kinds};

pub(crate) use byte_queue::{Interceptor, SlowWrite, WriteWait};
pub(crate) use control::{AckGuard, ControlMailbox, SessionUpdate};
pub(crate) use destination::{Accepted, Ahead, Destination, Run, recycle};
pub(crate) use handler::{Handle, HandlerQueue, Sending, run_handlers};
pub(crate) use info_wave::{InfoTurn, InfoWave};
pub(crate) use local_queues::LocalQueues;
pub(crate) use membership::{AccountMembership, SubjectSpace};
pub(crate) use queues::Queues;
pub(crate) use request_tracker::{RequestTracker, is_inbox};
pub(crate) use sids::{Name, Sids};
pub(crate) use subscriber_queue::{Place, SubscriberQueue, Token};
pub(crate) use subscription::{Link, Subscription};

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::auth::{Permissions, Replies};
use crate::interest::LookUps;
use crate::limits::REPLY_PERMISSIONS_BYTES;
use crate::message_trace::Party;
use crate::security::Security;
use crate::stats::{InterestStats, Traffic};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, OnceLock, Ordering};
use crate::transport::TransportInfo;
use membership::Memberships;

/// A connected client or peer as other code sees it: publishers deliver to it, monitoring reads it. Its session owns
/// the rest of its state.
pub(crate) struct Endpoint {
    /// The connection id: `cid`.
    pub(crate) id: u64,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) transport: TransportInfo,
    pub(crate) since: Instant,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) control: ControlMailbox,
    pub(crate) kind: Kind,
    /// Client metadata from CONNECT; empty before CONNECT.
    pub(crate) client_info: ArcSwapOption<ClientInfo>,
    /// The account of a client; empty before authentication.
    pub(crate) membership: ArcSwapOption<AccountMembership>,
    /// The accounts of an endpoint that has several. Empty for clients.
    several: OnceLock<Box<Memberships>>,
    /// The subscriptions of a client by sid.
    pub(crate) sids: Sids,
    /// Delivers its own messages to it. `echo` of CONNECT.
    echo: AtomicBool,
    pub(crate) permissions: ArcSwapOption<Permissions>,
    /// The TLS parameters of its connection.
    pub(crate) security: ArcSwapOption<Security>,
    /// Reply subjects to which it may publish because it got the requests; used only with
    /// `allow_responses`.
    replies: Mutex<Option<Replies>>,
    tracks_replies: AtomicBool,
    /// The number of reply permissions that it lost because there were too many.
    lost_replies: AtomicU64,
    /// It may receive requests. Tracked from the announcement of lame duck mode on.
    pub(crate) is_service: AtomicBool,
    /// It understands INFO at any time, and has had its first PONG.
    pub(crate) follows_info: AtomicBool,
    /// It is another server that continues the traces of messages.
    pub(crate) traces_messages: AtomicBool,
    /// It is another server, from its INFO on, that was not sent all of the existing interest. Until then it gets no message: the answer to a
    /// request would not find its way back.
    pub(crate) lacks_interest: AtomicBool,
    /// The number of subscriptions that have not ended.
    pub(crate) subscriptions: AtomicUsize,
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    /// The last measured round trip, in nanoseconds; 0 for none.
    pub(crate) rtt_nanos: AtomicU64,
    /// Counters of its session's match cache. Empty before it publishes.
    pub(crate) counted_look_ups: OnceLock<Arc<LookUps>>,
}

/// The endpoint that publishes a message, reduced to the parts that decide its receivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Its own messages are delivered to it.
    pub(crate) echo: bool,
    /// The message came through the import of a service, so that it does not leave by an exported stream.
    pub(crate) is_served: bool,
}

impl Endpoint {
    #[inline]
    pub(crate) fn as_sender(&self) -> Sender {
        Sender { id: self.id, kind: self.kind, echo: self.wants_echo(), is_served: false }
    }

    /// Describes the endpoint in events, as a member of an account.
    pub(crate) fn as_party(&self, account: &str) -> Party {
        let client_info = self.client_info.load();
        let name = client_info.as_ref().map(|info| info.name.to_string()).unwrap_or_default();
        Party { kind: self.kind.number(), cid: self.id, name, account: account.to_owned() }
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
            several: OnceLock::new(),
            sids: Sids::new(seed),
            echo: AtomicBool::new(true),
            permissions: ArcSwapOption::empty(),
            security: ArcSwapOption::empty(),
            replies: Mutex::new(None),
            tracks_replies: AtomicBool::new(false),
            lost_replies: AtomicU64::new(0),
            is_service: AtomicBool::new(false),
            follows_info: AtomicBool::new(false),
            traces_messages: AtomicBool::new(false),
            lacks_interest: AtomicBool::new(false),
            subscriptions: AtomicUsize::new(0),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            rtt_nanos: AtomicU64::new(0),
            counted_look_ups: OnceLock::new(),
        }
    }

    /// Returns the messages and bytes so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic_with(self.destination.counts())
    }

    /// As [`Self::traffic`], for a caller that has the destination's counts already.
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

    /// Adds one of several accounts. Returns its slot, which its subscriptions hold; `None` if there are
    /// too many.
    pub(crate) fn add_membership(&self, membership: Arc<AccountMembership>) -> Option<u16> {
        self.several.get_or_init(Box::default).add(membership)
    }

    /// Removes the membership in one of several accounts, which has no subscriptions any more.
    pub(crate) fn remove_membership(&self, slot: u16) -> Option<Arc<AccountMembership>> {
        self.several.get()?.remove(slot)
    }

    /// Returns the membership in the account in that slot; slot 0 has the account of a client. `None` if the
    /// endpoint has left the account: then its session ends the subscriptions there.
    pub(crate) fn membership_in(&self, slot: u16) -> Option<Arc<AccountMembership>> {
        if slot == 0 { self.membership.load_full() } else { self.several.get()?.get(slot) }
    }

    /// Returns all slots that may have an account.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u16> {
        0..=self.several.get().map_or(0, |several| several.last())
    }

    /// Returns the memberships in all of its accounts.
    pub(crate) fn memberships(&self) -> Vec<Arc<AccountMembership>> {
        let several = self.several.get().map(|several| several.all()).unwrap_or_default();
        self.membership.load_full().into_iter().chain(several).collect()
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

    /// Replaces the permissions of a connected client. Open requests may still be answered, as far as
    /// the new permissions allow responses.
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

    /// Returns true if it may receive a message to `subject` through a subscription whose messages are
    /// checked one by one.
    pub(crate) fn may_get(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let permissions = self.permissions.load();
        permissions.as_ref().is_none_or(|permissions| permissions.may_deliver(subject, queue))
    }

    pub(crate) fn tracks_replies(&self) -> bool {
        self.tracks_replies.load(Ordering::Relaxed)
    }

    /// Records that it got a request: it may publish to `reply` once or more, as `allow_responses` permits.
    /// Returns the number of reply permissions that were removed to make room.
    pub(crate) fn note_reply(&self, reply: &[u8], now: Instant) -> u64 {
        let permissions = self.permissions.load();
        if permissions.as_ref().is_some_and(|permissions| permissions.may_publish(reply)) {
            return 0;
        }
        let lost = self.replies.lock().as_mut().map_or(0, |replies| replies.note(reply, now));
        if lost > 0 {
            self.tell_lost_replies(lost);
        }
        lost
    }

    /// Logs that reply permissions were lost: the first one, and then whenever the number has doubled, because
    /// each message may cause another.
    #[cold]
    fn tell_lost_replies(&self, lost: u64) {
        let before = self.lost_replies.fetch_add(lost, Ordering::Relaxed);
        let total = before + lost;
        if before == 0 || before.ilog2() < total.ilog2() {
            tracing::warn!(
                client = %self,
                "Client has more than {REPLY_PERMISSIONS_BYTES} bytes of requests to answer by \
                 allow_responses: the oldest can no longer be answered ({total} so far)"
            );
        }
    }

    /// Returns true if it may answer to `subject` now, and uses up one of the responses allowed.
    pub(crate) fn take_reply(&self, subject: &[u8], now: Instant) -> bool {
        self.replies.lock().as_mut().is_some_and(|replies| replies.take(subject, now))
    }
}

/// Prints the address and the id, as log lines name a connection before CONNECT.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        // NATS 2.14: client.go initClient.
        if self.kind == Kind::Route {
            return match &self.remote {
                Some(remote) => write!(f, "{remote} - rid:{id}"),
                None => write!(f, "pipe - rid:{id}"),
            };
        }
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
