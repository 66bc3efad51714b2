use std::time::{Duration, Instant, SystemTime};

use super::*;

fn at(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn server() -> ServerInfo {
    ServerInfo {
        name: "one".into(),
        host: "0.0.0.0".into(),
        id: "ID".into(),
        cluster: String::new(),
        domain: String::new(),
        version: "2.14.5".into(),
        tags: vec!["a".into()],
        metadata: BTreeMap::from([("x".into(), "y".into())]),
        feature_flags: BTreeMap::new(),
        jetstream: false,
        flags: 0,
        seq: 7,
        time: at(3_000_000_000),
    }
}

fn party(cid: u64, account: &str) -> Party {
    Party { kind: 0, cid, name: format!("n{cid}"), account: account.into() }
}

fn begin(headers: &[(&str, &str)]) -> MessageTrace {
    let clock: Arc<dyn Clock> = Arc::new((Instant::now, || at(1_500_000_000)));
    let requested = Requested { destination: b"t", is_only: true, encoding: Encoding::default() };
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    MessageTrace::begin(&clock, requested, headers, 36, party(5, "A"), b"foo")
}

fn json(trace: MessageTrace) -> String {
    String::from_utf8(trace.into_json(&server())).unwrap()
}

/// The members and their order are those of nats-server 2.14.5.
#[test]
fn an_event_has_the_form_of_the_reference() {
    let mut trace = begin(&[("X", "<1>"), ("Nats-Trace-Dest", "t"), ("X", "2")]);
    assert_eq!((trace.destination(), trace.is_only()), (&b"t"[..], true));
    trace.note_mapping(b"bar");
    trace.note_stream_export("B", b"b.bar");
    trace.note_service_import("C", b"bar", b"c.bar");
    trace.note_egress(party(6, "A"), b"foo.>", None, Ok(()));
    let closed = Err(NotDelivered::SubscriptionClosed);
    trace.note_egress(party(7, "B"), b"b.*", Some(b"q"), closed);
    let expected = concat!(
        r#"{"server":{"name":"one","host":"0.0.0.0","id":"ID","ver":"2.14.5","tags":["a"],"metadata":{"x":"y"},"#,
        r#""jetstream":false,"flags":0,"seq":7,"time":"1970-01-01T00:00:03Z"},"#,
        r#""request":{"header":{"Nats-Trace-Dest":["t"],"X":["\u003c1\u003e","2"]},"msgsize":36},"#,
        r#""events":[{"type":"in","ts":"1970-01-01T00:00:01.5Z","kind":0,"cid":5,"name":"n5","acc":"A","subj":"foo"},"#,
        r#"{"type":"sm","ts":"1970-01-01T00:00:01.5Z","to":"bar"},"#,
        r#"{"type":"se","ts":"1970-01-01T00:00:01.5Z","acc":"B","to":"b.bar"},"#,
        r#"{"type":"si","ts":"1970-01-01T00:00:01.5Z","acc":"C","from":"bar","to":"c.bar"},"#,
        r#"{"type":"eg","ts":"1970-01-01T00:00:01.5Z","kind":0,"cid":6,"name":"n6","sub":"foo.\u003e"},"#,
        r#"{"type":"eg","ts":"1970-01-01T00:00:01.5Z","kind":0,"cid":7,"name":"n7","acc":"B","sub":"b.*","queue":"q","#,
        r#""error":"Not delivered because subscription is closed"}]}"#,
    );
    assert_eq!(json(trace), expected);
}

#[test]
fn a_refused_message_has_its_error_at_the_ingress() {
    let mut trace = begin(&[]);
    trace.set_ingress_error("Permissions Violation");
    let text = json(trace);
    assert!(text.contains(r#""request":{"msgsize":36},"events":[{"type":"in""#), "{text}");
    assert!(text.ends_with(r#""subj":"foo","error":"Permissions Violation"}]}"#), "{text}");
}

#[test]
fn the_number_of_hops_is_bounded() {
    let mut trace = begin(&[]);
    for cid in 0..2 * TRACE_HOPS as u64 {
        trace.note_egress(party(cid, "A"), b"foo", None, Ok(()));
    }
    assert_eq!(trace.hops.len(), TRACE_HOPS);
}
