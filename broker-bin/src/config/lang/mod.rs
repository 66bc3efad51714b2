//! The NATS configuration language: text to values that know where they stand.
//!
//! Which keys there are, and what they may hold, is not known here.
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
//! What nats-server 2.14.5 reads is read here with the same result, quirks included, and what it refuses
//! is refused; `tests/config/differences.txt` lists where not, and why. Whatever the text, reading it ends,
//! within the bounds of [`limits`].
//!
//! | what | where |
//! | --- | --- |
//! | values and where they stand | `value` |
//! | keys, maps, arrays, the whole | `parser` |
//! | strings; numbers and dates | `text`, `number` |
//! | `$NAME`; `include` | `variable`, `include` |
//! | what a configuration may reach, and how much of it | `surroundings`, [`limits`] |
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

/// A configuration that was read, with all that it includes.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// All keys.
    pub root: Map,
    /// `sha256:` and what nats-server calls the digest of the same configuration.
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

/// Like [`load`], but files come from where the surroundings have them.
///
/// # Errors
///
/// [`Error`]
pub fn load_with(path: &Path, surroundings: &Surroundings<'_>) -> Result<Document, Error> {
    let mut session = Session::new(surroundings);
    include::file(path, &mut session, None).map(Document::new)
}

/// Reads a text. `name` is the file that it is said to come from: it stands in errors, and what the text
/// includes is looked for beside it.
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

/// Like [`parse`], but included files come from where the surroundings have them.
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

/// Reads one value, as an environment variable holds it. Nothing may follow it: of a password such as
/// `a;b` or `a #b` a part would be lost. Nothing at all is the empty string. `name` stands in errors.
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
