//! Transforms of subjects, for mappings, imports and streams.

mod call;
mod cut;
mod error;
mod step;

pub use error::TransformError;

use self::call::{Call, calls_a_function, is_call};
use self::step::{Step, Tokens};
use super::{SubjectFilter, Token, tokens};
use crate::sync::Arc;

/// Turns subjects that match a source into subjects of a destination.
///
/// The destination refers to the `*` of the source by their numbers: as `$1`, or as `{{wildcard(1)}}`. A last `>`
/// stands for the same tokens in both. The other functions of NATS:
///
/// | function | is replaced by |
/// | --- | --- |
/// | `{{partition(n)}}`, `{{partition(n,1,2)}}` | a number below `n`: a hash of the subject, or of these tokens |
/// | `{{random(n)}}` | a random number below `n` |
/// | `{{splitfromleft(1,n)}}`, `{{splitfromright(1,n)}}` | the token as two tokens |
/// | `{{slicefromleft(1,n)}}`, `{{slicefromright(1,n)}}` | the token as tokens of `n` bytes |
/// | `{{left(1,n)}}`, `{{right(1,n)}}` | the first or last `n` bytes of the token |
/// | `{{split(1,-)}}` | the parts of the token between the delimiters, as tokens |
///
/// ```
/// use broker_core::subject::SubjectTransform;
///
/// let by_region = SubjectTransform::new("orders.*.*", "{{wildcard(2)}}.orders.$1")?;
/// let mut mapped = Vec::new();
/// by_region.apply(b"orders.42.eu", || 0, &mut mapped);
/// assert_eq!(mapped, b"eu.orders.42");
/// # Ok::<(), broker_core::subject::TransformError>(())
/// ```
// NATS 2.14: subject_transform.go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectTransform {
    source: SubjectFilter,
    destination: Arc<str>,
    steps: Box<[Step]>,
    /// The position of the `>` in the source.
    rest: Option<usize>,
}

impl SubjectTransform {
    /// Makes a transform. An empty source is `>`.
    ///
    /// # Errors
    ///
    /// [`TransformError`] names the fault of the source or the destination.
    pub fn new(source: &str, destination: &str) -> Result<Self, TransformError> {
        Self::build(source, destination, false)
    }

    /// Makes a transform that has a [`reverse`](Self::reverse), as imports need: the only function is `wildcard`,
    /// and each wildcard of the source is used.
    ///
    /// # Errors
    ///
    /// [`TransformError`] names the fault of the source or the destination.
    // NATS 2.14: NewSubjectTransformStrict.
    pub fn new_reversible(source: &str, destination: &str) -> Result<Self, TransformError> {
        Self::build(source, destination, true)
    }

    fn build(source: &str, destination: &str, is_reversible: bool) -> Result<Self, TransformError> {
        let source = if source.is_empty() { ">" } else { source };
        let source = SubjectFilter::parse(source).map_err(|_| TransformError::InvalidSubject)?;
        let stars = stars(&source);
        let ends_full = source.tokens().any(|token| token == Token::Full);
        if !is_destination(destination, ends_full) {
            return Err(TransformError::InvalidSubject);
        }
        let has_wildcards = ends_full || !stars.is_empty();
        let (mut steps, mut used) = (Vec::new(), 0);
        for token in destination.split('.').filter(|token| *token != ">") {
            let call = Call::parse(token)?;
            let call = if has_wildcards { call } else { of_literal_source(call, token)? };
            if is_reversible && has_wildcards && !call.is_reversible() {
                return Err(TransformError::NotReversible(token.into()));
            }
            used += usize::from(matches!(call, Call::Wildcard(_)));
            steps.push(Step::new(call, token, |number| position(&stars, number, token))?);
        }
        if is_reversible && used < stars.len() {
            return Err(TransformError::NotUsingAllWildcards(destination.into()));
        }
        check_white_space(destination)?;
        let rest = ends_full.then(|| source.token_count() - 1);
        Ok(Self { source, destination: destination.into(), steps: steps.into(), rest })
    }

