//! Reasons why a pair of subjects is not a transform.

/// A reason why a source and a destination do not make a [`SubjectTransform`](super::SubjectTransform).
///
/// The texts are those of NATS; each one about a destination ends with the token at fault.
// NATS 2.14: errors.go mappingDestinationErr.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The source or the destination is not a subject, only one of them ends with `>`, or the destination
    /// contains a `*`.
    #[error("invalid subject")]
    InvalidSubject,
    /// White space in a token of the destination that is not a function.
    #[error("invalid mapping destination: invalid transform")]
    WhiteSpace,
    /// An empty token in the destination, or tokens after its `>`.
    #[error("invalid mapping destination: invalid transform{}", in_token(.0))]
    InvalidDestination(String),
    /// No such function.
    #[error("invalid mapping destination: unknown function in {0}")]
    UnknownFunction(String),
    /// A function names a wildcard that the source does not have.
    #[error("invalid mapping destination: wildcard index out of range in {0}")]
    IndexOutOfRange(String),
    /// A function with too few arguments.
    #[error("invalid mapping destination: not enough arguments passed to the function in {0}")]
    NotEnoughArguments(String),
    /// A function with too many arguments.
    #[error("invalid mapping destination: too many arguments passed to the function in {0}")]
    TooManyArguments(String),
    /// An argument that is not a number in range, or a delimiter that contains a blank or a dot.
    #[error(
        "invalid mapping destination: function argument is invalid or in the wrong format in {0}"
    )]
    InvalidArgument(String),
    /// A function that has no inverse, in a transform that needs one.
    #[error(
        "invalid mapping destination: the only mapping function allowed for import transforms is \
         {{{{Wildcard()}}}} in {0}"
    )]
    NotReversible(String),
    /// A transform that needs an inverse drops a token.
    #[error("invalid mapping destination: not using all of the token wildcard(s) in {0}")]
    NotUsingAllWildcards(String),
}

fn in_token(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!(" in {token}") }
}
