//! Violations of the format.

/// The reason why a stream cannot be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input violates the format, or exceeds its limits.
    #[error("s2: corrupt input")]
    Corrupt,
    /// A block is not what its checksum says.
    #[error("s2: checksum mismatch")]
    Checksum,
    /// A chunk of an unknown type that must not be skipped.
    #[error("s2: unsupported chunk")]
    Unsupported,
}
