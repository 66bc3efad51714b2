//! The file that tells which ports are open, for those who started us on any free one.

use std::io;
use std::path::{Path, PathBuf};

/// `<program>_<pid>.ports`; removed when dropped.
#[derive(Debug)]
pub(crate) struct PortsFile {
    path: PathBuf,
}

impl PortsFile {
    pub(crate) fn path(dir: &Path, program: &str) -> PathBuf {
        dir.join(format!("{program}_{}.ports", std::process::id()))
    }

    /// Writes the file beside its place and moves it there, so that whoever waits for it to appear
    /// never reads half of it.
    pub(crate) fn create(path: PathBuf, clients: &str) -> io::Result<Self> {
        let text = serde_json::json!({ "nats": [clients] }).to_string();
        let unfinished = path.with_extension("ports.new");
        let written =
            std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(Self { path })
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!("Error cleaning up ports file {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_whole_and_goes_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = PortsFile::path(dir.path(), "natsd");
        let file = PortsFile::create(path.clone(), "nats://127.0.0.1:4222").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"nats":["nats://127.0.0.1:4222"]}"#);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = PortsFile::path(&dir.path().join("missing"), "natsd");
        assert!(PortsFile::create(path, "nats://127.0.0.1:1").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
