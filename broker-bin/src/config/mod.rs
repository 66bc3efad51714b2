//! Sources of options: defaults, file, environment, command line. A later source overrides an
//! earlier one.
//!
//! Each section declares a table that describes how its options are read. No message contains a
//! value, because any value may be a password.
//!
//! | what | where |
//! | --- | --- |
//! | the NATS configuration language | [`lang`] |
//! | options and the kinds of their values | [`table`], [`kind`] |
//! | declaration of options | `declare` |
//! | validation of a source against the table | `check` |
//! | paths of options in messages | `path` |
//! | the sources and their precedence | `environment`, [`layer`] |
//! | the merged values as options | `deserialize` |
//! | detection of unchanged files | `sources` |

pub(crate) mod check;
pub(crate) mod declare;
pub(crate) mod deserialize;
pub(crate) mod duration;
pub(crate) mod environment;
pub mod field;
pub(crate) mod format;
pub mod lang;
pub mod layer;
pub(crate) mod nearest;
pub(crate) mod path;
pub mod problem;
pub(crate) mod settle;
mod sources;
pub mod table;

pub(crate) use check::{Check, join};
pub(crate) use environment::{check as check_value, value as value_of_text};
pub(crate) use sources::Sources;
pub use table::kind;
