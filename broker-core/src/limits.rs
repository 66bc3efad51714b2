//! Every limit and its default: unit, reason, and NATS's own value.

use std::time::Duration;

/// What one broker grants its clients. Plain data: take the default and change what you need.
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
    /// The largest payload with its headers. `max_payload`, NATS 2.14: 1 MiB.
    pub max_payload_bytes: usize,
    /// How much may wait for one slow receiver before it is cut. `max_pending`, NATS 2.14: 64 MiB.
    pub max_pending_bytes: usize,
    /// The memory of all queues together; past it the receiver that holds most is cut. Blocks count whole,
    /// and a large message that several receivers share counts for each of them. The default knows nothing of the machine: set what it can spare.
    /// Ours: NATS has no such bound, so that a few dozen stalled clients can exhaust its memory.
    pub max_pending_total_bytes: usize,
    /// How many clients may be connected; `None` for no limit. `max_connections`, NATS 2.14: 65,536.
    pub max_connections: Option<usize>,
    /// How many subscriptions one client may hold; `None`, the default as in NATS 2.14, for no limit.
    /// `max_subscriptions`.
    pub max_subscriptions: Option<usize>,
    /// How many tokens the filter of a subscription may have; `None`, the default as in NATS 2.14, for
    /// no limit. `max_subscription_tokens`.
    pub max_subscription_tokens: Option<usize>,
    /// A client that was silent for this long is asked whether it is still there. `ping_interval`,
    /// NATS 2.14: 2 minutes.
    pub ping_interval: Duration,
    /// How many unanswered PINGs make a connection stale. `ping_max`, NATS 2.14: 2.
    pub ping_max: u32,
    /// A client that takes this long to read what was waiting for it is cut. `write_deadline`,
    /// NATS 2.14: 10 seconds.
    pub write_deadline: Duration,
    /// Where authentication is required, how long a client may take for it. `authorization.timeout`,
    /// NATS 2.14: 2 seconds.
    pub auth_timeout: Duration,
    /// How many closed connections are remembered for whoever asks what became of them; fewer, if
    /// together they take more than 16 MiB. `max_closed_clients`, NATS 2.14: 10,000.
    pub max_closed_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line_bytes: 4096,
            max_payload_bytes: 1 << 20,
            max_pending_bytes: 64 << 20,
            // Sixteen of the worst clients at their own limit.
            max_pending_total_bytes: 1 << 30,
            max_connections: Some(65_536),
            max_subscriptions: None,
            max_subscription_tokens: None,
            ping_interval: Duration::from_mins(2),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(2),
            max_closed_connections: 10_000,
        }
    }
}

/// What one account grants its members. `None`, the default, is no limit but that of the broker. Endpoints inside of
/// the process are not bound by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccountLimits {
    /// How many clients may be connected to the account. `max_connections` of an account.
    pub max_connections: Option<usize>,
    /// How many subscriptions each client of the account may hold. `max_subscriptions` of an account.
    pub max_subscriptions: Option<usize>,
    /// The largest payload with its headers. `max_payload` of an account.
    pub max_payload_bytes: Option<usize>,
    /// How many leaf nodes may be connected to the account. `max_leafnodes` of an account.
    pub max_leaf_nodes: Option<usize>,
}

/// The largest `max_payload_bytes` that can be asked for.
// NATS 2.14: sizes on the wire have at most nine digits.
pub const MAX_PAYLOAD_CEILING_BYTES: usize = 999_999_999;

/// What a connection may bring in before it has shown who it is: a whole control line and what
/// came behind it in the same read.
pub(crate) const PRE_AUTH_READ_BYTES: usize = 8 << 10;

/// How many connections there may be at once that have not shown yet who they are, where they must, or have
/// not finished a handshake: all of them at their most hold 64 MiB. Past it the one that came first is
/// cut. Ours: NATS has no such bound.
pub const MAX_UNAUTHENTICATED: usize = 4096;

/// What one of them holds at most, by whatever way it comes.
pub const UNAUTHENTICATED_BYTES: usize = 16 << 10;

/// The memory of the reply permissions of one client (`allow_responses`): a quarter of
/// what it may have pending by default, some 90,000 requests with inboxes of usual length that are
/// still to be answered, which a service with two minutes to answer gathers at 700 a second. Past it
/// the oldest is lost. Ours: NATS 2.14 holds any number.
pub const REPLY_PERMISSIONS_BYTES: usize = 16 << 20;

/// From this size on a payload is kept once and shared by its receivers instead of copied to each.
/// Below it a copy costs less than a reference count that two cores pass to and fro.
pub(crate) const SHARED_PAYLOAD_MIN_BYTES: usize = 16 << 10;

/// A receiver with this much waiting is flushed at once, so that one chunk of small messages to many
/// receivers cannot pile up.
pub(crate) const FLUSH_AT_BYTES: usize = 128 << 10;

/// All receivers that one session's chunk has touched are flushed when this much waits for them.
pub(crate) const FLUSH_ALL_AT_BYTES: usize = 1 << 20;

/// A queue of which this part is used, in relation to its bound, has publishers wait that fill it, if its
/// receiver reads: 16 MiB of 64. What it must read to keep its publishers waiting, in
/// [`PATIENCE_LOOK`], is [this part](PATIENCE_STEP_SHARE): 64 KiB, so 640 KiB a second. A receiver that is
/// not much faster is cut by `write_deadline`, which by default gives it 10 s for the 16 MiB.
// NATS 2.14: from three quarters on, 2 to 5 ms for a message and 10 for a chunk of input.
pub(crate) const CROWDED_SHARE: usize = 4;

/// See [`CROWDED_SHARE`].
pub(crate) const PATIENCE_STEP_SHARE: usize = 1024;

