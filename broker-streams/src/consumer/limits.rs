//! Limits of consumers.

/// The most bytes that a push consumer with flow control sends ahead of the answers. As in nats-server.
// NATS 2.14: consumer.go JsFlowControlMaxPending.
pub(super) const FLOW_CONTROL_BYTES: u64 = 32 * 1024 * 1024;

/// The share of [`FLOW_CONTROL_BYTES`] that a consumer starts with; each answer doubles it.
// NATS 2.14: consumer.go setMaxPendingBytes.
pub(super) const FLOW_CONTROL_START: u64 = FLOW_CONTROL_BYTES / 16;

/// The default threshold of inactivity of an ephemeral consumer: 5 seconds, in nanoseconds. As in nats-server.
// NATS 2.14: consumer.go JsDeleteWaitTimeDefault.
pub(super) const INACTIVE_THRESHOLD: i64 = 5_000_000_000;

/// The least pause between two searches for expired acknowledgements, in nanoseconds: a burst of deliveries expires together.
// NATS 2.14: consumer.go ackWaitDelay.
pub(super) const EXPIRY_PAUSE: i64 = 1_000_000;

/// The addition to [`EXPIRY_PAUSE`] for each unacknowledged message, in nanoseconds: a search takes about 10 ns a message,
/// so that searches use no more than 1 % of a core for any number of unacknowledged messages.
pub(super) const EXPIRY_PAUSE_PER_MESSAGE: i64 = 1_000;

/// The pause between two searches for waiting requests whose reply subject has no subscriber, in nanoseconds.
// NATS 2.14: consumer.go processNextMsgRequest.
pub(super) const REQUEST_CHECK_PAUSE: i64 = 1_000_000_000;

/// The most advisories about removed messages that wait to be sent: a purge could produce as many as there are
/// unacknowledged messages. Further ones are not sent.
pub(super) const WAITING_ADVISORIES: usize = 1024;

/// The default time without a request after which a client is no longer pinned: 2 minutes, in nanoseconds.
// NATS 2.14: consumer.go JsDefaultPinnedTTL.
pub(super) const PINNED_TTL: i64 = 120_000_000_000;

/// The longest id of a pinned client that a waiting request keeps, in bytes. The server makes ids of 22 bytes.
pub(super) const MAX_PIN_ID: usize = 64;
