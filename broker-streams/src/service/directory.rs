//! The directory of streams in files: `<directory>/natsd/<account>/<stream>`. Beside it nats-server may have stored streams
//! in its own form.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::lock::lock;
use crate::store::{
    DirectoryLock, Disk, Encryption, FileDisk, FileOptions, FileStorage, FramedDisk, KeyChange,
    Opened, StorageError,
};
#[cfg(feature = "testing")]
use crate::testing::{Lease, TestDirectory, TestDisk};

/// The prefix of directories of streams that were deleted, until they are gone. No stream has such a name.
const DELETED: &str = ".deleted-";

/// The prefix of directories of streams that are being restored. No stream has such a name, either.
const STAGED: &str = ".restore-";

/// The stores that are opened at the same time: after a crash each waits twice for the disk, which serves several together. Each may have a
/// segment of 8 MiB in memory meanwhile.
const OPENERS: usize = 4;

/// The directory, which one server uses at a time.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    encryption: Option<Encryption>,
    place: Place,
    /// The accounts whose streams were opened since the server started.
    opened: Mutex<BTreeSet<String>>,
}

/// The place of a directory.
#[derive(Debug)]
enum Place {
    Files {
        lock: DirectoryLock,
    },
    #[cfg(feature = "testing")]
    Simulated {
        disk: TestDisk,
        _lease: Lease,
    },
}

impl Directory {
    /// Takes the directory, which is created if it does not exist.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and if another server uses the directory.
    pub(super) fn take(path: &Path, encryption: Option<Encryption>) -> io::Result<Self> {
        let path = path.join("natsd");
        fs::create_dir_all(&path)?;
        let lock = DirectoryLock::take(&path)?;
        Ok(Self { path, encryption, place: Place::Files { lock }, opened: Mutex::default() })
    }

    /// Takes a simulated disk.
    ///
    /// # Errors
    ///
    /// If another server uses it.
    #[cfg(feature = "testing")]
    pub(super) fn simulated(disk: &TestDisk, encryption: Option<Encryption>) -> io::Result<Self> {
        let lease = disk.lease().ok_or_else(|| io::Error::other("another server uses the disk"))?;
        let place = Place::Simulated { disk: disk.clone(), _lease: lease };
        Ok(Self { path: PathBuf::new(), encryption, place, opened: Mutex::default() })
    }

    /// Returns the names of the accounts that have stored something, in order.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn accounts(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        #[cfg(feature = "testing")]
        if let Place::Simulated { disk, .. } = &self.place {
            return Ok(disk.directories(None).iter().map(|name| unescaped(name)).collect());
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().to_str().map(unescaped));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the names of the streams of an account, in order. Removes the remains of deleted streams, and
    /// of those that were not restored to the end.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn streams_of(&self, account: &str) -> io::Result<Vec<String>> {
        #[cfg(feature = "testing")]
        if let Place::Simulated { disk, .. } = &self.place {
            let mut names = disk.directories(Some(&escaped(account)));
            for staged in names.extract_if(.., |name| name.starts_with(STAGED)) {
                disk.directory(&format!("{}/{staged}", escaped(account))).remove()?;
            }
            return Ok(names.iter().map(|name| unescaped(name)).collect());
        }
        let entries = match fs::read_dir(self.of_account(account)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(unescaped) else { continue };
            if name.starts_with(DELETED) || name.starts_with(STAGED) {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_type()?.is_dir() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens the store of a stream, which is created if it does not exist.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    pub(super) fn open(&self, account: &str, stream: &str) -> Result<Opened, StorageError> {
        self.open_on(self.disk(account, stream)?, (account, stream), false)
    }

    /// Opens the stores of the streams of an account, by [`Self::open_of`]. Returns true if their files are durable: nothing has written to
    /// them since the server before this one has [left](Self::leave_durable) all files durable.
    pub(super) fn begin_account(&self, account: &str) -> bool {
        let is_first = lock(&self.opened).insert(account.to_owned());
        is_first && self.was_durable()
    }

    /// Returns the number of threads that open stores at the same time.
    pub(super) fn openers(&self) -> usize {
        match &self.place {
            Place::Files { .. } => OPENERS,
            #[cfg(feature = "testing")]
            Place::Simulated { .. } => 1,
        }
    }

    /// Opens the store of a stream, whose files are durable or not.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    pub(super) fn open_of(
        &self,
        account: &str,
        stream: &str,
        is_durable: bool,
    ) -> Result<Opened, StorageError> {
        self.open_on(self.disk(account, stream)?, (account, stream), is_durable)
    }

    /// Opens the store of a stream that is being restored.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    pub(super) fn open_staged(
        &self,
        staged: &Staged,
        account: &str,
        stream: &str,
    ) -> Result<Opened, StorageError> {
        self.open_on(staged.disk()?, (account, stream), false)
    }

