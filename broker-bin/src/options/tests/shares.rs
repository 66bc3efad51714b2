//! Exports and imports of accounts.

use std::time::Duration;

use broker_core::account::{ExportAccess, ResponseType, Sampling};

use super::*;

/// Returns the error of a configuration in which account `A` is as written, and `B` exports a stream and services.
fn refused(a: &str) -> String {
    refused_beside(
        a,
        "exports: [ {stream: s}, {stream: 's.*'}, {service: t}, {service: 't.*'}, {service: u} ]",
    )
}

fn refused_beside(a: &str, b: &str) -> String {
    let text = format!("accounts {{ A {{ {a} }}, B {{ {b} }} }}");
    let errors = wrong(&text, &[]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let (_, error) = errors[0].split_once(": ").unwrap();
    error.to_owned()
}

// NATS 2.14: the texts of the reference for the same files, without their places.
#[test]
fn exports_that_cannot_be_in_force_are_refused_as_by_the_reference() {
    for (export, error) in [
        ("stream: s, service: t", "Detected service \"t\" but already saw a stream"),
        ("stream: s, response: stream", "Detected response directive on non-service"),
        ("stream: s, threshold: 1s", "Detected response directive on non-service"),
        ("stream: s, latency: l", "Detected latency directive on non-service"),
        ("stream: s, allow_trace: true", "Detected allow_trace directive on non-service"),
        ("stream: s, accounts: [X]", "\"X\" account not defined for stream export"),
        ("service: s, accounts: [X]", "\"X\" account not defined for service export"),
        (
            "service: 's.x', account_token_position: 2",
            "Error adding service export \"s.x\": sublist: invalid subject",
        ),
        (
            "service: 'l.>', latency: l.x",
            "Error adding service latency sampling for \"l.>\" on subject \"l.x\": invalid publish subject",
        ),
        (
            "service: s, latency: 'l.*'",
            "Error adding service latency sampling for \"s\" on subject \"l.*\": invalid publish subject",
        ),
        (
            "service: s, response: stream, latency: l",
            "Error adding service latency sampling for \"s\" on subject \"l\": bad service response type",
        ),
        ("service: s, latency: { sampling: 10% }", "Latency subject required, but missing"),
    ] {
        assert_eq!(refused(&format!("exports: [ {{ {export} }} ]")), error, "{export}");
    }
}

#[test]
fn imports_that_cannot_be_in_force_are_refused_as_by_the_reference() {
    for (imports, error) in [
        ("{ stream: {account: X, subject: s} }", "\"X\" account not defined for stream import"),
        ("{ service: {account: X, subject: s} }", "\"X\" account not defined for service import"),
        (
            "{ stream: {account: B, subject: x} }",
            "Error adding stream import \"x\": stream import not authorized",
        ),
        (
            "{ service: {account: B, subject: s} }",
            "Error adding service import \"s\": service import not authorized",
        ),
        ("{ service: {account: B} }", "Expect an account name and a subject"),
        (
            "{ service: {account: B, subject: t}, stream: {account: B, subject: s} }",
            "Detected service but already saw a stream",
        ),
        (
            "{ stream: {account: B, subject: s}, prefix: p, to: t }",
            "Stream import can not have a 'prefix' and a 'to' property",
        ),
        (
            "{ service: {account: B, subject: t}, allow_trace: true }",
            "Detected allow_trace directive on a non-stream",
        ),
        (
            "{ service: {account: B, subject: t}, to: x }, { service: {account: B, subject: u}, to: x }",
            "Duplicate service import subject \"x\", previously used in import for account \"B\", subject \"t\"",
        ),
        (
            "{ stream: {account: B, subject: s}, to: x }, { stream: {account: B, subject: s}, to: y }",
            "Error adding stream import \"s\": stream import already exists",
        ),
        (
            "{ stream: {account: B, subject: s}, prefix: 'x.*' }",
            "Error adding stream import \"s\": stream import prefix can not contain wildcard tokens",
        ),
        (
            "{ stream: {account: B, subject: 's.*'}, to: x }",
            "Error adding stream import \"s.*\": failed to create mapping transform for stream import subject from \
             \"s.*\" to \"x\": invalid mapping destination: not using all of the token wildcard(s) in x",
        ),
        (
            "{ stream: {account: B, subject: 's.*'}, to: 'x.$2' }",
            "Error adding stream import \"s.*\": failed to create mapping transform for stream import subject from \
             \"s.*\" to \"x.$2\": invalid mapping destination: wildcard index out of range in $2: [2]",
        ),
        (
            "{ service: {account: B, subject: 't.*'}, to: x }",
            "Error adding service import \"t.*\": failed to create mapping transform for service import subject from \
             \"x\" to \"t.*\": invalid mapping destination: not using all of the token wildcard(s) in x",
        ),
        (
            "{ service: {account: B, subject: 't.*'}, to: 'x.{{partition(2,1)}}' }",
            "Error adding service import \"t.*\": failed to create mapping transform for service import subject from \
             \"x.{{partition(2,1)}}\" to \"t.*\": invalid mapping destination: the only mapping function allowed for \
             import transforms is {{Wildcard()}} in {{partition(2,1)}}",
        ),
    ] {
        assert_eq!(refused(&format!("imports: [ {imports} ]")), error, "{imports}");
    }
}

#[test]
fn cycles_are_refused_as_by_the_reference() {
    for (kind, subject) in [("service", "s"), ("stream", ">")] {
        let of = |other: &str| {
            format!(
                "exports: [ {{ {kind}: '{subject}' }} ], \
                 imports: [ {{ {kind}: {{ account: {other}, subject: '{subject}' }} }} ]"
            )
        };
        let error = format!("Error adding {kind} import \"{subject}\": import forms a cycle");
        assert_eq!(refused_beside(&of("B"), &of("A")), error);
    }
}

#[test]
fn every_form_of_an_export_and_an_import_is_read() {
    let options = set("accounts {
           A { exports: [
             { stream: 'a.>' }
             { stream: 'b.*', account_token_position: 2 }
             { service: c, accounts: [B], response_type: chunked, threshold: 5s, allow_trace: true }
             { service: d, latency: { subject: lat, sampling: headers } }
             { service: e, latency: lat, response: single }
             { accounts: [B] }
           ] }
           B { imports: [
             { stream: { account: A, subject: 'a.>' }, prefix: in, allow_trace: true }
             { stream: { account: A, subject: 'b.B' }, to: b }
             { service: { account: A, subject: c }, to: cc, share: true }
             { service: { account: A, subject: d } }
           ] }
         }");
    let [a, b] = <[_; 2]>::try_from(options.account_configs().unwrap()).unwrap();
    assert_eq!((a.exports.len(), b.imports.len()), (5, 4), "what names nothing is passed over");
    assert_eq!(a.exports[1].access, ExportAccess::TokenPosition(2));
    let c = &a.exports[2];
    assert_eq!(c.access, ExportAccess::Accounts(vec!["B".into()]));
    assert_eq!((c.response_type, c.allow_trace), (ResponseType::Chunked, true));
    assert_eq!(c.response_threshold, Some(Duration::from_secs(5)));
    let sampling = |at: usize| a.exports[at].latency.as_ref().unwrap().sampling;
    assert_eq!((sampling(3), sampling(4)), (Sampling::Headers, Sampling::Percent(100)));
    assert_eq!(b.imports[0].prefix.as_deref(), Some("in"));
    assert!(b.imports[0].allow_trace && b.imports[2].share);
    assert_eq!(b.imports[1].to.as_deref(), Some("b"));
    assert_eq!(options.check(), Ok(()));
}
