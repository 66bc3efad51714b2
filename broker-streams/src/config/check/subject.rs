//! Relations of subjects in configurations, which are text that may not be valid.

use broker_core::SubjectFilter;

/// Returns true if the text is a subject, with or without wildcards.
// NATS 2.14: sublist.go IsValidSubject.
pub fn is_subject(text: &str) -> bool {
    SubjectFilter::parse(text).is_ok()
}

/// Returns true if the text is a subject without wildcards.
// NATS 2.14: sublist.go IsValidPublishSubject.
pub(super) fn is_literal(text: &str) -> bool {
    SubjectFilter::parse(text).is_ok_and(|filter| !filter.has_wildcard())
}

/// Returns true if there is a subject that both match. What is not valid collides with its equal only.
// NATS 2.14: sublist.go SubjectsCollide.
pub fn collide(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (SubjectFilter::parse(a), SubjectFilter::parse(b)) {
        (Ok(a), Ok(b)) => a.overlaps(&b),
        _ => false,
    }
}

/// Returns true if any of `some` collides with any of `others`.
pub fn collide_any(some: &[String], others: &[String]) -> bool {
    some.iter().any(|a| others.iter().any(|b| collide(a, b)))
}

/// Returns true if `outer` matches all that `inner` matches.
// NATS 2.14: sublist.go subjectIsSubsetMatch.
pub fn is_covered_by(inner: &str, outer: &str) -> bool {
    match (SubjectFilter::parse(inner), SubjectFilter::parse(outer)) {
        (Ok(inner), Ok(outer)) => outer.covers(&inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_collide_or_cover_each_other() {
        assert!(collide("a.*", "*.b"));
        assert!(!collide("a.*", "b.*"));
        assert!(collide("a..b", "a..b"));
        assert!(!collide("a..b", ">"));
        assert!(is_covered_by("a.b", "a.*"));
        assert!(!is_covered_by("a.*", "a.b"));
    }
}
