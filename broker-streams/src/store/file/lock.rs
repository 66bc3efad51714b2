//! One server for each directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// The exclusive use of a directory by this process, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of a directory, which exists.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if another server has it; those of the operating system.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let file = File::create(directory.join("natsd.lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another server uses {}", directory.display());
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
        }
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
}
