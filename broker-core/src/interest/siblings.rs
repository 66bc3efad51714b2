//! The matches of reply subjects that are used once each.
//!
//! Every response to a request of another account has a subject of its own, `_R_.<account>.<token>`, and so has every answer to a
//! client inside the process, `_INBOX.<client>.<token>`: caching it would help nobody. But hardly any subscription tells one
//! token from another: the matches of one such subject are those of its siblings, and a session that answers requests
//! searches the interest once, not for each response.

use memchr::{memchr, memrchr};

use super::matches::Matches;
use super::{Generation, Interest, Interested};
use crate::subject::is_same;

/// The prefix of reply subjects of services.
pub(super) const SERVICES: &[u8] = crate::reserved::SERVICE_REPLY;
/// The prefix of reply subjects of clients.
pub(super) const INBOXES: &[u8] = b"_INBOX.";

/// Returns true if a subject or filter is below an inbox, as those of several answers are.
#[inline]
pub(super) fn is_below_inbox(text: &[u8]) -> bool {
    text.strip_prefix(INBOXES).is_some_and(|rest| memchr(b'.', rest).is_some())
}

/// Returns true if a text is one token. Those of clients inside the process have eight letters, which are compared at once.
#[inline]
fn is_one_token(text: &[u8]) -> bool {
    match <[u8; 8]>::try_from(text) {
        Ok(letters) => {
            let others = u64::from_le_bytes(letters) ^ u64::from_le_bytes([b'.'; 8]);
            let ones = u64::from_le_bytes([1; 8]);
            others.wrapping_sub(ones) & !others & (ones << 7) == 0
        }
        Err(_) => !text.is_empty() && memchr(b'.', text).is_none(),
    }
}

/// The number of other reply subjects in a row after which the siblings of the last one replace those that are kept: a session that
/// answers many clients by turns does not collect siblings in vain.
const PATIENCE: u8 = 8;

/// The common matches of subjects that differ in their last token only.
pub(super) struct Siblings<S> {
    /// The other tokens, and the dot behind them.
    prefix: Box<[u8]>,
    generation: Generation,
    pub(super) matches: Matches<S>,
    /// Other reply subjects since the last sibling.
    others: u8,
}

impl<S: Interested> Siblings<S> {
    /// Returns the siblings of a subject, if they all have its matches, which were collected at `generation`.
    pub(super) fn of(
        subject: &[u8],
        interest: &Interest<S>,
        generation: Generation,
        matches: &mut Matches<S>,
    ) -> Option<Self> {
        if !subject.starts_with(SERVICES) && !is_below_inbox(subject) {
            return None;
        }
        let dot = memrchr(b'.', subject)?;
        // If the interest changes between the look-up and this, the generation is out of date at once.
        interest.is_same_for_siblings(&subject[..dot]).then(|| Self {
            prefix: subject[..=dot].into(),
            generation,
            matches: std::mem::take(matches),
            others: 0,
        })
    }

    /// Returns true if the subject is one of them, and their matches are up to date.
    #[inline]
    pub(super) fn include(&mut self, subject: &[u8], interest: &Interest<S>) -> bool {
        let Some((prefix, last)) = subject.split_at_checked(self.prefix.len()) else {
            return false;
        };
        let is_one =
            is_same(prefix, &self.prefix) && is_one_token(last) && self.is_current(interest);
        if is_one {
            self.others = 0;
        }
        is_one
    }

    /// Returns true if the siblings of another reply subject may replace them.
    pub(super) fn give_way(&mut self, interest: &Interest<S>) -> bool {
        self.others += 1;
        self.others >= PATIENCE || !self.is_current(interest)
    }

    /// Returns true if their matches are up to date.
    #[inline]
    pub(super) fn is_current(&self, interest: &Interest<S>) -> bool {
        interest.is_current(self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_dot() {
        for len in 0..12 {
            let mut text = vec![b'/'; len];
            assert_eq!(is_one_token(&text), len > 0);
            for at in 0..len {
                for (letter, is_token) in [(b'.', false), (b'-', true), (0xae, true), (0, true)] {
                    text[at] = letter;
                    assert_eq!(is_one_token(&text), is_token, "{text:?}");
                }
                text[at] = b'/';
            }
        }
    }
}
