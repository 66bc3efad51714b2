//! Backups of streams in the form of nats-server, which either server restores.
//!
//! A backup is an archive of files (tar), compressed as a whole (S2):
//!
//! | file | contents |
//! | --- | --- |
//! | `meta.inf`, `meta.sum` | the configuration as JSON, and its checksum |
//! | `msgs/1.blk`, `msgs/2.blk` … | the messages |
//! | `msgs/index.db` | which of them are removed; nats-server writes it, natsd leaves removed messages out |
//! | `obs/<consumer>/meta.inf`, `meta.sum` | the configuration of a consumer |
//! | `obs/<consumer>/o.dat` | its progress |
//!
//! [`write()`] makes a backup of a [`Cell`](crate::cell::Cell) at work, in portions: the cell is locked for one at a time.
//! [`restore`] reads one into an empty store, as it arrives. Neither needs memory in proportion to the stream.
// NATS 2.14: filestore.go streamSnapshot, stream.go RestoreStream.

mod archive;
mod block;
mod checksum;
mod compressed;
mod consumers;
mod error;
mod index;
mod limits;
mod meta;
mod progress;
mod read;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use error::BackupError;
pub use read::{Progress, Restored, restore};
pub use target::Target;
pub use write::{See, Start, Written, write};

/// The names of files.
mod file {
    pub(super) const META: &str = "meta.inf";
    pub(super) const META_SUM: &str = "meta.sum";
    pub(super) const MESSAGES: &str = "msgs";
    pub(super) const BLOCK_SUFFIX: &str = ".blk";
    pub(super) const INDEX: &str = "index.db";
    pub(super) const CONSUMERS: &str = "obs";
    pub(super) const PROGRESS: &str = "o.dat";
    /// The file that nats-server adds to a backup that it could not finish.
    pub(super) const ERRORS: &str = "errors.txt";
}
