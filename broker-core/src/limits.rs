//! Limits and their defaults, with units, reasons and NATS's own values.

use std::time::Duration;

/// The limits of one broker. Plain data: start from the default and change single fields.
///
/// ```
/// use broker_core::Limits;
///
/// let limits = Limits { max_payload_bytes: 4 << 20, ..Limits::default() };
/// assert_eq!(limits.max_connections, Some(65_536));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The longest control line (all but the payload), without its verb. `max_control_line`,
    /// NATS 2.14: 4,096.
    pub max_control_line_bytes: usize,
    /// The largest payload, headers included. `max_payload`, NATS 2.14: 1 MiB.
    pub max_payload_bytes: usize,
    /// The most bytes that may be pending for one slow receiver before it is cut. `max_pending`, NATS 2.14: 64 MiB.
    pub max_pending_bytes: usize,
    /// The memory of all queues together; past it the receiver that holds most is cut. Blocks count whole,
    /// and a large message that several receivers share counts for each of them. The default does not depend on the
    /// machine: set it to the memory that the machine can spare.
    /// Ours: NATS has no such bound, so that a few dozen stalled clients can exhaust its memory.
    pub max_pending_total_bytes: usize,
    /// The number of connected clients; `None` for no limit. `max_connections`, NATS 2.14: 65,536.
    pub max_connections: Option<usize>,
    /// The number of subscriptions of one client; `None`, the default as in NATS 2.14, for no limit.
    /// `max_subscriptions`.
    pub max_subscriptions: Option<usize>,
    /// The number of tokens in the filter of a subscription; `None`, the default as in NATS 2.14, for
    /// no limit. `max_subscription_tokens`.
    pub max_subscription_tokens: Option<usize>,
    /// The idle time after which the server sends PING to a client. `ping_interval`, NATS 2.14: 2 minutes.
    pub ping_interval: Duration,
    /// The number of unanswered PINGs that make a connection stale. `ping_max`, NATS 2.14: 2.
    pub ping_max: u32,
    /// The time within which a client must read pending data; a slower one is cut. `write_deadline`,
    /// NATS 2.14: 10 seconds.
    pub write_deadline: Duration,
    /// The treatment of a client that exceeds it. `write_timeout`.
    pub write_timeout: WriteTimeout,
    /// The time within which a client must authenticate, if it must. `authorization.timeout`,
    /// NATS 2.14: 2 seconds.
    pub auth_timeout: Duration,
    /// The number of closed connections that are kept for monitoring; fewer, if together they take more
    /// than 16 MiB. `max_closed_clients`, NATS 2.14: 10,000.
    pub max_closed_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line_bytes: 4096,
            max_payload_bytes: 1 << 20,
            max_pending_bytes: 64 << 20,
            // Sixteen clients at their own limit.
            max_pending_total_bytes: 1 << 30,
            max_connections: Some(65_536),
            max_subscriptions: None,
            max_subscription_tokens: None,
            ping_interval: Duration::from_mins(2),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            write_timeout: WriteTimeout::Close,
            auth_timeout: Duration::from_secs(2),
            max_closed_connections: 10_000,
        }
    }
}

/// The treatment of a connection that has not read all pending data within `write_deadline`. `write_timeout`.
// NATS 2.14: client.go WriteTimeoutPolicy.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WriteTimeout {
    /// It is closed.
    #[default]
    Close,
    /// It is closed if it has read nothing for that time; otherwise the data may wait again.
    Retry,
}

/// The limits of one account. `None`, the default, is no limit but that of the broker. Endpoints inside the
/// process are exempt.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccountLimits {
    /// The number of connected clients of the account. `max_connections` of an account.
    pub max_connections: Option<usize>,
    /// The number of subscriptions of each client of the account. `max_subscriptions` of an account.
    pub max_subscriptions: Option<usize>,
    /// The largest payload, headers included. `max_payload` of an account.
    pub max_payload_bytes: Option<usize>,
    /// The number of connected leaf nodes of the account. `max_leafnodes` of an account.
    pub max_leaf_nodes: Option<usize>,
}

/// The largest valid `max_payload_bytes`.
// NATS 2.14: sizes on the wire have at most nine digits.
pub const MAX_PAYLOAD_CEILING_BYTES: usize = 999_999_999;

