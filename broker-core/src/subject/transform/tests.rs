use proptest::prelude::*;

use super::*;

fn strict_or_not(
    source: &str,
    destination: &str,
    strict: bool,
) -> Result<SubjectTransform, TransformError> {
    let new = if strict { SubjectTransform::new_reversible } else { SubjectTransform::new };
    new(source, destination)
}

fn apply(transform: &SubjectTransform, subject: &str) -> String {
    let mut out = Vec::new();
    transform.apply(subject.as_bytes(), || u64::MAX, &mut out);
    String::from_utf8(out).unwrap()
}

// NATS 2.14: TestSubjectTransforms.
#[test]
fn faults_have_the_texts_of_the_reference() {
    let bad = "invalid subject";
    let range = "invalid mapping destination: wildcard index out of range in ";
    let few = "invalid mapping destination: not enough arguments passed to the function in ";
    let many = "invalid mapping destination: too many arguments passed to the function in ";
    let invalid =
        "invalid mapping destination: function argument is invalid or in the wrong format in ";
    let unknown = "invalid mapping destination: unknown function in ";
    let all = "invalid mapping destination: not using all of the token wildcard(s) in ";
    let import = "invalid mapping destination: the only mapping function allowed for import transforms is {{Wildcard()}} in ";
    for (source, destination, strict, fault, token) in [
        ("foo..", "bar", false, bad, ""),
        ("foo", "", false, bad, ""),
        ("foo", "a..b", false, bad, ""),
        ("foo.>", "bar.>.>", false, bad, ""),
        ("foo.*", "bar.*", false, bad, ""),
        ("foo.*", "bar.$1.>", false, bad, ""),
        ("foo.>", "bar.baz", false, bad, ""),
        ("foo.*", "bar.$2", false, range, "$2: [2]"),
        ("foo.*.*", "bar.$2", true, all, "bar.$2"),
        ("foo.*", "foo.$foo", true, all, "foo.$foo"),
        ("foo.*", "bar.{{Partition(2,1)}}", true, import, "{{Partition(2,1)}}"),
        ("foo.*", "bar.{{random(2)}}", true, import, "{{random(2)}}"),
        ("foo.*", "foo.{{wildcard(2)}}", false, range, "{{wildcard(2)}}: [2]"),
        ("foo.*", "foo.{{unimplemented(1)}}", false, unknown, "{{unimplemented(1)}}"),
        ("foo.*", "foo.{{WILDCARD(1)}}", false, unknown, "{{WILDCARD(1)}}"),
        ("foo.*", "foo.{{splitFromleft(2,2}}", false, unknown, "{{splitFromleft(2,2}}"),
        ("foo.*", "foo.{{partition()}}", false, invalid, "{{partition()}}"),
        ("foo.*", "foo.{{partition(2,)}}", false, invalid, "{{partition(2,)}}"),
        ("foo.*", "foo.{{random()}}", false, invalid, "{{random()}}"),
        ("foo.*", "foo.{{random(1,2)}}", false, few, "{{random(1,2)}}"),
        ("foo.*", "foo.{{wildcard(foo)}}", false, invalid, "{{wildcard(foo)}}"),
        ("foo.*", "foo.{{wildcard()}}", false, few, "{{wildcard()}}"),
        ("foo.*", "foo.{{wildcard(1,2)}}", false, many, "{{wildcard(1,2)}}"),
        ("foo.*", "foo.{{ wildcard5) }}", false, unknown, "{{ wildcard5) }}"),
        ("foo.*", "foo.{{splitLeft(2,2}}", false, unknown, "{{splitLeft(2,2}}"),
        ("foo.*", "foo.{{left(1)}}", false, few, "{{left(1)}}"),
        ("foo.*", "foo.{{left(1,2,3)}}", false, many, "{{left(1,2,3)}}"),
        ("foo.*", "foo.{{left(1,2147483648)}}", false, invalid, "{{left(1,2147483648)}}"),
        ("foo.*", "foo.{{split(1)}}", false, few, "{{split(1)}}"),
        ("foo.*", "foo.{{split(1,a,b)}}", false, many, "{{split(1,a,b)}}"),
        ("foo.*", "foo.{{split(1,a b)}}", false, invalid, "{{split(1,a b)}}"),
        ("foo", "bla.{{wildcard(1)}}", false, range, "{{wildcard(1)}}"),
        ("foo", "bla.$1", false, range, "$1"),
        ("foo.*", "foo.{{partition(2147483648)}}", false, invalid, "{{partition(2147483648)}}"),
        ("foo.*", "foo.{{random(2147483648)}}", false, invalid, "{{random(2147483648)}}"),
        ("foo", "a b", false, "invalid mapping destination: invalid transform", ""),
    ] {
        let refused = strict_or_not(source, destination, strict).unwrap_err();
        assert_eq!(refused.to_string(), format!("{fault}{token}"), "{source} {destination}");
    }
}

