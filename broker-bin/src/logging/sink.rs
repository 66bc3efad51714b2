//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Standard error, or a file that can be opened anew after something moved it away.
#[derive(Debug)]
pub struct Sink(Target);

#[derive(Debug)]
enum Target {
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
}

impl Sink {
    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self(Target::Stderr)
    }

    /// Appends to the file at `path`, which is made if need be.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn file(path: PathBuf) -> io::Result<Self> {
        let file = Mutex::new(open(&path)?);
        Ok(Self(Target::File { path, file }))
    }

    /// A person is reading along.
    pub fn is_terminal(&self) -> bool {
        matches!(self.0, Target::Stderr) && io::stderr().is_terminal()
    }

    /// Opens the file again under its name; `false` if there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; lines go on to the one that was open.
    pub fn reopen(&self) -> io::Result<bool> {
        let Target::File { path, file } = &self.0 else { return Ok(false) };
        let fresh = open(path)?;
        *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// Writes one line in one piece. A log that cannot be written (a full disk, a closed pipe) must not
    /// stop the server, and there is nowhere left to say so.
    pub fn write(&self, line: &str) {
        let _ = match &self.0 {
            Target::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Target::File { file, .. } => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
            }
        };
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    // NATS 2.14: log.go, the group may read.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
