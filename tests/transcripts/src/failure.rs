//! The failure of a dialogue.

use std::fmt;

/// The place and kind of a failure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The dialogue's name: its file without `.txt`.
    pub dialogue: String,
    /// The line of the file, from 1; 0 if it could not begin or end.
    pub line: usize,
    /// Expected and actual input.
    pub what: String,
    /// Information of the stage.
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