/// The most bytes that an unauthenticated connection may send: a whole control line and the data
/// behind it in the same read.
pub(crate) const PRE_AUTH_READ_BYTES: usize = 8 << 10;

/// The number of connections that have not authenticated yet, where they must, or have not finished a
/// handshake: all of them together hold 64 MiB at most. Past it the oldest is cut.
/// Ours: NATS has no such bound.
pub const MAX_UNAUTHENTICATED: usize = 4096;

/// The number of connections of other servers that are not registered yet. They have a limit of their own, so that a
/// flood of them takes no room of clients: 300 servers that all come back at once need three each. Past it the oldest
/// is cut.
/// Ours: NATS has no such bound.
pub const MAX_UNAUTHENTICATED_ROUTES: usize = 1024;

/// The number of connections to other servers that are attempted at once: those that other servers report are not
/// attempted past it. Four for each of 1,024 servers, more than a full mesh can have.
/// Ours: NATS has no such bound.
pub const MAX_ROUTE_DIALS: usize = 4096;

/// The most bytes that an unauthenticated connection holds, on any transport, and the most room that its session lends
/// for a read. A compressed connection of another server holds one block besides, as far as it has arrived.
pub const UNAUTHENTICATED_BYTES: usize = 16 << 10;

/// The memory of the reply permissions of one client (`allow_responses`): a quarter of
/// what it may have pending by default, some 90,000 unanswered requests with inboxes of usual length, which a
/// service with two minutes to answer gathers at 700 a second. Past it the oldest is removed.
/// Ours: NATS 2.14 holds any number.
pub const REPLY_PERMISSIONS_BYTES: usize = 16 << 20;

/// The size from which on a payload is stored once and shared by its receivers instead of copied to each.
/// Below it a copy costs less than a reference count that moves between two cores.
pub(crate) const SHARED_PAYLOAD_MIN_BYTES: usize = 16 << 10;

/// The pending bytes at which a receiver is flushed at once, so that one chunk of small messages to many
/// receivers cannot accumulate.
pub(crate) const FLUSH_AT_BYTES: usize = 128 << 10;

/// The pending bytes at which all receivers touched by one session's chunk are flushed.
pub(crate) const FLUSH_ALL_AT_BYTES: usize = 1 << 20;

/// The share of its bound, as a divisor, past which a queue makes its publishers wait if its receiver reads:
/// 8 MiB of 64. The receiver must read [a share](PATIENCE_STEP_SHARE) in each [`PATIENCE_LOOK`] to keep its
/// publishers waiting: 64 KiB, so 640 KiB a second. A receiver that is not much faster is cut by
/// `write_deadline`, which by default gives it 10 s for the 8 MiB.
// NATS 2.14: from three quarters on, 2 to 5 ms for a message and 10 for a chunk of input.
pub(crate) const CROWDED_SHARE: usize = 8;

/// See [`CROWDED_SHARE`].
pub(crate) const PATIENCE_STEP_SHARE: usize = 1024;

/// The interval at which a waiting publisher checks whether its receiver reads.
pub(crate) const PATIENCE_LOOK: Duration = Duration::from_millis(100);

/// The longest wait of a publisher for one receiver, for each chunk of input.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The number of messages to one subject that are delivered together, receiver by receiver.
pub(crate) const RUN_MESSAGES: usize = 1024;

/// The number of runs to different subjects that are gathered before the first is published: as many loads
/// as a processor has in flight at once; a run needs several, but not all at the same time.
pub(crate) const BATCH_RUNS: usize = 16;

/// The largest queue group to whose members a run is distributed: of a larger one few members would get several.
pub(crate) const DISTRIBUTED_MEMBERS: usize = 128;

/// The number of subjects whose matches one session caches. A session that publishes to more uses
/// the account's interest for the rest.
pub(crate) const CACHED_SUBJECTS: usize = 16 << 10;

/// The bytes of subjects and matches that one session caches.
pub(crate) const CACHED_BYTES: usize = 4 << 20;

/// The longest cached subject: longer ones are rare, and would displace too many others.
pub(crate) const CACHED_SUBJECT_BYTES: usize = 512;

/// The number of accounts of one session: a subscription stores its account in two bytes. Only
/// connections of other servers have more than one.
pub(crate) const SESSION_ACCOUNTS: usize = u16::MAX as usize;

