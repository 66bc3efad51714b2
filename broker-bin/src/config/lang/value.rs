//! What a file says, and where it says it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A place in a file. Shown as `file:line:column`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
    /// Counted in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins; a variable's value is where the variable is used.
    pub span: Span,
}

/// One value of the language. Variables have been replaced, and suffixes of numbers applied.
///
/// Its `Debug` shows what kind of value it is and not the value: any string may be a password.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `true`, `yes`, `on`, or the opposite.
    Bool(bool),
    /// `1024`, `1k`, `1MiB`.
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// Quoted or not.
    String(String),
    /// `2026-11-20T12:00:00Z`
    Time(Timestamp),
    /// `[ … ]`
    Array(Vec<Node>),
    /// `{ … }`, or the whole file.
    Map(Map),
}

impl Value {
    /// What to call it in an error.
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
    /// Each key once: of two with one name the later stands, in the place of the earlier.
    pub entries: Vec<Entry>,
}

impl Map {
    /// The entry of exactly this name.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As written.
    pub key: String,
    /// Where the key stands.
    pub span: Span,
    /// What it is set to.
    pub node: Node,
    /// It was used as a variable, so it need not be a key that anybody knows.
    pub is_variable: bool,
}
