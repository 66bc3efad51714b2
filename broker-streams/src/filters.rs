//! The filters of a consumer, and of other selections of messages by subject.

use std::sync::Arc;

use broker_core::SubjectFilter;

/// Selects messages by subject: any of several filters, or all messages without a filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filters {
    filters: Vec<SubjectFilter>,
    /// Computed once: searches for each message depend on it.
    kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    All,
    Literal,
    /// Several filters without wildcards, in order: the keys of a bucket, of which a request may name thousands.
    Literals(Arc<[Box<[u8]>]>),
    Other,
}

impl Filters {
    /// Creates a selection by any of `filters`; of all messages if there are none.
    pub fn new(filters: Vec<SubjectFilter>) -> Self {
        let kind = match &filters[..] {
            [] => Kind::All,
            filters if filters.iter().any(|filter| filter.as_bytes() == b">") => Kind::All,
            [filter] if !filter.has_wildcard() => Kind::Literal,
            filters if filters.iter().any(SubjectFilter::has_wildcard) => Kind::Other,
            filters => Kind::Literals(sorted(filters)),
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
        match &self.kind {
            Kind::Literal => self.filters.first().map(SubjectFilter::as_bytes),
            Kind::All | Kind::Literals(_) | Kind::Other => None,
        }
    }

    /// Returns the subjects in order, if there are several filters and none has a wildcard.
    pub(crate) fn literals(&self) -> Option<&[Box<[u8]>]> {
        match &self.kind {
            Kind::Literals(subjects) => Some(subjects),
            Kind::All | Kind::Literal | Kind::Other => None,
        }
    }

    /// Returns true if messages of the subject are selected.
    pub fn matches(&self, subject: &[u8]) -> bool {
        match &self.kind {
            Kind::All if self.filters.is_empty() => true,
            Kind::Literal => self.literal() == Some(subject),
            Kind::Literals(subjects) => {
                subjects.binary_search_by(|one| (**one).cmp(subject)).is_ok()
            }
            Kind::All | Kind::Other => {
                self.filters.iter().any(|filter| filter.matches_bytes(subject))
            }
        }
    }
}

fn sorted(filters: &[SubjectFilter]) -> Arc<[Box<[u8]>]> {
    let mut subjects: Vec<Box<[u8]>> =
        filters.iter().map(|filter| filter.as_bytes().into()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects.into()
}

impl Default for Filters {
    /// Selects all messages.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_subjects_select_what_each_of_them_selects() {
        let filter = |number: u32| SubjectFilter::parse(format!("a.{number}")).unwrap();
        let filters = Filters::new((0..1000).rev().chain([7, 7]).map(filter).collect());
        assert_eq!(filters.literals().map(<[_]>::len), Some(1000));
        assert!((0..1000).all(|number| filters.matches(format!("a.{number}").as_bytes())));
        assert!(
            !filters.matches(b"a.1000") && !filters.matches(b"a") && !filters.matches(b"a.0.0")
        );
        let mut with_wildcard = filters.as_slice().to_vec();
        with_wildcard.push(SubjectFilter::parse("b.*").unwrap());
        let filters = Filters::new(with_wildcard);
        assert!(filters.literals().is_none());
        assert!(filters.matches(b"a.999") && filters.matches(b"b.x") && !filters.matches(b"c"));
    }

    #[test]
    fn a_star_within_a_token_is_a_literal() {
        let filters = Filters::new(vec![SubjectFilter::parse("keys.a*").unwrap()]);
        assert!(filters.matches(b"keys.a*"));
        assert!(!filters.matches(b"keys.apple") && !filters.matches(b"keys.avocado"));
    }
}
