//! The in-process client follows the same rules and the same router as clients on the wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod batches;
#[path = "../common/mod.rs"]
mod common;
mod messages;
mod permissions;
mod queues;
mod requests;
mod room;
mod wakers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::{Instant, SystemTime};

use broker_core::auth::{Grant, Permissions};
use broker_core::{Broker, Client, Options};

fn broker() -> Broker {
    Broker::new(Options::default(), (Instant::now, SystemTime::now))
}

fn client_who(broker: &Broker, permissions: Permissions) -> Client {
    broker.client_as(Grant::user("x").with_permissions(permissions))
}

/// A waker that sets a flag.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
