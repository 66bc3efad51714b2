//! Why a configuration cannot be read.

use std::io;
use std::path::PathBuf;

use super::Span;
use super::limits::{
    MAX_BYTES, MAX_DEPTH, MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_VALUES, MAX_VARIABLE_DEPTH,
};

/// Why a configuration cannot be read. It never repeats a value: any string may be a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file itself.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// As it was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that it includes.
    #[error("{span}: cannot read the included file {}: {source}", path.display())]
    Include {
        /// Where it is included.
        span: Span,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What it says. (Test helpers of NATS clients look for "Parse error".)
    #[error("{span}: Parse error: {fault}")]
    Parse {
        /// Where.
        span: Span,
        /// What is wrong, and what was expected.
        fault: Fault,
    },
}

/// What is wrong with a text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It begins with U+FEFF.
    #[error("the file begins with a byte order mark, expected plain UTF-8")]
    ByteOrderMark,
    /// A byte that is zero.
    #[error("a zero byte, expected text")]
    ZeroByte,
    /// Bytes that are not UTF-8, written so or by `\x`.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// A separator where a key should stand.
    #[error("a separator without a key, expected a key before it")]
    NoKey,
    /// A key and then nothing.
    #[error("this key has no value, expected one behind it")]
    NoValue,
    /// A line end behind `=` or `:`.
    #[error("the line ends, expected a value in the same line")]
    ValueInSameLine,
    /// A comma where a value should stand.
    #[error("a comma without a value, expected a value before it")]
    LoneComma,
    /// Something behind a value.
    #[error(
        "expected a line end or a comma behind the value before this, or quotes around all of it"
    )]
    ValueGoesOn,
    /// Something behind a value in a map.
    #[error(
        "expected a line end, a comma or `}}` behind the value before this, or quotes around all of it"
    )]
    MapValueGoesOn,
    /// Something behind a value in an array.
    #[error(
        "expected a line end, a comma or `]` behind the value before this, or quotes around all of it"
    )]
    ArrayValueGoesOn,
    /// Something behind the one value.
    #[error(
        "something behind the value, expected nothing (a string with blanks, commas or brackets needs quotes)"
    )]
    LoneValueGoesOn,
    /// Something behind a block within a block.
    #[error("expected a comma or `}}` behind the block before this")]
    BlockGoesOn,
    /// `]` where a key should stand.
    #[error("`]` in a map, expected a key or `}}`")]
    ArrayEndInMap,
    /// The text ends within what begins here.
    #[error("{0} begins here and is never closed, expected {1}")]
    Unclosed(&'static str, &'static str),
    /// One slash.
    #[error(
        "a single `/`, expected a second one for a comment, or quotes around what it belongs to"
    )]
    LoneSlash,
    /// `'` at the end of, or within, a string without quotes.
    #[error("a `'` in a string without quotes, expected \"…\" around the string")]
    QuoteInBareString,
    /// A backslash and something unknown.
    #[error(r#"an unknown escape, expected \xNN, \t, \n, \r, \" or \\"#)]
    Escape,
    /// `\x` and no byte.
    #[error(r"expected two hexadecimal digits behind \x")]
    HexEscape,
    /// `-` and no number.
    #[error("expected a digit behind `-`, or quotes around a string")]
    NoDigit,
    /// `.5`, or `5.`
    #[error("expected digits on both sides of the decimal point, or quotes around a string")]
    DecimalPoint,
    /// Too big for 64 bits.
    #[error(
        "the integer is out of range, expected at most 9223372036854775807 with its suffix applied"
    )]
    IntegerRange,
    /// Too big for a double.
    #[error("the number is out of range")]
    FloatRange,
    /// Letters behind a number that begin like a suffix.
    #[error(
        "an unknown suffix, expected k, kb, ki, kib (or m, g, t, p, e), or quotes around a string"
    )]
    Suffix,
    /// `[1]`
    #[error(
        "`]` right behind an integer is read as a part of it by nats-server, expected a blank between them"
    )]
    ArrayEndBehindInteger,
    /// Almost a date.
    #[error("expected a date like 2026-11-20T12:00:00Z, or quotes around a string")]
    Date,
    /// A variable that nobody has set.
    #[error(
        "the variable is set neither before, in a map around it, nor in the environment (a string that begins with `$` needs quotes)"
    )]
    VariableNotSet,
    /// Environment variables that name each other in a circle.
    #[error("the environment variable is a part of its own value")]
    VariableCycle,
    /// Environment variables that name each other in a long row.
    #[error("more than {MAX_VARIABLE_DEPTH} environment variables that name each other")]
    VariablesTooDeep,
    /// What an environment variable holds is no value.
    #[error("in the value of the environment variable, column {column}: {fault}")]
    InVariable {
        /// Counted in its characters, from 1.
        column: u32,
        /// What is wrong there.
        fault: Box<Fault>,
    },
    /// `include` and no path.
    #[error("expected the path of a file behind `include`")]
    IncludePath,
    /// A file that includes itself.
    #[error("the file includes itself, at once or by others")]
    IncludeCycle,
    /// Files that include each other in a long row.
    #[error("more than {MAX_INCLUDE_DEPTH} files that include each other")]
    IncludesTooDeep,
    /// Very many includes.
    #[error("more than {MAX_INCLUDES} included files")]
    TooManyIncludes,
    /// Very deep.
    #[error("more than {MAX_DEPTH} maps and arrays within each other")]
    TooDeep,
    /// Very much text.
    #[error("more than {MAX_BYTES} bytes in all, repeated and included ones counted")]
    TooLong,
    /// Very many values.
    #[error("more than {MAX_VALUES} values in all, repeated and included ones counted")]
    TooManyValues,
}