    fn open_on(
        &self,
        disk: Arc<dyn Disk>,
        (account, stream): (&str, &str),
        is_durable: bool,
    ) -> Result<Opened, StorageError> {
        let encryption = self.encryption.as_ref();
        let encryption = encryption.map(|encryption| encryption.of_store(account, stream));
        let disk = FramedDisk::open(disk, encryption.as_ref())?;
        // NATS 2.14: jetstream.go enableJetStream.
        match (disk.change(), &self.encryption) {
            (KeyChange::Encrypted, _) => {
                tracing::info!("  Encrypting stream '{account} > {stream}'");
            }
            (KeyChange::Converted, Some(Encryption { cipher, .. })) => {
                tracing::info!("  Converting to {cipher} for stream '{account} > {stream}'");
            }
            _ => {}
        }
        FileStorage::open(Arc::new(disk), FileOptions { is_durable, ..FileOptions::default() })
    }

    fn was_durable(&self) -> bool {
        match &self.place {
            Place::Files { lock } => lock.was_durable(),
            #[cfg(feature = "testing")]
            Place::Simulated { .. } => false,
        }
    }

    /// Notes, when the server ends, that all files are durable. The caller has seen to that for the accounts that were opened; other
    /// accounts must have been left durable before.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn leave_durable(&self) -> io::Result<()> {
        let opened = lock(&self.opened);
        match &self.place {
            Place::Files { lock } => {
                let is_durable = lock.was_durable()
                    || self.accounts()?.iter().all(|account| opened.contains(account));
                if is_durable { lock.leave_durable() } else { Ok(()) }
            }
            #[cfg(feature = "testing")]
            Place::Simulated { .. } => Ok(()),
        }
    }

    fn disk(&self, account: &str, stream: &str) -> io::Result<Arc<dyn Disk>> {
        match &self.place {
            Place::Files { .. } => {
                let path = self.of_account(account).join(escaped(stream));
                Ok(Arc::new(FileDisk::open(path)?))
            }
            #[cfg(feature = "testing")]
            Place::Simulated { disk, .. } => Ok(simulated(disk, account, stream).disk()),
        }
    }

    /// Removes the store of a stream: it is gone once this returns, whatever happens to the machine.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn remove(&self, account: &str, stream: &str) -> io::Result<()> {
        #[cfg(feature = "testing")]
        if let Place::Simulated { disk, .. } = &self.place {
            return simulated(disk, account, stream).remove();
        }
        let account = self.of_account(account);
        let deleted = account.join(format!("{DELETED}{}", escaped(stream)));
        if deleted.is_dir() {
            fs::remove_dir_all(&deleted)?;
        }
        fs::rename(account.join(escaped(stream)), &deleted)?;
        sync_directory(&account)?;
        fs::remove_dir_all(&deleted)
    }

    /// Removes everything that an account has stored, durably.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn remove_account(&self, account: &str) -> io::Result<()> {
        for stream in self.streams_of(account)? {
            self.remove(account, &stream)?;
        }
        #[cfg(feature = "testing")]
        if let Place::Simulated { .. } = &self.place {
            return Ok(());
        }
        match fs::remove_dir_all(self.of_account(account)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_directory(&self.path),
        }
    }

    /// Creates a directory for a stream that is being restored; `id` tells it from others.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn stage(&self, account: &str, id: &str) -> io::Result<Staged> {
        let path = self.of_account(account).join(format!("{STAGED}{id}"));
        #[cfg(feature = "testing")]
        if let Place::Simulated { disk, .. } = &self.place {
            let simulated = disk.directory(&format!("{}/{STAGED}{id}", escaped(account)));
            return Ok(Staged { path, simulated: Some(simulated) });
        }
        fs::create_dir_all(&path)?;
        Ok(Staged {
            path,
            #[cfg(feature = "testing")]
            simulated: None,
        })
    }

    /// Gives the store of a restored stream its place, in place of what a server could not read there.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    // NATS 2.14: stream.go RestoreStream.
    pub(super) fn adopt(&self, staged: &Staged, account: &str, stream: &str) -> io::Result<()> {
        self.remove_if_present(account, stream)?;
        #[cfg(feature = "testing")]
        if let (Place::Simulated { disk, .. }, Some(directory)) = (&self.place, &staged.simulated) {
            return directory.move_to(&simulated(disk, account, stream));
        }
        let account = self.of_account(account);
        fs::rename(&staged.path, account.join(escaped(stream)))?;
        sync_directory(&account)
    }

    /// Removes the store of a stream, if there is one.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) fn remove_if_present(&self, account: &str, stream: &str) -> io::Result<()> {
        let is_present = match &self.place {
            Place::Files { .. } => self.of_account(account).join(escaped(stream)).is_dir(),
            #[cfg(feature = "testing")]
            Place::Simulated { disk, .. } => {
                disk.directories(Some(&escaped(account))).contains(&escaped(stream))
            }
        };
        if is_present { self.remove(account, stream) } else { Ok(()) }
    }

    fn of_account(&self, account: &str) -> PathBuf {
        self.path.join(escaped(account))
    }
}

