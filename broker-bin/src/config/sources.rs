//! Hashes of the configuration files, used to detect that reading them again would give the same
//! result.
//!
//! Only files can change: command line and environment are fixed while the program runs.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::lang::limits::MAX_BYTES;

/// The files of a configuration and the hashes of their contents.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sources(Vec<(PathBuf, Hash)>);

type Hash = [u8; 32];

/// Opens a file.
type Open<'a> = &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>;

impl Sources {
    /// Calls `load` and records the hash of each file it opens.
    pub(crate) fn of<T, E>(load: impl FnOnce(Open<'_>) -> Result<T, E>) -> Result<(T, Self), E> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let open = |path: &Path| -> io::Result<Box<dyn Read>> {
            let file = File::open(path)?;
            let (path, seen) = (path.to_owned(), Rc::clone(&seen));
            Ok(Box::new(Reading { file, hasher: Sha256::new(), path, seen }))
        };
        let loaded = load(&open)?;
        Ok((loaded, Self(seen.take())))
    }

    /// Returns true if the files are unchanged; false without files, or if a file cannot be read.
    pub(crate) fn are_unchanged(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(path, hash)| hash_of(path).ok() == Some(*hash))
    }
}

fn hash_of(path: &Path) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    // The limit on the size of a configuration.
    let mut file = File::open(path)?.take(MAX_BYTES as u64 + 1);
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&chunk[..read]),
        }
    }
}

/// A file being read. Its hash is recorded when it is closed.
struct Reading {
    file: File,
    hasher: Sha256,
    path: PathBuf,
    seen: Rc<RefCell<Vec<(PathBuf, Hash)>>>,
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let hash = self.hasher.clone().finalize().into();
        let file = (std::mem::take(&mut self.path), hash);
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(&file) {
            seen.push(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_removed_file_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::write(path, "x: 1").unwrap();
        }
        let (texts, sources) = Sources::of(|open| {
            paths.iter().map(|path| io::read_to_string(open(path)?)).collect::<io::Result<Vec<_>>>()
        })
        .unwrap();
        assert_eq!(texts, ["x: 1", "x: 1"]);
        assert!(sources.are_unchanged());
        std::fs::write(&paths[1], "x: 2").unwrap();
        assert!(!sources.are_unchanged());
        std::fs::write(&paths[1], "x: 1").unwrap();
        assert!(sources.are_unchanged(), "the time of writing does not count");
        std::fs::remove_file(&paths[0]).unwrap();
        assert!(!sources.are_unchanged());
    }

    #[test]
    fn without_files_nothing_is_known() {
        assert!(!Sources::default().are_unchanged());
    }
}
