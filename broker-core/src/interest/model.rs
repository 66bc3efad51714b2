//! A model of the interest for tests: a list that is searched linearly.

use super::Interested;
use crate::sync::Arc;

/// All subscriptions, in any order.
pub(super) struct Model<S>(pub(super) Vec<Arc<S>>);

impl<S: Interested> Model<S> {
    /// Returns all that match, plain or in a group.
    pub(super) fn matching(&self, subject: &str) -> Vec<&Arc<S>> {
        let subject: Vec<&str> = subject.split('.').collect();
        let matches = |filter: &str| {
            let filter: Vec<&str> = filter.split('.').collect();
            let full = filter.last() == Some(&">");
            let fixed = filter.len() - usize::from(full);
            (if full { subject.len() > fixed } else { subject.len() == fixed })
                && subject.iter().all(|token| !token.is_empty())
                && filter[..fixed].iter().zip(&subject).all(|(f, s)| *f == "*" || f == s)
        };
        let text = |s: &S| String::from_utf8_lossy(s.filter()).into_owned();
        self.0.iter().filter(|s| matches(&text(s))).collect()
    }
}
