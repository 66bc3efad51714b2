//! Errors of reading a configuration.

use std::io;
use std::path::PathBuf;

use super::Span;
use super::limits::{
    MAX_BYTES, MAX_DEPTH, MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_VALUES, MAX_VARIABLE_DEPTH,
};

/// A configuration cannot be read. Messages never contain a value, because any string may be a
/// password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Its path as given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An included file cannot be read.
    #[error("{span}: cannot read the included file {}: {source}", path.display())]
    Include {
        /// The place of the include.
        span: Span,
        /// The path that was tried.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The text is invalid. (Test helpers of NATS clients search for "Parse error".)
    #[error("{span}: Parse error: {fault}")]
    Parse {
        /// The place of the error.
        span: Span,
        /// The error, with the expectation.
        fault: Fault,
    },
}

/// An error in a text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The text begins with U+FEFF.
    #[error("the file begins with a byte order mark, expected plain UTF-8")]
    ByteOrderMark,
    /// A zero byte.
    #[error("a zero byte, expected text")]
    ZeroByte,
    /// Invalid UTF-8, literal or by `\x`.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// A separator in place of a key.
    #[error("a separator without a key, expected a key before it")]
    NoKey,
    /// A key without a value.
    #[error("this key has no value, expected one behind it")]
    NoValue,
    /// A line end after `=` or `:`.
    #[error("the line ends, expected a value in the same line")]
    ValueInSameLine,
    /// A comma in place of a value.
    #[error("a comma without a value, expected a value before it")]
    LoneComma,
    /// Trailing text after a value.
    #[error(
        "expected a line end or a comma behind the value before this, or quotes around all of it"
    )]
    ValueGoesOn,
    /// Trailing text after a value in a map.
    #[error(
        "expected a line end, a comma or `}}` behind the value before this, or quotes around all of it"
    )]
    MapValueGoesOn,
    /// Trailing text after a value in an array.
    #[error(
        "expected a line end, a comma or `]` behind the value before this, or quotes around all of it"
    )]
    ArrayValueGoesOn,
    /// Trailing text after a lone value.
    #[error(
        "something behind the value, expected nothing (a string with blanks, commas or brackets needs quotes)"
    )]
    LoneValueGoesOn,
    /// Trailing text after a block within a block.
    #[error("expected a comma or `}}` behind the block before this")]
    BlockGoesOn,
    /// `]` in place of a key.
    #[error("`]` in a map, expected a key or `}}`")]
    ArrayEndInMap,
    /// The text ends within the construct that begins here.
    #[error("{0} begins here and is never closed, expected {1}")]
    Unclosed(&'static str, &'static str),
    /// A single slash.
    #[error(
        "a single `/`, expected a second one for a comment, or quotes around what it belongs to"
    )]
    LoneSlash,
    /// `'` at the end of, or within, an unquoted string.
    #[error("a `'` in a string without quotes, expected \"…\" around the string")]
    QuoteInBareString,
    /// A backslash followed by an unknown character.
    #[error(r#"an unknown escape, expected \xNN, \t, \n, \r, \" or \\"#)]
    Escape,
    /// `\x` without a byte.
    #[error(r"expected two hexadecimal digits behind \x")]
    HexEscape,
    /// `-` without a number.
    #[error("expected a digit behind `-`, or quotes around a string")]
    NoDigit,
    /// `.5`, or `5.`
    #[error("expected digits on both sides of the decimal point, or quotes around a string")]
    DecimalPoint,
    /// Out of range for 64 bits.
    #[error(
        "the integer is out of range, expected at most 9223372036854775807 with its suffix applied"
    )]
    IntegerRange,
    /// Out of range for a double.
    #[error("the number is out of range")]
    FloatRange,
    /// An unknown suffix of a number.
    #[error(
        "an unknown suffix, expected k, kb, ki, kib (or m, g, t, p, e), or quotes around a string"
    )]
    Suffix,
    /// `[1]`
    #[error(
        "`]` right behind an integer is read as a part of it by nats-server, expected a blank between them"
    )]
    ArrayEndBehindInteger,
    /// An incomplete date.
    #[error("expected a date like 2026-11-20T12:00:00Z, or quotes around a string")]
    Date,
    /// An undefined variable.
    #[error(
        "the variable is set neither before, in a map around it, nor in the environment (a string that begins with `$` needs quotes)"
    )]
    VariableNotSet,
    /// Environment variables that refer to each other in a cycle.
    #[error("the environment variable is a part of its own value")]
    VariableCycle,
    /// A chain of environment variables beyond the limit.
    #[error("more than {MAX_VARIABLE_DEPTH} environment variables that name each other")]
    VariablesTooDeep,
    /// The value of an environment variable is invalid.
    #[error("in the value of the environment variable, column {column}: {fault}")]
    InVariable {
        /// The column in the variable's value, in characters from 1.
        column: u32,
        /// The error there.
        fault: Box<Fault>,
    },
    /// `include` without a path.
    #[error("expected the path of a file behind `include`")]
    IncludePath,
    /// A file that includes itself.
    #[error("the file includes itself, at once or by others")]
    IncludeCycle,
    /// A chain of includes beyond the limit.
    #[error("more than {MAX_INCLUDE_DEPTH} files that include each other")]
    IncludesTooDeep,
    /// More includes than the limit.
    #[error("more than {MAX_INCLUDES} included files")]
    TooManyIncludes,
    /// Nesting beyond the limit.
    #[error("more than {MAX_DEPTH} maps and arrays within each other")]
    TooDeep,
    /// More text than the limit.
    #[error("more than {MAX_BYTES} bytes in all, repeated and included ones counted")]
    TooLong,
    /// More values than the limit.
    #[error("more than {MAX_VALUES} values in all, repeated and included ones counted")]
    TooManyValues,
}