/// The bytes of subjects and matches that one session caches in all of its accounts together: as many
/// as sixteen clients.
pub(crate) const SESSION_CACHED_BYTES: usize = 16 * CACHED_BYTES;

/// The number of filters for which messages are counted: one word of bits holds the filters that match a
/// subject.
pub const MAX_COUNTED_SUBJECTS: usize = 64;

/// The number of messages that may wait in one in-process subscription. async-nats has the same bound.
pub const LOCAL_QUEUE_MESSAGES: usize = 65_536;

/// The number of messages that the reader of an in-process subscription takes at once. They no longer count as
/// waiting. A queue with a small capacity gives fewer, at least one, so that the bound is exceeded by less
/// than two percent.
pub(crate) const LOCAL_TAKEN_MESSAGES: usize = 64;

/// The number of bytes that a batch of an in-process client gathers before it publishes them: as many as one read of
/// a connection brings.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// The number of requests of one in-process client that may wait for their answers at the same time: some
/// megabytes. Only a program that sends without end to a service that does not answer has more.
pub const LOCAL_REQUESTS: usize = 16_384;

/// The number of messages that may wait for one handler. One chunk of input contains at most some thousands,
/// so that a dozen publishers find room at the same time; and as many rounds of a flood in which a handler
/// publishes to itself, as [`HANDLER_HOPS`] allows, take less than a second.
pub const HANDLER_QUEUE_MESSAGES: usize = 32_768;

/// The number of bytes that may wait for one handler, unless it is a single message: the default of a client.
pub const HANDLER_QUEUE_BYTES: usize = 64 << 20;

/// The number of handlers in a row that may publish because of one message: the message that the last of them
/// publishes reaches no further handler. Services that call services are a few levels deep; two handlers that
/// answer each other would never end.
pub const HANDLER_HOPS: u8 = 16;

/// The number of messages that a handler handles before the queues that it has filled are flushed, and
/// another publisher may take over.
pub(crate) const HANDLER_TURN: usize = 64;

/// The memory that a handler's queue keeps while it is empty, in bytes and in entries.
pub(crate) const HANDLER_KEPT: usize = 4096;

/// The longest wait for a pending decision of an authenticator. At login clients have given up long before; a
/// reload waits for the slowest decision.
pub const PENDING_DECISION: Duration = Duration::from_secs(60);

/// The number of questions of authenticators that wait for an answer at once. Each holds the request (some KiB) and a
/// subscription; a service that answers within 100 ms serves 40,000 logins a second.
pub const OPEN_QUESTIONS: usize = 4096;

/// The number of entries (subscriptions, sessions) in one slice of work that grows with their number: a
/// tenth of a millisecond, so that a worker that has only such slices returns to its sockets within a few of
/// them.
pub(crate) const SLICE: usize = 128;

/// The number of operations other than messages that a session handles in one turn. A SUB takes a
/// microsecond or two, and a chunk of input holds thousands of them.
pub(crate) const OPERATIONS_A_TURN: usize = 1024;

/// The number of subscriptions that are removed from the interest under one lock when a client leaves: about
/// ten microseconds, for which others may have to wait.
pub(crate) const UNSUBSCRIBE_BATCH: usize = 32;

/// The number of changes of interest that are passed to a route at once, which locks its queue once for all of them.
pub(crate) const INTEREST_BATCH: usize = 32;

/// The number of consecutive slices that are skipped in favour of threads that wait for the interest. A woken
/// thread has the lock after one or two; the rest is for a machine whose processors are busy.
pub(crate) const PATIENCE_SLICES: u8 = 64;

/// The number of requests of other servers whose response times are measured at the same time, and of measurements that
/// wait for that of another server: a few megabytes. Beyond it the oldest are lost.
/// Ours: NATS 2.14 keeps any number.
pub(crate) const REMOTE_LATENCIES: usize = 16_384;

/// The longest pause between PINGs on a route by default: a silent server is noticed within ten seconds. The PING after
/// the last input is left out, two stay unanswered, and the route is closed when the next one is due: four pauses.
/// Ours: NATS 2.14 has 30 s.
pub const ROUTE_PING: Duration = Duration::from_secs(2);

/// The longest pause between PINGs on a route that can be configured.
// NATS 2.14: route.go defaultRouteMaxPingInterval.
pub const ROUTE_PING_MAX: Duration = Duration::from_secs(30);

