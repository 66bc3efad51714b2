//! Values and their places.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A place in a file, displayed as `file:line:column`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// The file name as given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its first character; for a variable, the place where it is used.
    pub span: Span,
}

/// A value of the language, with variables replaced and suffixes of numbers applied.
///
/// `Debug` shows the kind of the value only, because any string may be a password.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `true`, `yes`, `on`, or the opposite.
    Bool(bool),
    /// `1024`, `1k`, `1MiB`.
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// A text, quoted or unquoted.
    String(String),
    /// `2026-11-20T12:00:00Z`
    Time(Timestamp),
    /// `[ … ]`
    Array(Vec<Node>),
    /// `{ … }`, or the whole file.
    Map(Map),
}

impl Value {
    /// The name of the kind in error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Time(_) => "a date",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// Keys with their values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    /// Each key occurs once: a repeated key replaces the earlier value at the earlier position.
    pub entries: Vec<Entry>,
}

impl Map {
    /// Returns the entry with exactly this name.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// The place of the key.
    pub span: Span,
    /// The value.
    pub node: Node,
    /// Used as a variable, so that an unknown key is no error.
    pub is_variable: bool,
}
