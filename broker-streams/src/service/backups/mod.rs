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

/// How long a backup waits for its client: for an acknowledgement, or for the next chunk.
// NATS 2.14: jetstream_api.go defaultSnapshotAckTimeout, processStreamRestore.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a backup that waits looks whether its client still subscribes, and whether the server ends.
const LOOK: Duration = Duration::from_millis(100);
