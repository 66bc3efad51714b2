//! Configuration files.

use std::path::{Path, PathBuf};

/// A file that is removed together with its folder.
pub(crate) struct File {
    path: PathBuf,
    dir: tempfile::TempDir,
}

impl File {
    pub(crate) fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("natsd.conf");
        std::fs::write(&path, content).unwrap();
        Self { path, dir }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, content: &str) {
        std::fs::write(&self.path, content).unwrap();
    }
}