/// The interval at which a waiting publisher checks whether its receiver reads.
pub(crate) const PATIENCE_LOOK: Duration = Duration::from_millis(100);

/// The longest wait of a publisher for one receiver, for each chunk of input.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How many messages to one subject are delivered together, receiver by receiver.
pub(crate) const RUN_MESSAGES: usize = 1024;

/// How many runs to different subjects are gathered before the first of them is published. As many loads
/// as a processor has under way at once; a run needs several, but not all at the same time.
pub(crate) const BATCH_RUNS: usize = 16;

/// A run is dealt to the members of a queue group of up to this many: more, and few would get several.
pub(crate) const DISTRIBUTED_MEMBERS: usize = 128;

/// The most subjects whose matches one session remembers. A session that publishes to more falls
/// back to the account's interest for the rest.
pub(crate) const CACHED_SUBJECTS: usize = 16 << 10;

/// The most bytes of subjects and matches that one session remembers.
pub(crate) const CACHED_BYTES: usize = 4 << 20;

/// Longer subjects are not remembered: they are rare, and cost a cache its worth.
pub(crate) const CACHED_SUBJECT_BYTES: usize = 512;

/// The most accounts that one session works in: a subscription names its account in two bytes. Only
/// connections of other servers have more than one.
pub(crate) const SESSION_ACCOUNTS: usize = u16::MAX as usize;

/// The most bytes of subjects and matches that one session remembers in all of its accounts together: as much
/// as sixteen clients.
pub(crate) const SESSION_CACHED_BYTES: usize = 16 * CACHED_BYTES;

/// How many filters of subjects messages are counted for: a session sees which of them a subject matches in
/// one word of bits.
pub const MAX_COUNTED_SUBJECTS: usize = 64;

/// How many messages may wait in one in-process subscription. async-nats has the same bound.
pub const LOCAL_QUEUE_MESSAGES: usize = 65_536;

/// The number of messages that the reader of an in-process subscription takes at once. They no longer count as
/// waiting; of a queue with a small capacity it takes fewer, one at least, so that the bound is exceeded by less
/// than two percent.
pub(crate) const LOCAL_TAKEN_MESSAGES: usize = 64;

/// The number of bytes that a batch of an in-process client gathers before it publishes them: as many as one read of
/// a connection brings.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// The number of requests of one in-process client that may wait for their answers at the same time: some
/// megabytes of them. More than that are a program that sends without end to a service that does not answer.
pub const LOCAL_REQUESTS: usize = 16_384;

/// The number of messages that may wait for one handler. One chunk of input brings at most some thousands,
/// so that a dozen publishers find room beside each other; and as many rounds of a flood in which a handler
/// publishes to itself, as [`HANDLER_HOPS`] allows, take less than a second.
pub const HANDLER_QUEUE_MESSAGES: usize = 32_768;

/// The number of bytes that may wait for one handler, unless it is a single message: as many as for a client by
/// default.
pub const HANDLER_QUEUE_BYTES: usize = 64 << 20;

/// The number of handlers in a row that may publish because of one message: the message that the last of them
/// publishes reaches no further handler. Services that call services are a few levels deep; two handlers that
/// answer each other are without end.
pub const HANDLER_HOPS: u8 = 16;

/// The number of messages that a handler handles before the queues that it has filled are flushed, and
/// another publisher may take over.
pub(crate) const HANDLER_TURN: usize = 64;

/// The memory that a handler's queue keeps while it is empty, in bytes and in entries.
pub(crate) const HANDLER_KEPT: usize = 4096;

/// The time that a decision of an authenticator is waited for at most, when it comes from elsewhere. Clients
/// have given up long before at login; at a reload its author waits for the slowest.
pub const PENDING_DECISION: Duration = Duration::from_secs(60);

/// The number of entries (subscriptions, sessions) of one slice of work that grows with their number. A
/// tenth of a millisecond, so that even a worker that has nothing but such slices to do comes back to its
/// sockets within some.
pub(crate) const SLICE: usize = 128;

/// The number of operations other than messages that a session does before others have their turn. A SUB
/// takes a microsecond or two, and a chunk of input holds thousands of them.
pub(crate) const OPERATIONS_A_TURN: usize = 1024;

/// The number of subscriptions that are removed from the interest under one lock when a client leaves: about
/// ten microseconds, which others may have to wait.
pub(crate) const UNSUBSCRIBE_BATCH: usize = 32;

/// The number of slices in a row that are left out in favour of others who wait for the interest. A woken
/// thread has it after one or two; the rest is for a machine whose processors do something else.
pub(crate) const PATIENCE_SLICES: u8 = 64;

/// When the server goes: how long an answer is waited for. What the clients of NATS give a request by
/// default; whoever asked has given up then.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// When the server goes: a client that has sent no request for so long has none on the way. Longer than
/// messages take around the world, and programs to be scheduled.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

/// When the server goes: how long a client's messages are held back at most until it is quiet.
pub(crate) const HOLD_PATIENCE: Duration = Duration::from_secs(1);

/// When the server goes: how many open requests of one client, and to it, are watched. A client with
/// more has its further ones waited for only by chance.
pub(crate) const TRACKED_REQUESTS: usize = 64 << 10;

const _: () = assert!(PRE_AUTH_READ_BYTES < UNAUTHENTICATED_BYTES);
const _: () = assert!(MAX_UNAUTHENTICATED * UNAUTHENTICATED_BYTES <= 64 << 20);
const _: () = assert!(FLUSH_AT_BYTES < FLUSH_ALL_AT_BYTES);
const _: () = assert!(SLICE.is_multiple_of(UNSUBSCRIBE_BATCH));
