//! Parser of the NATS configuration language: from text to values with their places.
//!
//! The parser does not know which keys exist or which values they accept.
//!
//! ```
//! use broker_bin::config::lang;
//!
//! let env = |name: &str| (name == "PORT").then(|| "4222".to_owned());
//! let document = lang::parse("port = $PORT", "natsd.conf", &env)?;
//! assert_eq!(lang::to_json(&document.root), r#"{"port":4222}"#);
//! # Ok::<(), lang::Error>(())
//! ```
//!
//! Reads what nats-server 2.14.5 reads, with the same result, quirks included, and refuses what it
//! refuses; `tests/config/differences.txt` lists the exceptions and their reasons. Parsing
//! terminates for every text, within [`limits`].
//!
//! | what | where |
//! | --- | --- |
//! | values and their places | `value` |
//! | keys, maps, arrays, documents | `parser` |
//! | strings; numbers and dates | `text`, `number` |
//! | `$NAME`; `include` | `variable`, `include` |
//! | access to files and environment, and their limits | `surroundings`, [`limits`] |
//! | the digest, and JSON as Go writes it | `digest` |

use std::path::Path;

mod cursor;
mod digest;
mod error;
mod include;
pub mod limits;
mod number;
mod parser;
mod scope;
mod surroundings;
mod text;
mod value;
mod variable;

pub use digest::to_json;
pub use error::{Error, Fault};
pub use surroundings::Surroundings;
pub use value::{Entry, Map, Node, Span, Value};

use parser::Parser;
use surroundings::Session;

/// A parsed configuration with all included files.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// All keys of the document.
    pub root: Map,
    /// The digest that nats-server prints for the same configuration, with its prefix `sha256:`.
    pub digest: String,
}

impl Document {
    fn new(root: Map) -> Self {
        Self { digest: digest::digest(&root), root }
    }
}

/// Reads a file.
///
/// # Errors
///
/// [`Error`]
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Document, Error> {
    load_with(path, &Surroundings::new(env))
}

/// Like [`load`], but opens files through `surroundings`.
///
/// # Errors
///
/// [`Error`]
pub fn load_with(path: &Path, surroundings: &Surroundings<'_>) -> Result<Document, Error> {
    let mut session = Session::new(surroundings);
    include::file(path, &mut session, None).map(Document::new)
}

/// Reads a text. `name` is used as its file name: errors mention it, and included files are looked
/// up relative to it.
///
/// # Errors
///
/// [`Error`]
pub fn parse(
    text: impl AsRef<[u8]>,
    name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Document, Error> {
    parse_with(text, name, &Surroundings::new(env))
}

/// Like [`parse`], but opens included files through `surroundings`.
///
/// # Errors
///
/// [`Error`]
pub fn parse_with(
    text: impl AsRef<[u8]>,
    name: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Document, Error> {
    let mut session = Session::new(surroundings);
    session.files.push(name.into());
    Parser::new(text.as_ref(), name, &mut session)?.document().map(Document::new)
}

/// Reads one value in the form an environment variable has. Trailing text is an error, because part
/// of a password such as `a;b` or `a #b` would be lost. An empty text is the empty string. Errors
/// mention `name`.
///
/// # Errors
///
/// [`Error`]
pub fn parse_value(
    text: impl AsRef<[u8]>,
    name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, Error> {
    let surroundings = Surroundings::new(env);
    let mut session = Session::new(&surroundings);
    Parser::new(text.as_ref(), name, &mut session)?.lone_value()
}

#[cfg(test)]
mod tests;
