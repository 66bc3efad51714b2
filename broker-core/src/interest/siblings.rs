//! The matches of reply subjects that are used once each.
//!
//! Every response to a request of another account has a subject of its own, `_R_.<account>.<token>`, so that caching it
//! would help nobody. But hardly any subscription tells one token from another: the matches of one such subject are those
//! of its siblings, and a session that answers requests searches the interest once, not for each response.

use memchr::memrchr;

use super::matches::Matches;
use super::{Generation, Interest, Interested};

/// The prefix of reply subjects that are used once each.
pub(super) const PREFIX: &[u8] = crate::reserved::SERVICE_REPLY;

/// The common matches of subjects that differ in their last token only.
pub(super) struct Siblings<S> {
    /// The other tokens, and the dot behind them.
    prefix: Box<[u8]>,
    generation: Generation,
    pub(super) matches: Matches<S>,
}

impl<S: Interested> Siblings<S> {
    /// Returns the siblings of a subject, if they all have its matches, which were collected at `generation`.
    pub(super) fn of(
        subject: &[u8],
        interest: &Interest<S>,
        generation: Generation,
        matches: &mut Matches<S>,
    ) -> Option<Self> {
        let dot = memrchr(b'.', subject)?;
        // If the interest changes between the look-up and this, the generation is out of date at once.
        interest.is_same_for_siblings(&subject[..dot]).then(|| Self {
            prefix: subject[..=dot].into(),
            generation,
            matches: std::mem::take(matches),
        })
    }

    /// Returns true if the subject is one of them, and their matches are up to date.
    #[inline]
    pub(super) fn include(&self, subject: &[u8], interest: &Interest<S>) -> bool {
        let last = subject.strip_prefix(&*self.prefix);
        last.is_some_and(|last| !last.is_empty() && !last.contains(&b'.'))
            && self.is_current(interest)
    }

    /// Returns true if their matches are up to date.
    #[inline]
    pub(super) fn is_current(&self, interest: &Interest<S>) -> bool {
        interest.is_current(self.generation)
    }
}
