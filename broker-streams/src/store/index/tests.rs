//! Windows that are full, of each form.

use broker_core::SubjectFilter;

use super::*;

/// Creates an index of messages of `subjects` subjects in turn.
fn filled(messages: u64, subjects: u64) -> Index {
    let mut index = Index::default();
    for sequence in 1..=messages {
        index.insert(sequence, format!("s.{}", sequence % subjects).as_bytes());
    }
    index
}

fn filter(text: &str) -> Filters {
    Filters::new(vec![SubjectFilter::parse(text).unwrap()])
}

#[test]
fn every_form_of_a_window_finds_and_counts() {
    for subjects in [1, 2, 200, 1000, 70_000, 200_000] {
        let messages = 200_000;
        let mut index = filled(messages, subjects);
        let subject = filter("s.0");
        let expected = messages / subjects;
        assert_eq!(index.count(&subject, 0, false), expected, "{subjects}");
        let from = 65_536 + 1000;
        let behind = expected - (from - 1) / subjects;
        assert_eq!(index.count(&subject, from, false), behind, "{subjects}");
        let next = from.next_multiple_of(subjects);
        assert_eq!(index.next_match(&subject, from), Some(next), "{subjects}");
        let previous = (from / subjects * subjects != 0).then_some(from / subjects * subjects);
        assert_eq!(index.previous_match(&subject, from), previous, "{subjects}");
        assert!(index.remove(next) && !index.remove(next));
        assert_eq!(index.count(&subject, from, false), behind - 1, "{subjects}");
        let after = Some(next + subjects).filter(|after| *after <= messages);
        assert_eq!(index.next_match(&subject, from), after, "{subjects}");
        assert_eq!(index.count(&filter("s.*"), from, false), messages - from);
        assert_eq!(index.count(&filter("s.*"), 0, true), index.subjects());
    }
}

#[test]
fn a_rare_subject_is_found_over_many_windows() {
    let mut index = filled(1_000_000, 1000);
    index.insert(1_000_001, b"rare.1");
    index.skip_to(3_000_000);
    index.insert(3_000_001, b"rare.2");
    assert_eq!(index.next_match(&filter("rare.*"), 5), Some(1_000_001));
    assert_eq!(index.next_match(&filter("rare.*"), 1_000_002), Some(3_000_001));
    assert_eq!(index.previous_match(&filter("rare.1"), u64::MAX), Some(1_000_001));
    assert_eq!(index.remove_before(2_000_000), 1_000_001);
    assert_eq!((index.first(), index.last(), index.subjects()), (3_000_001, 3_000_001, 1));
    assert_eq!(index.next_match(&filter("rare.*"), 5), Some(3_000_001));
}

#[test]
fn the_first_message_of_a_subject_is_found_again() {
    let mut index = filled(300_000, 5000);
    for round in 0..20 {
        assert!(index.remove(5000 * (round + 1)));
        let state = index.subject(b"s.0").unwrap();
        assert_eq!((state.first, state.last), (5000 * (round + 2), 300_000));
    }
    for round in 0..20 {
        assert!(index.remove(300_000 - 5000 * round));
        assert_eq!(index.subject(b"s.0").unwrap().last, 300_000 - 5000 * (round + 1));
    }
    index.remove_before(150_000);
    assert_eq!(index.subject(b"s.0").unwrap().first, 150_000);
    assert_eq!(index.subject(b"s.1").unwrap().first, 150_001);
}

#[test]
fn filters_follow_subjects_that_come_and_go() {
    let mut index = Index::default();
    for sequence in 1..=200 {
        index.insert(sequence, b"other");
    }
    assert_eq!(index.count(&filter("a.*"), 0, false), 0);
    index.insert(201, b"a.1");
    assert_eq!(index.next_match(&filter("a.*"), 1), Some(201));
    assert!(index.remove(201));
    index.insert(202, b"b.1");
    assert_eq!(index.next_match(&filter("a.*"), 1), None, "the number is used again");
    assert_eq!(index.count(&filter("b.*"), 0, true), 1);
    for wildcard in 0..40 {
        let many = filter(&format!("b.*.{wildcard}"));
        assert_eq!(index.count(&many, 0, false), 0);
    }
    assert_eq!(index.count(&filter("b.*"), 0, true), 1);
}
