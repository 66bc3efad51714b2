//! Streams in tests (cargo feature `testing`): a disk that fails and crashes, and streams without threads.

use std::io;
use std::sync::Arc;

use crate::store::{Disk, SimulatedDisk};

/// A disk in memory for streams in files, with the faults of real ones. Clones are the same disk.
///
/// It keeps what a real disk keeps: after a [crash](Self::crash) all that was synced is there, and of each change that was not, every
/// sector of 512 bytes is there or not, by chance. So writes are torn, and later ones survive earlier ones. The same seed
/// gives the same chances.
///
/// ```
/// use broker_streams::testing::TestDisk;
///
/// let disk = TestDisk::new(7);
/// disk.set_capacity(1 << 20); // full beyond a megabyte
/// assert_eq!(disk.used_bytes(), 0);
/// ```
#[derive(Clone)]
pub struct TestDisk(SimulatedDisk);

/// Held by the server that uses a disk.
pub(crate) type Lease = Arc<()>;

impl std::fmt::Debug for TestDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestDisk").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

impl TestDisk {
    /// Creates an empty disk. The seed decides what survives crashes.
    pub fn new(seed: u64) -> Self {
        Self(SimulatedDisk::new(seed))
    }

    /// Returns the bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.0.used() as u64
    }

    /// Limits the bytes of all files: beyond, writes fail because the disk is full. A higher limit gives room again.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.set_capacity(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Has one change fail with an error: the next one if `after` is 0. A change is a write, a sync, or the creation, renaming or
    /// removal of a file.
    pub fn fail(&self, after: u64, error: io::ErrorKind) {
        self.0.fail_after(after.saturating_add(1), error);
    }

    /// Has the disk stop at a change, which may be half made: the next one if `after` is 0. Everything fails from then on, until a
    /// [crash](Self::crash) ends it.
    pub fn stop(&self, after: u64) {
        self.0.crash_after(after.saturating_add(1));
    }

    /// Has syncs report success without making anything durable, as disks do that lie about their cache, until it is set to
    /// false.
    pub fn lose_syncs(&self, loses: bool) {
        self.0.set_loses_syncs(loses);
    }

    /// Flips a bit of the first place that holds these bytes, such as the payload of a stored message. Returns false if there is
    /// none.
    pub fn damage(&self, bytes: &[u8]) -> bool {
        self.0.damage(bytes)
    }

    /// Loses what was not synced, as a power failure does. All open files fail from then on: a server that uses the disk has to be
    /// started again.
    pub fn crash(&self) {
        self.0.restart();
    }

    /// Lets a server use the disk; `None` if another one does.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.0.lease()
    }

    /// Returns the names of the directories in one, in order.
    pub(crate) fn directories(&self, path: Option<&str>) -> Vec<String> {
        let directories = match path {
            Some(path) => self.0.directory(path).directories(),
            None => self.0.directories(),
        };
        directories.into_iter().collect()
    }

    /// Returns a directory, which the next crash closes.
    pub(crate) fn directory(&self, path: &str) -> TestDirectory {
        TestDirectory(self.0.directory(path))
    }
}

/// A directory of a disk.
pub(crate) struct TestDirectory(SimulatedDisk);

impl TestDirectory {
    /// Returns it as a disk of a store.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.0.clone())
    }

    /// Removes it, which no crash undoes.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.0.remove_all()
    }

    /// Moves its files to another directory, in place of what is there, which no crash undoes.
    pub(crate) fn move_to(&self, to: &Self) -> io::Result<()> {
        self.0.move_all(&to.0)
    }
}
