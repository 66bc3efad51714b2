//! Errors and warnings of a configuration, with their places.

use std::fmt;

use super::lang::Span;

/// The place where an option was set.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// In a file.
    File(Span),
    /// In an environment variable.
    Environment(String),
    /// By a flag of the command line, without its dashes.
    Flag(String),
    /// Nowhere: a default, or a missing option.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(span) => write!(f, "{span}: "),
            Self::Environment(name) => write!(f, "{name}: "),
            Self::Flag(name) => write!(f, "flag -{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// An error or a warning. Never contains a value, because any value may be a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The place.
    pub origin: Origin,
    /// The description.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.what)
    }
}

/// All errors and warnings found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Findings {
    pub(crate) fn error(&mut self, origin: Origin, what: impl Into<String>) {
        self.errors.push(Problem { origin, what: what.into() });
    }

    pub(crate) fn warn(&mut self, origin: Origin, what: impl Into<String>) {
        self.warnings.push(Problem { origin, what: what.into() });
    }
}
