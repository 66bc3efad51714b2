//! The filters of a consumer, and of other selections of messages by subject.

use broker_core::SubjectFilter;

/// Selects messages by subject: any of several filters, or all messages without a filter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filters(Vec<SubjectFilter>);

impl Filters {
    /// Creates a selection by any of `filters`; of all messages if there are none.
    pub fn new(filters: Vec<SubjectFilter>) -> Self {
        Self(filters)
    }

    /// Returns true if all messages are selected.
    pub fn is_all(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|filter| filter.as_bytes() == b">")
    }

    /// Returns the filters.
    pub fn as_slice(&self) -> &[SubjectFilter] {
        &self.0
    }

    /// Returns the subject, if the only filter has no wildcard.
    pub fn literal(&self) -> Option<&[u8]> {
        match &self.0[..] {
            [filter] if !filter.has_wildcard() => Some(filter.as_bytes()),
            _ => None,
        }
    }

    /// Returns true if messages of the subject are selected.
    pub fn matches(&self, subject: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|filter| filter.matches_bytes(subject))
    }
}
