//! The filters of a consumer, and of other selections of messages by subject.

use broker_core::SubjectFilter;

/// Selects messages by subject: any of several filters, or all messages without a filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filters {
    filters: Vec<SubjectFilter>,
    /// Computed once: searches for each message depend on it.
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    All,
    Literal,
    Other,
}

impl Filters {
    /// Creates a selection by any of `filters`; of all messages if there are none.
    pub fn new(filters: Vec<SubjectFilter>) -> Self {
        let kind = match &filters[..] {
            [] => Kind::All,
            filters if filters.iter().any(|filter| filter.as_bytes() == b">") => Kind::All,
            [filter] if !filter.has_wildcard() => Kind::Literal,
            _ => Kind::Other,
        };
        Self { filters, kind }
    }

    /// Returns true if all messages are selected.
    pub fn is_all(&self) -> bool {
        self.kind == Kind::All
    }

    /// Returns the filters.
    pub fn as_slice(&self) -> &[SubjectFilter] {
        &self.filters
    }

    /// Returns the subject, if the only filter has no wildcard.
    pub fn literal(&self) -> Option<&[u8]> {
        match self.kind {
            Kind::Literal => self.filters.first().map(SubjectFilter::as_bytes),
            Kind::All | Kind::Other => None,
        }
    }

    /// Returns true if messages of the subject are selected.
    pub fn matches(&self, subject: &[u8]) -> bool {
        match self.kind {
            Kind::All if self.filters.is_empty() => true,
            Kind::Literal => self.literal() == Some(subject),
            Kind::All | Kind::Other => {
                self.filters.iter().any(|filter| filter.matches_bytes(subject))
            }
        }
    }
}

impl Default for Filters {
    /// Selects all messages.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}
