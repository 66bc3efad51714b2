//! Limits on the cost of a configuration. nats-server has none: a file that includes itself, or a
//! variable that doubles twenty times, crashes it.

/// Nesting of maps, arrays, variables and included files. Code that walks the values may recurse:
/// this depth takes a few KiB of stack. Real files stay below ten.
pub const MAX_DEPTH: usize = 64;

/// Depth of nested includes.
pub const MAX_INCLUDE_DEPTH: usize = 32;

/// Total number of `include`s, counting repetitions. (Some deployments use one file per account.)
pub const MAX_INCLUDES: usize = 10_000;

/// Total text of all files and of repeated variables. A resolver with 10,000 preloaded accounts has
/// 20 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// Total number of values, including those repeated by variables: about 400 MB of memory. 100,000
/// users with ten permissions each have 1.5 million.
pub const MAX_VALUES: usize = 4 << 20;

/// Length of a chain of environment variables that refer to each other.
pub const MAX_VARIABLE_DEPTH: usize = 16;