#[cfg(feature = "testing")]
fn simulated(disk: &TestDisk, account: &str, stream: &str) -> TestDirectory {
    disk.directory(&format!("{}/{}", escaped(account), escaped(stream)))
}

/// The directory of a stream that is being restored. It is removed when this is dropped, unless it was
/// [adopted](Directory::adopt).
pub(super) struct Staged {
    path: PathBuf,
    /// The directory of a simulated disk.
    #[cfg(feature = "testing")]
    simulated: Option<TestDirectory>,
}

impl Staged {
    fn disk(&self) -> io::Result<Arc<dyn Disk>> {
        #[cfg(feature = "testing")]
        if let Some(directory) = &self.simulated {
            return Ok(directory.disk());
        }
        Ok(Arc::new(FileDisk::open(&self.path)?))
    }

    fn remove(&self) -> io::Result<()> {
        #[cfg(feature = "testing")]
        if let Some(directory) = &self.simulated {
            return directory.remove();
        }
        fs::remove_dir_all(&self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        match self.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.path.display();
                tracing::warn!("{path} cannot be removed, which the next start does: {error}");
            }
            _ => {}
        }
    }
}

/// Makes the names in a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Returns a name that is valid in any file system: bytes other than letters, digits, `-`, `_` and `$` become `%` and two
/// hexadecimal digits.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'$' => {
                text.push(char::from(byte));
            }
            byte => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

/// Reverses [`escaped`].
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in ["ORDERS", "$G", "A/B", "..", "a b%", "Ünicode", ""] {
            let text = escaped(name);
            assert!(!text.contains(['/', '.', ' ']), "{text}");
            assert_eq!(unescaped(&text), name);
        }
    }

    #[test]
    fn streams_are_listed_by_account_until_they_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::take(root.path(), None).unwrap();
        for (account, stream) in [("$G", "B"), ("$G", "A"), ("X", "C")] {
            drop(directory.open(account, stream).unwrap());
        }
        assert_eq!(directory.streams_of("$G").unwrap(), ["A", "B"]);
        directory.remove("$G", "A").unwrap();
        assert_eq!(directory.streams_of("$G").unwrap(), ["B"]);
        assert_eq!(directory.streams_of("X").unwrap(), ["C"]);
        assert_eq!(directory.accounts().unwrap(), ["$G", "X"]);
        assert!(directory.streams_of("Y").unwrap().is_empty());
        assert!(Directory::take(root.path(), None).is_err(), "another server uses it");
    }

    #[cfg(feature = "testing")]
    #[test]
    fn a_simulated_disk_has_streams_and_those_that_are_being_restored() {
        let disk = TestDisk::new(1);
        let directory = Directory::simulated(&disk, None).unwrap();
        for (account, stream) in [("$G", "B"), ("$G", "A/1"), ("X", "C")] {
            store(directory.open(account, stream).unwrap(), stream);
        }
        directory.remove("$G", "B").unwrap();
        let (staged, dropped) = (directory.stage("$G", "1").unwrap(), directory.stage("$G", "2"));
        store(directory.open_staged(&staged, "$G", "A/1").unwrap(), "restored");
        let dropped = dropped.unwrap();
        store(directory.open_staged(&dropped, "$G", "B").unwrap(), "dropped");
        drop(dropped);
        assert_eq!(disk.directories(Some("$G")), [".restore-1", "A%2f1"]);
        directory.adopt(&staged, "$G", "A/1").unwrap();
        drop(staged);
        let interrupted = directory.stage("X", "4").unwrap();
        store(directory.open_staged(&interrupted, "X", "D").unwrap(), "interrupted");
        disk.crash();
        drop((interrupted, directory));

        let directory = Directory::simulated(&disk, None).unwrap();
        assert!(Directory::simulated(&disk, None).is_err(), "another server uses it");
        assert_eq!(disk.directories(Some("X")), [".restore-4", "C"]);
        assert_eq!(directory.accounts().unwrap(), ["$G", "X"]);
        assert_eq!(directory.streams_of("X").unwrap(), ["C"]);
        assert_eq!(disk.directories(Some("X")), ["C"]);
        assert_eq!(directory.streams_of("$G").unwrap(), ["A/1"]);
        assert_eq!(directory.open("$G", "A/1").unwrap().journal, [b"restored"]);
    }

    /// Stores an entry durably.
    #[cfg(feature = "testing")]
    fn store(opened: Opened, entry: &str) {
        use crate::store::Storage;

        let mut storage = opened.storage;
        storage.journal(entry.as_bytes()).unwrap();
        let mut job = storage.begin_sync().unwrap();
        job.run();
        storage.finish_sync(job).unwrap();
    }
}
