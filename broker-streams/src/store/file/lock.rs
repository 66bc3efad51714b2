//! One server for each directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The contents of the lock's file after a server that has made all files durable, until the next one takes the lock.
const DURABLE: &str = "durable\n";

/// The exclusive use of a directory by this process, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
    was_durable: bool,
}

impl DirectoryLock {
    /// Takes the lock of a directory, which exists.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if another server has it; those of the operating system.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let (mut file, is_new) = open(&directory.join("natsd.lock"))?;
        match file.try_lock() {
            Ok(()) => {
                let mut contents = Vec::new();
                (&mut file).take(DURABLE.len() as u64).read_to_end(&mut contents)?;
                // The writes of this server are not durable before it says so. An empty file that existed may be one that a
                // server emptied and did not sync.
                if !is_new || !contents.is_empty() {
                    file.set_len(0)?;
                    file.sync_all()?;
                }
                Ok(Self { file, was_durable: contents == DURABLE.as_bytes() })
            }
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another server uses {}", directory.display());
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
        }
    }

    /// Returns true if the server before this one has [left](Self::leave_durable) all files durable.
    pub fn was_durable(&self) -> bool {
        self.was_durable
    }

    /// Notes, as the last act of a server, that all files are durable as they are: the next one need not wait for the disk once for each.
    ///
    /// # Errors
    ///
    /// Those of the operating system. The next server then takes no file for durable.
    pub fn leave_durable(&self) -> io::Result<()> {
        self.file.write_all_at(DURABLE.as_bytes(), 0)?;
        self.file.sync_all()
    }
}

/// Opens the file. Returns true if it did not exist.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((options.create(true).truncate(false).open(path)?, false))
        }
        created => Ok((created?, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let refused = DirectoryLock::take(directory.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn only_a_new_file_is_known_to_be_empty_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("natsd.lock");
        assert!(open(&path).unwrap().1);
        assert!(!open(&path).unwrap().1);
    }

    #[test]
    fn only_the_next_server_finds_files_durable() {
        let directory = tempfile::tempdir().unwrap();
        let take = || DirectoryLock::take(directory.path()).unwrap();
        let lock = take();
        assert!(!lock.was_durable());
        lock.leave_durable().unwrap();
        drop(lock);
        let lock = take();
        assert!(lock.was_durable());
        lock.leave_durable().unwrap();
        drop(lock);
        // This one ends by a crash.
        assert!(take().was_durable());
        assert!(!take().was_durable());
        std::fs::write(directory.path().join("natsd.lock"), "durable, or not").unwrap();
        assert!(!take().was_durable());
    }
}