#[test]
fn destinations_that_the_reference_accepts_are_accepted() {
    for (source, destination, strict) in [
        ("foo.*", "bar.{{Wildcard(1)}}", true),
        ("foo.*.*", "bar.$2", false),
        ("foo.*.*", "bar.{{wildcard(1)}}", false),
        ("foo.*.*", "bar.{{partition(1)}}", false),
        ("foo.*.*", "bar.{{random(5)}}", false),
        ("foo", "bar", false),
        ("foo.*.bar.*.baz", "req.$2.$1", false),
        ("baz.>", "mybaz.>", false),
        ("*", "{{splitfromleft(1,1)}}", false),
        ("", "prefix.>", false),
        ("*.*", "{{partition(10,1,2)}}", false),
        ("foo.*.*", "foo.{{wildcard(1)}}.{{wildcard(2)}}.{{partition(5,1,2)}}", false),
        ("foo.*", "foo.{{partition(2147483647)}}", false),
        ("foo.*", "foo.{{random(2147483647)}}", false),
        ("foo.bar", "foo.{{random(2147483647)}}", false),
        ("foo.bar", "foo.{{random(5)}}", true),
        ("$SYS.*", "$JS.$1.{{}}", true),
    ] {
        assert!(strict_or_not(source, destination, strict).is_ok(), "{source} {destination}");
    }
}

