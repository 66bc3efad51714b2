//! Backups of streams: each is made or restored by a thread of its own, so that no stream and no other request waits for it.

mod acks;
mod home;
mod inbox;
mod request;
mod restore;
mod snapshot;

pub(super) use home::{Home, Store};
pub(super) use restore::start as start_restore;
pub(super) use snapshot::start as start_snapshot;

use std::time::Duration;

use request::OwnedRequest;

/// The time that a backup waits for its client: for an acknowledgement, or for the next chunk.
// NATS 2.14: jetstream_api.go defaultSnapshotAckTimeout, processStreamRestore.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interval at which a backup that waits checks the interest of its client, and the end of the server.
const LOOK: Duration = Duration::from_millis(100);
