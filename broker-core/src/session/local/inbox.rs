//! The inbox of an in-process client.

use crate::endpoint::{SubscriberQueue, Subscription};
use crate::sync::Arc;

/// The subscription for the answers to all requests of a client.
pub(super) struct Inbox {
    pub(super) subscription: Arc<Subscription>,
    pub(super) queue: Arc<SubscriberQueue>,
    /// The subject of an answer up to its last token.
    pub(super) prefix: String,
}
