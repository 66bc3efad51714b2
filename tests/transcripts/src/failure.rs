//! A dialogue that went otherwise.

use std::fmt;

/// Where a dialogue went otherwise than written, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The dialogue's name: its file without `.txt`.
    pub dialogue: String,
    /// The line of the file, from 1; 0 when it could not begin or end.
    pub line: usize,
    /// What was expected and what came instead.
    pub what: String,
    /// What the stage had to say about it.
    pub notes: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.txt:{}: {}", self.dialogue, self.line, self.what)?;
        if !self.notes.is_empty() {
            write!(f, "\n{}", self.notes)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