// NATS 2.14: TestSubjectTransforms, TestPlaceHolderIndex; the others were printed by it.
#[test]
fn subjects_are_transformed_as_by_the_reference() {
    for (source, destination, subject, expected) in [
        ("", "prefix.>", "foo", "prefix.foo"),
        (">", ">", "foo.bar", "foo.bar"),
        ("a.>", ">", "a.b.c", "b.c"),
        ("foo", "bar", "foo", "bar"),
        ("foo.*.bar.*.baz", "req.$2.$1", "foo.A.bar.B.baz", "req.B.A"),
        ("foo.*.bar.*.baz", "req.{{wildcard(2)}}.{{wildcard(1)}}", "foo.A.bar.B.baz", "req.B.A"),
        ("baz.>", "my.pre.>", "baz.1.2.3", "my.pre.1.2.3"),
        ("baz.>", "foo.bar.>", "baz.1.2.3", "foo.bar.1.2.3"),
        ("*.x.>", "y.$1.>", "a.x.b.c", "y.a.b.c"),
        ("*", "foo.bar.$1", "foo", "foo.bar.foo"),
        ("*", "{{splitfromleft(1,3)}}", "12345", "123.45"),
        ("*", "{{splitfromleft(1,5)}}", "12345", "12345"),
        ("*", "{{splitfromleft(1,0)}}", "12345", "12345"),
        ("*", "{{splitfromleft(1,-1)}}", "12345", "12345"),
        ("*", "{{SplitFromRight(1,3)}}", "12345", "12.345"),
        ("*", "{{SliceFromLeft(1,3)}}", "1234567890", "123.456.789.0"),
        ("*", "{{SliceFromLeft(1,3)}}", "123456", "123.456"),
        ("*", "{{SliceFromRight(1,3)}}", "1234567890", "1.234.567.890"),
        ("*", "{{SliceFromRight(1,3)}}", "123456", "123.456"),
        ("*", "{{split(1,-)}}", "-abc-def--ghi-", "abc.def.ghi"),
        ("*", "{{split(1,-)}}", "abc-def--ghi-", "abc.def.ghi"),
        ("*", "{{split(1,-)}}", "--abc", ".abc"),
        ("*", "{{split(1,-)}}", "-", ""),
        ("*", "{{split(1,--)}}", "a---b", "a.-b"),
        ("*", "{{split(1,)}}", "aüb", "a.ü.b"),
        (
            "*.*",
            "{{split(2,-)}}.{{splitfromleft(1,2)}}",
            "foo.-abc-def--ghij-",
            "abc.def.ghij.fo.o",
        ),
        ("*", "{{right(1,1)}}", "1234", "4"),
        ("*", "{{right(1,3)}}", "1234", "234"),
        ("*", "{{right(1,6)}}", "1234", "1234"),
        ("*", "{{left(1,1)}}", "1234", "1"),
        ("*", "{{left(1,3)}}", "1234", "123"),
        ("*", "{{left(1,6)}}", "1234", "1234"),
        ("*", "bar.{{partition(0)}}", "baz", "bar.0"),
        ("*", "bar.{{partition(10, 0)}}", "foo", "bar.3"),
        ("*.*", "bar.{{partition(10)}}", "foo.bar", "bar.6"),
        ("*", "bar.{{partition(10)}}", "foo", "bar.3"),
        ("*", "bar.{{partition(10)}}", "baz", "bar.0"),
        ("*", "bar.{{partition(10)}}", "qux", "bar.9"),
        ("*", "bar.{{random(0)}}", "qux", "bar.0"),
        // The highest number: the remainder of 2,147,483,647.
        ("*", "bar.{{random(6)}}", "qux", "bar.1"),
        ("*", "bar.{{random(-6)}}", "qux", "bar.1"),
        ("foo.bar", "baz.{{partition(10)}}", "foo.bar", "baz.6"),
        ("foo.bar", "baz.{{partition(10,7)}}", "foo.bar", "baz.6"),
        ("foo.baz", "qux.{{partition(10)}}", "foo.baz", "qux.4"),
        ("test.subject", "result.{{partition(5)}}", "test.subject", "result.0"),
        ("*.*", "{{ Partition (10,1,2) }}", "a.b", "6"),
        ("*.*", "{{partition(10,\t 2,   1 )}}", "b.a", "6"),
        ("*.*", "{{partition(-1,1)}}", "a.b", "3826002220"),
        ("*.*", "x.$1.$foo.$", "a.b", "x.a.$foo.$"),
        ("*.*", "x.$+2.$-1.$0", "a.b", "x.b.a.a"),
        ("*", "{{junk}}{{wildcard( 1 )  }}", "a", "a"),
        ("*", "a{{wildcard(1)}}", "b", "a{{wildcard(1)}}"),
        ("foo.*", "one.two.{{wildcard(1)}}", "foo", "one.two."),
    ] {
        let transform = SubjectTransform::new(source, destination).unwrap();
        assert_eq!(apply(&transform, subject), expected, "{source} {destination} {subject}");
    }
}

#[test]
fn random_numbers_differ_within_one_subject() {
    let transform = SubjectTransform::new("a", "{{random(4)}}.{{random(4)}}").unwrap();
    assert!(transform.is_random());
    let mut numbers = [1_u64 << 33, 2 << 33].into_iter();
    let mut out = Vec::new();
    transform.apply(b"a", || numbers.next().unwrap(), &mut out);
    assert_eq!(out, b"1.2");
}

#[test]
fn bytes_that_are_not_text_are_transformed() {
    let transform = SubjectTransform::new("*.*", "{{split(1,)}}.{{right(2,1)}}").unwrap();
    let mut out = Vec::new();
    transform.apply(b"\xc3\xbc\xff\xc3.\xfe\xfd", || 0, &mut out);
    assert_eq!(out, b"\xc3\xbc.\xff.\xc3.\xfd");
}

#[test]
fn a_malformed_subject_matches_as_in_the_reference() {
    for (source, subject, expected) in [
        ("a.>", "a.", true),
        ("a.>", "a", false),
        ("a.*", "a.", false),
        ("a.*", "a.>", false),
        ("a.*", "a.*", true),
        ("a.b", "a.*", false),
        ("a.>", "a.>", true),
        ("a..b", "a..b", false),
    ] {
        let matches =
            SubjectTransform::new(source, if source.ends_with('>') { "x.>" } else { "x" })
                .is_ok_and(|transform| transform.matches(subject.as_bytes()));
        assert_eq!(matches, expected, "{source} {subject}");
    }
}

