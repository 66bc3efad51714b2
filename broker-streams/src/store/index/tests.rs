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

#[test]
fn windows_that_are_packed_answer_as_before() {
    for subjects in [3, 15, 16, 100] {
        let messages = 600_000;
        let mut index = filled(messages, subjects);
        let packed = || index.windows.iter().filter(|window| window.is_packed()).count();
        assert_eq!(packed(), 10 - UNPACKED_WINDOWS, "{subjects}");
        let (one, some) = (filter("s.1"), filter("s.*"));
        assert_eq!(index.subject_of(70_000), Some(format!("s.{}", 70_000 % subjects).as_bytes()));
        let next = (70_000..).find(|sequence| sequence % subjects == 1);
        assert_eq!(index.next_match(&one, 70_000), next, "{subjects}");
        let previous = (0..70_000).rfind(|sequence| sequence % subjects == 1);
        assert_eq!(index.previous_match(&one, 69_999), previous, "{subjects}");
        let behind = (400_000..=messages).filter(|sequence| sequence % subjects == 1).count();
        assert_eq!(index.count(&one, 400_000, false), behind as u64);
        // Removals change what is packed.
        for sequence in (70_000..80_000).step_by(3) {
            assert!(index.remove(sequence));
        }
        let is_left = |sequence: &u64| *sequence >= 80_000 || sequence % 3 != 70_000 % 3;
        let next = (70_000..).filter(is_left).find(|sequence| sequence % subjects == 1);
        assert_eq!(index.next_match(&one, 70_000), next, "{subjects}");
        assert_eq!(index.count(&some, 70_000, false), messages - 70_000 + 1 - 3334);
        assert_eq!(index.remove_before(300_000), 299_999 - 3334);
        assert_eq!(index.next_match(&some, 0), Some(300_000));
    }
}

#[test]
fn a_window_of_new_subjects_finds_and_counts() {
    let mut index = Index::default();
    for sequence in 1..=70_000 {
        index.insert(sequence, format!("{}.{sequence}", sequence % 2).as_bytes());
    }
    assert!(index.windows[0].is_row());
    let odd = filter("1.*");
    assert_eq!((index.count(&odd, 101, false), index.count(&odd, 101, true)), (34_950, 34_950));
    assert_eq!(
        (index.next_match(&odd, 1000), index.previous_match(&odd, 1000)),
        (Some(1001), Some(999))
    );
    assert!(index.remove(1001) && index.remove(998));
    assert_eq!((index.next_match(&odd, 1000), index.subject_of(1001)), (Some(1003), None));
    // The numbers of the removed subjects are used again, elsewhere.
    index.insert(70_001, b"1.new");
    index.insert(70_002, b"1.newer");
    assert_eq!(
        (index.next_match(&odd, 1000), index.next_match(&filter("1.new"), 1)),
        (Some(1003), Some(70_001))
    );
    assert_eq!(
        (index.next_match(&filter("1.1003"), 5), index.count(&odd, 0, false)),
        (Some(1003), 35_001)
    );
    assert_eq!(index.subject_of(1003), Some(&b"1.1003"[..]));
}
