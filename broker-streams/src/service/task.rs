//! The interfaces of units and accounts to threads and subscriptions.

use std::sync::Arc;

use broker_core::RawMessage;
use broker_core::endpoint::Scratch;

use crate::api::ApiRequest;
use crate::store::{Damage, Scrub, SyncJob};

/// A stream, as the threads see it.
pub(super) trait Task: Send + Sync {
    /// Continues deliveries.
    fn run(self: Arc<Self>, scratch: &mut Scratch);

    /// Performs the actions that are due.
    fn tick(self: Arc<Self>, scratch: &mut Scratch);

    /// Returns a check of the next part of what is stored.
    fn begin_scrub(&self) -> Option<Scrub> {
        None
    }

    /// Returns the damage that a check has found.
    fn finish_scrub(&self, scrub: &Scrub) -> Vec<Damage> {
        let _ = scrub;
        Vec::new()
    }

    /// Takes the changes that are to be synced.
    fn begin_sync(&self) -> Option<Box<dyn SyncJob>>;

    /// Takes a job back that has run.
    fn finish_sync(self: Arc<Self>, job: Box<dyn SyncJob>, scratch: &mut Scratch);
}

/// A stream, as its subscriptions see it.
pub(super) trait Receiver: Send + Sync {
    /// Handles a message to a subject of the stream. Returns true if publishers should wait before they send more.
    fn publish(self: Arc<Self>, message: &RawMessage<'_>, scratch: &mut Scratch) -> bool;

    /// Handles a message to a consumer, or a request for messages.
    fn receive(self: Arc<Self>, message: &RawMessage<'_>, scratch: &mut Scratch);

    /// Handles a message of another stream, whose feed `reply` identifies, or the answer to a request for its consumer.
    fn feed(self: Arc<Self>, reply: &str, message: &RawMessage<'_>, scratch: &mut Scratch);
}

/// An account, as the thread of the API sees it.
pub(super) trait Responder: Send + Sync {
    /// Returns the name.
    fn name(&self) -> &str;

    /// Starts or ends the streams, as the limits ask for.
    fn follow(&self);

    /// Answers a request.
    fn serve(&self, request: &ApiRequest<'_>, scratch: &mut Scratch);
}