#[test]
fn reversed_transforms_lead_back() {
    for (source, destination, subject) in [
        ("foo.*.*", "bar.$2.{{Wildcard(1)}}", "foo.b.a"),
        ("foo", "bar.baz", "foo"),
        ("*.*.*", "x.$2.$3.$1", "a.b.c"),
        ("a.>", "b.c.>", "a.x.y"),
        ("*.a.>", "b.$1.c.>", "x.a.y.z"),
        (">", "p.>", "x.y"),
        (">", ">", "x.y"),
    ] {
        let there = SubjectTransform::new_reversible(source, destination).unwrap();
        let back = there.reverse().unwrap();
        let mapped = apply(&there, subject);
        assert!(back.matches(mapped.as_bytes()), "{source} {destination}");
        assert_eq!(apply(&back, &mapped), subject, "{source} {destination}");
    }
    for (source, destination) in [
        ("a.*", "b.$1.$1"),
        ("*.*", "$1"),
        ("*", "{{left(1,2)}}"),
        ("a.$0.>", "b.>"),
        ("{{random(2)}}.*", "b.$1"),
    ] {
        assert_eq!(SubjectTransform::new(source, destination).unwrap().reverse(), None);
    }
}

#[test]
fn the_identity_leaves_subjects_as_they_are() {
    for (source, expected, subject) in [
        ("a.*.b.*", "a.$1.b.$2", "a.x.b.y"),
        ("*.>", "$1.>", "a.b.c"),
        ("a.b", "a.b", "a.b"),
        (">", ">", "a.b"),
        ("a.$0.*", "a.$0.$1", "a.$0.x"),
        ("$1.*.{{random(2)}}.>", "$1.$1.{{random(2)}}.>", "$1.x.{{random(2)}}.y.z"),
    ] {
        let transform = SubjectTransform::identity(SubjectFilter::parse(source).unwrap());
        assert_eq!(transform.destination(), expected);
        assert_eq!(apply(&transform, subject), subject);
        let is_plain = !source.contains(['$', '{']);
        assert_eq!(SubjectTransform::new(source, expected).as_ref() == Ok(&transform), is_plain);
    }
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![Just("*".to_owned()), "[a-c]{1,3}"]
}

fn tokens_of(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(token(), count)
}

proptest! {
    /// Any text is a destination or a fault, and what is accepted has a result for any subject.
    #[test]
    fn nothing_panics(
        source in "[a*>.]{0,8}",
        destination in r"([a$1>.]|\{\{|\}\}|[sS]plit|[lL]eft|from|slice|random|partition|wildcard|[(), 0-9-]){0,12}",
        subject in proptest::collection::vec(any::<u8>(), 0..24),
    ) {
        for strict in [false, true] {
            if let Ok(transform) = strict_or_not(&source, &destination, strict) {
                let mut out = Vec::new();
                transform.apply(&subject, || 7, &mut out);
                let reversed = transform.reverse();
                prop_assert!(reversed.is_none_or(|back| back.reverse().is_some()));
            }
        }
    }

    /// A permutation of the wildcards and its inverse cancel each other out.
    #[test]
    fn permutations_are_reversed(
        source in tokens_of(1..6),
        ends_full in any::<bool>(),
        order in any::<u64>(),
    ) {
        let stars = source.iter().filter(|token| *token == "*").count();
        let mut numbers: Vec<usize> = (1..=stars).collect();
        (0..stars).for_each(|at| numbers.swap(at, (order >> at) as usize % stars));
        let rest = if ends_full { ".>" } else { "" };
        let to: Vec<String> = numbers.iter().map(|number| format!("${number}")).collect();
        let destination = format!("{}{rest}", [vec!["d".to_owned()], to].concat().join("."));
        let there = SubjectTransform::new_reversible(&(source.join(".") + rest), &destination).unwrap();
        let mut star = 0;
        let subject: Vec<String> = source.iter().map(|token| match &**token {
            "*" => { star += 1; format!("t{star}") }
            text => text.to_owned(),
        }).collect();
        let subject = subject.join(".") + if ends_full { ".x.y" } else { "" };
        prop_assert!(there.matches(subject.as_bytes()));
        let mapped = apply(&there, &subject);
        let back = there.reverse().unwrap();
        prop_assert!(back.matches(mapped.as_bytes()));
        prop_assert_eq!(apply(&back, &mapped), subject);
    }
}
