//! The number of a subject.

/// The number of a subject, which its first message gives it and its last message takes along: numbers are used again.
pub(crate) type SubjectId = u32;