    /// Makes the transform that leaves subjects as they are, also those with a token, such as `$1`, that has a meaning in
    /// destinations.
    ///
    /// ```
    /// use broker_core::SubjectFilter;
    /// use broker_core::subject::SubjectTransform;
    ///
    /// let same = SubjectTransform::identity(SubjectFilter::parse("a.*.>")?);
    /// assert_eq!(same.destination(), "a.$1.>");
    /// # Ok::<(), broker_core::SubjectError>(())
    /// ```
    pub fn identity(source: SubjectFilter) -> Self {
        let destination = tokenized(&source, |star| star + 1).into();
        let step = |(at, token)| match token {
            Token::Literal(text) => Some(Step::Literal(text.into())),
            Token::Partial => Some(Step::Wildcard(at)),
            Token::Full => None,
        };
        let steps = source.tokens().enumerate().filter_map(step).collect();
        let ends_full = source.tokens().any(|token| token == Token::Full);
        let rest = ends_full.then(|| source.token_count() - 1);
        Self { source, destination, steps, rest }
    }

    /// Returns the filter of the subjects that it transforms.
    pub fn source(&self) -> &SubjectFilter {
        &self.source
    }

    /// Returns the destination as it was written.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Returns true if the source matches `subject`.
    pub fn matches(&self, subject: &[u8]) -> bool {
        is_covered(&self.source, subject)
    }

    /// Returns true if one subject may have several results.
    pub fn is_random(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Random { .. }))
    }

    /// Appends the result for `subject` to `out`. Calls `random` once for each function `random` of the destination.
    ///
    /// Meaningful only if the source [matches](Self::matches); a missing token counts as empty.
    // NATS 2.14: TransformTokenizedSubject.
    pub fn apply(&self, subject: &[u8], mut random: impl FnMut() -> u64, out: &mut Vec<u8>) {
        let parts: Tokens<'_> = tokens(subject).collect();
        let begin = out.len();
        let separate = |out: &mut Vec<u8>, is_first: bool| {
            if !is_first {
                out.push(b'.');
            }
        };
        for (at, step) in self.steps.iter().enumerate() {
            separate(out, at == 0);
            step.write(subject, &parts, &mut random, out);
        }
        let Some(rest) = self.rest else { return };
        separate(out, self.steps.is_empty() && out.len() == begin);
        for (at, token) in parts.iter().skip(rest).enumerate() {
            separate(out, at == 0);
            out.extend_from_slice(token);
        }
    }

    /// Returns the inverse; `None` if there is none, because the transform is not
    /// [reversible](Self::new_reversible) or uses a wildcard twice, or because a token of its source, such as `$0`, has
    /// a meaning in a destination.
    pub fn reverse(&self) -> Option<Self> {
        let is_text = |token| match token {
            Token::Literal(text) => {
                str::from_utf8(text).is_ok_and(|text| Call::parse(text) == Ok(Call::Literal))
            }
            Token::Partial | Token::Full => true,
        };
        if !self.source.tokens().all(is_text) {
            return None;
        }
        let stars = stars(&self.source);
        let mut numbers = vec![0; stars.len()];
        let mut source = Vec::new();
        let mut placed = 0;
        for (step, text) in self.steps.iter().zip(self.destination.split('.')) {
            match step {
                Step::Literal(_) => source.push(text),
                Step::Wildcard(at) => {
                    let star = stars.iter().position(|star| star == at)?;
                    placed += 1;
                    numbers[star] = placed;
                    source.push("*");
                }
                _ => return None,
            }
        }
        if placed != stars.len() || numbers.contains(&0) {
            return None;
        }
        source.extend(self.rest.map(|_| ">"));
        let destination = tokenized(&self.source, |star| numbers[star]);
        Self::new_reversible(&source.join("."), &destination).ok()
    }
}

