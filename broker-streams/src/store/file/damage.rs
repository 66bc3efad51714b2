//! Damage of files.

/// Stored bytes that are not those that were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// The name of the file.
    pub file: String,
    /// The place of the first damaged byte at most.
    pub offset: u64,
    /// The number of bytes from there to the next intact record.
    pub bytes: u64,
    /// The first and the last sequence between which messages are lost; `None` if only removals or entries of the journal are.
    pub sequences: Option<(u64, u64)>,
}
