//! The conflicts of servers of the cluster that have JetStream, as monitoring shows them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{CONFLICT_BYTES, CONFLICTS};

/// The time after which a conflict that did not occur again has ended: three times the pause between attempts.
const HOLD: Duration = Duration::from_secs(30);

/// The conflicts by their texts, with the time of the last refusal.
#[derive(Debug, Default)]
pub(super) struct Conflicts(BTreeMap<String, Instant>);

impl Conflicts {
    /// Notes a refusal. Returns true if the conflict is a new one.
    pub(super) fn note(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, last| now.saturating_duration_since(*last) < HOLD);
        let text = &text[..text.floor_char_boundary(CONFLICT_BYTES)];
        if let Some(last) = self.0.get_mut(text) {
            *last = now;
            return false;
        }
        if self.0.len() < CONFLICTS {
            self.0.insert(text.to_owned(), now);
        }
        true
    }

    /// Forgets the conflicts of a server that has become a route without JetStream.
    pub(super) fn forget(&mut self, name: &str) {
        let quoted = format!("{name:?}");
        self.0.retain(|text, _| !text.contains(&quoted));
    }

    /// Returns the texts of those that last.
    pub(super) fn texts(&self, now: Instant) -> Vec<String> {
        let lasts = |last: &Instant| now.saturating_duration_since(*last) < HOLD;
        self.0.iter().filter(|(_, last)| lasts(last)).map(|(text, _)| text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_lasts_until_it_is_forgotten_or_does_not_occur_again() {
        let (start, mut all) = (Instant::now(), Conflicts::default());
        let text = r#"on "a" and "b""#;
        assert!(all.note(text, start));
        assert!(!all.note(text, start + Duration::from_secs(20)));
        assert_eq!(all.texts(start + Duration::from_secs(49)), [text]);
        assert!(all.texts(start + Duration::from_secs(50)).is_empty());
        all.forget("c");
        assert_eq!(all.texts(start + Duration::from_secs(49)), [text]);
        all.forget("b");
        assert!(all.texts(start + Duration::from_secs(49)).is_empty());
    }

    #[test]
    fn conflicts_are_bounded() {
        let (start, mut all) = (Instant::now(), Conflicts::default());
        for number in 0..2 * CONFLICTS {
            all.note(&format!("{number} {}", "x".repeat(2 * CONFLICT_BYTES)), start);
        }
        let texts = all.texts(start);
        assert_eq!(texts.len(), CONFLICTS);
        assert!(texts.iter().all(|text| text.len() == CONFLICT_BYTES));
    }
}