fn tokenized(source: &SubjectFilter, number: impl Fn(usize) -> usize) -> String {
    let mut star = 0;
    let text = source.tokens().map(|token| match token {
        Token::Partial => {
            star += 1;
            format!("${}", number(star - 1))
        }
        Token::Full => ">".into(),
        Token::Literal(text) => String::from_utf8_lossy(text).into_owned(),
    });
    text.collect::<Vec<_>>().join(".")
}

/// Returns the positions of the tokens that are `*`.
fn stars(source: &SubjectFilter) -> Vec<usize> {
    let all = source.tokens().enumerate();
    all.filter(|(_, token)| *token == Token::Partial).map(|(at, _)| at).collect()
}

/// Returns the position of the token of a wildcard, which are counted from 1.
// NATS 2.14: lower numbers than 1 are the first token, whatever it is.
fn position(stars: &[usize], number: i64, token: &str) -> Result<usize, TransformError> {
    let Ok(number) = usize::try_from(number) else { return Ok(0) };
    let Some(at) = number.checked_sub(1) else { return Ok(0) };
    let out_of_range = || TransformError::IndexOutOfRange(format!("{token}: [{number}]"));
    stars.get(at).copied().ok_or_else(out_of_range)
}

/// Checks a call in a destination whose source has no wildcards.
fn of_literal_source<'a>(call: Call<'a>, token: &str) -> Result<Call<'a>, TransformError> {
    match call {
        Call::Literal | Call::Random { .. } => Ok(call),
        Call::Partition { buckets, .. } => Ok(Call::Partition { buckets, wildcards: Vec::new() }),
        Call::Wildcard(_) | Call::Cut { .. } | Call::Split { .. } => {
            Err(TransformError::IndexOutOfRange(token.into()))
        }
    }
}

/// Returns true if the text has the form of a destination: no empty token, no `*`, a `>` only at the end, and there
/// if `ends_full`.
fn is_destination(text: &str, ends_full: bool) -> bool {
    let mut all = text.split('.');
    let last = all.next_back();
    (last == Some(">")) == ends_full
        && last.into_iter().chain(all.clone()).all(|token| !token.is_empty() && token != "*")
        && all.all(|token| token != ">")
}

/// Refuses white space outside of functions: a subject with it would break the protocol.
fn check_white_space(destination: &str) -> Result<(), TransformError> {
    let mut texts = destination.split('.').filter(|token| !is_call(token));
    if texts.any(has_white_space) { Err(TransformError::WhiteSpace) } else { Ok(()) }
}

fn has_white_space(text: &str) -> bool {
    text.contains([' ', '\t', '\n', '\r', '\x0c'])
}

/// Checks the form of the destination of a mapping, for which the reference has texts of its own.
// NATS 2.14: ValidateMapping, which does not know the functions `left` and `right`.
pub(super) fn check_mapping(destination: &str) -> Result<(), TransformError> {
    let mut ends_full = false;
    for token in destination.split('.') {
        if token.is_empty() || ends_full {
            return Err(TransformError::InvalidDestination(token.into()));
        }
        ends_full = token == ">";
        if is_call(token) {
            if !calls_a_function(token) {
                return Err(TransformError::UnknownFunction(token.into()));
            }
        } else if has_white_space(token) {
            return Err(TransformError::WhiteSpace);
        }
    }
    Ok(())
}

/// Returns true if `source` matches a published subject. Tokens covered by a `>` may be empty, and a `>` in the
/// subject is covered by none but a `>`.
// NATS 2.14: isSubsetMatch.
pub(super) fn is_covered(source: &SubjectFilter, subject: &[u8]) -> bool {
    let mut subject = tokens(subject);
    for token in source.tokens() {
        let Some(text) = subject.next() else { return false };
        match token {
            Token::Full => return true,
            Token::Partial if !text.is_empty() && text != b">" => {}
            Token::Literal(literal) if literal == text => {}
            Token::Partial | Token::Literal(_) => return false,
        }
    }
    subject.next().is_none()
}

#[cfg(test)]
mod tests;
