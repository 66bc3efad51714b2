//! Transforms of subjects, from arbitrary texts.

#![no_main]

use broker_core::SubjectFilter;
use broker_core::subject::{Mapping, SubjectTransform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\n');
    let [Some(source), Some(destination), Some(subject)] = [(); 3].map(|()| parts.next()) else {
        return;
    };
    let transform = SubjectTransform::new(source, destination);
    let strict = SubjectTransform::new_reversible(source, destination);
    if strict.is_ok() {
        assert_eq!(strict, transform, "the strict form accepts less and means the same");
    }
    assert!(Mapping::to(source, destination).is_err() || transform.is_ok());
    let apply = |transform: &SubjectTransform, subject: &[u8]| {
        let mut numbers = 0_u64..;
        let mut mapped = Vec::new();
        transform.apply(subject, || numbers.next().unwrap_or_default() << 33, &mut mapped);
        mapped
    };
    if let Ok(filter) = SubjectFilter::parse(source) {
        let same = SubjectTransform::identity(filter);
        let is_well_formed = subject.split('.').all(|token| !token.is_empty());
        if is_well_formed && same.matches(subject.as_bytes()) {
            assert_eq!(apply(&same, subject.as_bytes()), subject.as_bytes(), "{same:?}");
        }
    }
    let Ok(transform) = transform else { return };
    let mapped = apply(&transform, subject.as_bytes());
    if !subject.contains([' ', '\t', '\r', '\n', '\x0c']) {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c');
        assert!(!mapped.iter().any(is_blank), "a subject cannot end a line of the protocol");
    }
    if let Some(back) = transform.reverse() {
        let is_well_formed = subject.split('.').all(|token| !token.is_empty());
        if is_well_formed && transform.matches(subject.as_bytes()) {
            assert!(back.matches(&mapped), "{back:?}");
            assert_eq!(apply(&back, &mapped), subject.as_bytes(), "{back:?}");
        }
    }
});