/// The number of filters in which one route may state interest: some gigabytes of memory.
pub const ROUTE_SUBSCRIPTIONS: usize = 16 << 20;

/// The number of other servers whose members of an account count towards its limits: more than a full mesh can have.
pub const REMOTE_SERVERS: usize = 1024;

/// The pending bytes of a route up to which more of the existing interest is appended at its beginning: some ten
/// thousand lines, which the other server reads in a few milliseconds.
pub(crate) const INTEREST_AHEAD_BYTES: usize = 1 << 20;

/// The number of reported servers of a cluster that are dialled at a time. Each takes a socket. A full mesh of as many
/// servers, each of which every other one would have to report at once, is far beyond what a mesh is good for.
/// Ours: NATS 2.14 dials any number.
pub(crate) const REPORTED_DIALS: usize = 1024;

/// The number of conflicts of servers with JetStream that are shown, and the bytes of each: the names of two servers and
/// some words. A cluster has two or three such servers by mistake, not more.
pub(crate) const CONFLICTS: usize = 16;
pub(crate) const CONFLICT_BYTES: usize = 512;

/// The number of accounts that other servers may give routes of their own, beside the configured ones: each takes a
/// connection to each server.
/// Ours: NATS 2.14 takes any number.
pub(crate) const ASKED_ACCOUNTS: usize = 1024;

/// The number of accounts in a chain of imports that is searched for a cycle.
// NATS 2.14: accounts.go MaxAccountCycleSearchDepth.
pub const IMPORT_DEPTH: usize = 1024;

/// The number of imported services that one request passes through, one behind the other. A chain is a few accounts
/// long, and each takes some of the stack of the thread that publishes.
pub const SERVICE_HOPS: usize = 16;

/// The memory of the responses that the services of one account owe: some 250,000, which a service with two minutes
/// to respond gathers at 2,000 a second if it never does. Past it the oldest can no longer be given.
/// Ours: NATS 2.14 holds any number.
pub const SERVICE_RESPONSES_BYTES: usize = 64 << 20;

/// The memory of one of them beside its reply subject, with its share of the table.
pub(crate) const SERVICE_RESPONSE_BYTES: usize = 224;

/// The number of other accounts for which one session caches the matches of requests.
pub(crate) const SERVICE_CACHES: usize = 4;

/// The size past which such a cache is dropped: all of them together take as much as the session's own.
pub(crate) const SERVICE_CACHE_BYTES: usize = CACHED_BYTES / SERVICE_CACHES;

/// During shutdown: the time for which an answer is awaited, which is the default timeout of requests in NATS
/// clients; the requester has given up then.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// During shutdown: the time without a request after which a client is taken to have none in flight. Longer
/// than the network latency around the world and the scheduling of programs.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

/// During shutdown: the longest time for which a client's messages are held back until it is quiet.
pub(crate) const HOLD_PATIENCE: Duration = Duration::from_secs(1);

/// During shutdown: the number of tracked open requests of one client, and to it. A client with more has the
/// others awaited only by chance.
pub(crate) const TRACKED_REQUESTS: usize = 64 << 10;

/// The number of hops that the trace of one message lists, its ingress included: half a megabyte of JSON. A message
/// to more receivers reaches all of them; the event lacks the rest.
/// Ours: NATS 2.14 lists any number.
pub const TRACE_HOPS: usize = 4096;

/// The longest control line of another server, without its verb: it may name accounts and queue groups. Sixteen times
/// that of a client by default.
// NATS 2.14: parser.go overMaxControlLineLimit.
pub const ROUTE_LINE_BYTES: usize = 64 << 10;

/// The largest message of another server, in bytes, whose own limit for clients may be larger than that of this one:
/// as many as NATS lets wait for one receiver by default, so that no server with that default can send more.
/// Ours: NATS 2.14 takes any size.
pub const ROUTE_PAYLOAD_BYTES: usize = 64 << 20;

const _: () = assert!(PRE_AUTH_READ_BYTES < UNAUTHENTICATED_BYTES);
const _: () = assert!(MAX_UNAUTHENTICATED * UNAUTHENTICATED_BYTES <= 64 << 20);
const _: () = assert!(FLUSH_AT_BYTES < FLUSH_ALL_AT_BYTES);
const _: () = assert!(SLICE.is_multiple_of(UNSUBSCRIBE_BATCH));
