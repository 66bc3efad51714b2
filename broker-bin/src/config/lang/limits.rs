//! What a configuration may cost. nats-server has no such bounds: a file that includes itself, or a
//! variable that doubles twenty times, ends it.

/// Maps and arrays within each other, variables and included files counted with what they bring. Whoever
/// walks the values may recurse: this is a few KiB of stack. Real files stay below ten.
pub const MAX_DEPTH: usize = 64;

/// Files that include each other in a row.
pub const MAX_INCLUDE_DEPTH: usize = 32;

/// `include`s in all, each time they are read. (One file for each account is a way to live.)
pub const MAX_INCLUDES: usize = 10_000;

/// Text of all files, and of what variables repeat. A resolver with 10,000 preloaded accounts has 20 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// Values in all, those that variables repeat included: about 400 MB of memory. 100,000 users with ten
/// permissions each have 1.5 million.
pub const MAX_VALUES: usize = 4 << 20;

/// Environment variables whose values name each other in a row.
pub const MAX_VARIABLE_DEPTH: usize = 16;
