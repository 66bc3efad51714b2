//! The natsd program as a library.

pub mod cli;
pub mod logging;
pub mod options;

pub use options::Options;
