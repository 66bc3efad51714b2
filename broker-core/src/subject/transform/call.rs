//! The tokens of a destination: text, or a call of a function.

use super::TransformError;
use super::cut::Cut;

/// A token of a destination, whose wildcards are numbered as they are written.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Call<'a> {
    Literal,
    Wildcard(i64),
    Partition { buckets: i32, wildcards: Vec<i64> },
    Random { below: i32 },
    Cut { cut: Cut, wildcard: i64, size: i32 },
    Split { wildcard: i64, delimiter: &'a str },
}

/// The functions, in the order in which the reference tries them. Their names are written in several cases.
// NATS 2.14: the regular expressions of subject_transform.go.
const FUNCTIONS: [(&[&str], Function); 10] = [
    (&["wildcard"], Function::Wildcard),
    (&["partition"], Function::Partition),
    (&["split", "from", "left"], Function::Cut(Cut::SplitFromLeft)),
    (&["split", "from", "right"], Function::Cut(Cut::SplitFromRight)),
    (&["slice", "from", "left"], Function::Cut(Cut::SliceFromLeft)),
    (&["slice", "from", "right"], Function::Cut(Cut::SliceFromRight)),
    (&["right"], Function::Cut(Cut::Right)),
    (&["left"], Function::Cut(Cut::Left)),
    (&["split"], Function::Split),
    (&["random"], Function::Random),
];

#[derive(Clone, Copy)]
enum Function {
    Wildcard,
    Partition,
    Cut(Cut),
    Split,
    Random,
}

impl<'a> Call<'a> {
    /// Parses a token of a destination.
    // NATS 2.14: subject_transform.go indexPlaceHolders.
    pub(super) fn parse(token: &'a str) -> Result<Self, TransformError> {
        if token.len() > 1
            && let Some(number) = token.strip_prefix('$')
        {
            // Many subjects of servers have a token that begins with a dollar sign.
            return Ok(number.parse().map_or(Self::Literal, Self::Wildcard));
        }
        if !is_call(token) {
            return Ok(Self::Literal);
        }
        let Some((function, arguments)) = called(token) else {
            return Err(TransformError::UnknownFunction(token.into()));
        };
        function.call(&arguments).map_err(|why| why.in_token(token))
    }

    /// Returns true if the call has an inverse.
    pub(super) fn is_reversible(&self) -> bool {
        matches!(self, Self::Literal | Self::Wildcard(_))
    }
}

/// Returns true for a token that is only valid as a call of a function.
pub(super) fn is_call(token: &str) -> bool {
    token.len() > 4 && token.starts_with("{{") && token.ends_with("}}")
}

/// Returns true if a token calls a function that exists.
pub(super) fn calls_a_function(token: &str) -> bool {
    called(token).is_some()
}

fn called(token: &str) -> Option<(Function, Vec<&str>)> {
    FUNCTIONS
        .iter()
        .find_map(|(name, function)| arguments(token, name).map(|arguments| (*function, arguments)))
}

/// The fault of a call.
#[derive(Clone, Copy)]
enum Fault {
    NotEnough,
    TooMany,
    Invalid,
}

impl Fault {
    fn in_token(self, token: &str) -> TransformError {
        match self {
            Self::NotEnough => TransformError::NotEnoughArguments(token.into()),
            Self::TooMany => TransformError::TooManyArguments(token.into()),
            Self::Invalid => TransformError::InvalidArgument(token.into()),
        }
    }
}

impl Function {
    fn call<'a>(self, arguments: &[&'a str]) -> Result<Call<'a>, Fault> {
        match (self, arguments) {
            (Self::Wildcard, [""]) => Err(Fault::NotEnough),
            (Self::Wildcard, [wildcard]) => Ok(Call::Wildcard(number(wildcard)?)),
            (Self::Partition, [buckets, wildcards @ ..]) => {
                let buckets = size_below_max(buckets)?;
                let wildcards =
                    wildcards.iter().map(|one| number(one)).collect::<Result<_, _>>()?;
                Ok(Call::Partition { buckets, wildcards })
            }
            (Self::Random, [below]) => Ok(Call::Random { below: size_below_max(below)? }),
            (Self::Cut(cut), [wildcard, size]) => {
                Ok(Call::Cut { cut, wildcard: number(wildcard)?, size: number(size)? })
            }
            (Self::Split, [wildcard, delimiter]) => {
                let wildcard = number(wildcard)?;
                let is_valid = !delimiter.contains([' ', '.']);
                if is_valid { Ok(Call::Split { wildcard, delimiter }) } else { Err(Fault::Invalid) }
            }
            (Self::Cut(_) | Self::Split, [_]) | (Self::Random | Self::Partition, _) => {
                Err(Fault::NotEnough)
            }
            (Self::Cut(_) | Self::Split | Self::Wildcard, _) => Err(Fault::TooMany),
        }
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, Fault> {
    text.trim_matches(' ').parse().map_err(|_| Fault::Invalid)
}

/// Reads a number of at most `i32::MAX`. Lower ones than `i32::MIN` lose their upper bits, as in the reference.
fn size_below_max(text: &str) -> Result<i32, Fault> {
    let wide: i64 = number(text)?;
    if wide > i64::from(i32::MAX) { Err(Fault::Invalid) } else { Ok(wide as i32) }
}

/// Returns the arguments if `token` contains a call of that function.
///
/// The reference searches the token for the call, so that anything may stand before and behind it.
fn arguments<'a>(token: &'a str, name: &[&str]) -> Option<Vec<&'a str>> {
    let inside = token.match_indices("{{").find_map(|(at, _)| inside(&token[at + 2..], name))?;
    Some(inside.split(',').enumerate().map(|(at, one)| trimmed(at, one)).collect())
}

fn trimmed(at: usize, argument: &str) -> &str {
    if at == 0 { argument } else { argument.trim_start_matches(is_blank) }
}

/// Returns the text between the parentheses of a call that begins behind its braces.
fn inside<'a>(text: &'a str, name: &[&str]) -> Option<&'a str> {
    let mut text = text.trim_start_matches(is_blank);
    for word in name {
        text = strip_word(text, word)?;
    }
    let text = text.trim_start_matches(is_blank).strip_prefix('(')?;
    let line = text.split('\n').next().unwrap_or_default();
    let ends_call =
        |(end, _): &(usize, &str)| text[end + 1..].trim_start_matches(is_blank).starts_with("}}");
    line.rmatch_indices(')').find(ends_call).map(|(end, _)| &text[..end])
}

/// Strips a word whose first letter may be a capital.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (found, rest) = text.split_at_checked(word.len())?;
    let is_it = found.eq_ignore_ascii_case(word) && found.get(1..) == word.get(1..);
    is_it.then_some(rest)
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0c')
}
