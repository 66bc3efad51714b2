//! Where options come from: defaults, file, environment, command line; the later wins.
//!
//! The table of options that a section declares says how each is read. No message of it shows a value,
//! since any may be a password.
//!
//! | what | where |
//! | --- | --- |
//! | the NATS configuration language | [`lang`] |
//! | what an option is, and how its value is written | [`table`], [`kind`] |
//! | how an option is declared | `declare` |
//! | a source against the table | `check` |
//! | the sources and how they lie over each other | `environment`, [`layer`] |
//! | whether the files are still the same | `sources` |

pub(crate) mod check;
pub(crate) mod declare;
pub(crate) mod duration;
pub(crate) mod environment;
pub mod field;
pub(crate) mod format;
pub mod lang;
pub mod layer;
pub(crate) mod nearest;
pub mod problem;
pub(crate) mod settle;
mod sources;
pub mod table;

pub(crate) use check::{Check, join};
pub(crate) use environment::{check as check_value, value as value_of_text};
pub(crate) use sources::Sources;
pub use table::kind;
