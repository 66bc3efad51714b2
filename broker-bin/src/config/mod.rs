//! Where options come from: defaults, file, environment, command line; the later wins.
//!
//! [`load`] reads them all by the table of options that [`crate::options`] declares. Nothing it says
//! shows a value, since any may be a password.
//!
//! | what | where |
//! | --- | --- |
//! | the NATS configuration language | [`lang`] |
//! | what an option is, and how its value is written | [`table`], [`kind`] |
//! | how an option is declared | `declare` |
//! | a source against the table | `check`; users on the spot: `aside` |
//! | the sources and how they lie over each other | `environment`, [`layer`], `load` |
//! | whether the files are still the same | `sources` |
//! | what a reload changes | [`mod@diff`] |
//! | the page that documents all options | [`page`] |

mod aside;
mod check;
pub(crate) mod declare;
pub mod diff;
pub(crate) mod duration;
mod environment;
pub mod field;
pub(crate) mod format;
pub mod kind;
pub mod lang;
pub mod layer;
mod load;
mod nearest;
pub mod page;
pub mod problem;
pub(crate) mod settle;
mod sources;
pub mod table;
#[cfg(test)]
mod tests;

pub(crate) use check::{Check, join};
pub use diff::{Change, diff};
pub(crate) use environment::{check as check_value, value as value_of_text};
pub use load::{ConfigErrors, Loaded, Request, load, load_text};
pub(crate) use sources::Sources;
