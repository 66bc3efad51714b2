//! What is wrong with a configuration, and where.

use std::fmt;

use super::lang::Span;

/// Where the value of an option was written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// In a file.
    File(Span),
    /// In this environment variable.
    Environment(String),
    /// Behind this flag of the command line, without its dashes.
    Flag(String),
    /// Nowhere: a default, or something that is missing.
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

/// One thing that is wrong. Never shows a value: any may be a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.what)
    }
}

/// All that was found to be wrong.
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
