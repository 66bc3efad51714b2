use super::*;
use crate::stream::limits::MAX_WAITING_READS;

fn bench() -> Bench {
    let mut bench = Bench::new(StreamConfig::default());
    for (subject, payload) in [("a.1", "1"), ("b", "2"), ("a.2", "3"), ("a.1", "4"), ("b", "5")] {
        bench.publish(subject, "", payload);
        bench.now = bench.now.plus(SECOND);
    }
    bench.with(|stream, context| stream.remove(2, false, context)).unwrap();
    bench
}

#[test]
fn a_message_is_found_by_sequence_subject_and_time() {
    let bench = bench();
    let get = |request: MessageRequest| {
        let mut buffer = Vec::new();
        let record = bench.stream.get(&request, &mut buffer);
        record.map(|record| record.sequence).map_err(|error| error.err_code)
    };
    let request = MessageRequest::default;
    assert_eq!(get(request()), Err(10003));
    assert_eq!(get(MessageRequest { sequence: 1, ..request() }), Ok(1));
    assert_eq!(get(MessageRequest { sequence: 2, ..request() }), Err(10037));
    assert_eq!(get(MessageRequest { last_for: "a.1".into(), ..request() }), Ok(4));
    assert_eq!(get(MessageRequest { last_for: "a.*".into(), ..request() }), Ok(4));
    assert_eq!(get(MessageRequest { last_for: "c".into(), ..request() }), Err(10037));
    assert_eq!(get(MessageRequest { last_for: "a..b".into(), ..request() }), Err(10037));
    assert_eq!(get(MessageRequest { next_for: "b".into(), sequence: 1, ..request() }), Ok(5));
    assert_eq!(get(MessageRequest { next_for: "a.*".into(), ..request() }), Ok(1));
    let start_time = Some(START.plus(SECOND));
    assert_eq!(get(MessageRequest { start_time, ..request() }), Ok(3));
    assert_eq!(get(MessageRequest { start_time, next_for: "b".into(), ..request() }), Ok(5));
    assert_eq!(get(MessageRequest { start_time, sequence: 1, ..request() }), Err(10003));
    assert_eq!(get(MessageRequest { last_for: "b".into(), sequence: 1, ..request() }), Err(10003));
    assert_eq!(get(MessageRequest { sequence: 1, batch: 2, ..request() }), Err(10003));
}

/// Returns the answers to a direct get, as lines of headers and payload.
fn direct(bench: &mut Bench, payload: &str, subject: Option<&str>) -> Vec<String> {
    bench.sent.0.clear();
    let subject = subject.map(str::as_bytes);
    bench.with(|stream, context| {
        stream.direct_request(payload.as_bytes(), subject, b"reply", context);
    });
    let answers = bench.sent.0.iter().map(|(to, headers, payload)| {
        assert_eq!(to, "reply");
        let headers = headers.strip_prefix("NATS/1.0").unwrap_or(headers);
        format!("{}{payload}", headers.replace("\r\n", "|").replace("Nats-", ""))
    });
    answers.collect()
}

#[test]
fn direct_gets_are_answered_by_the_message() {
    let mut bench = bench();
    let first = "|Stream: S|Subject: a.1|Sequence: 1|Time-Stamp: 2023-11-14T22:13:20Z||1";
    assert_eq!(direct(&mut bench, r#"{"seq":1}"#, None), [first]);
    assert_eq!(direct(&mut bench, r#"{"seq":1,"no_hdr":true}"#, None), ["1"]);
    let last = "|Stream: S|Subject: a.1|Sequence: 4|Time-Stamp: 2023-11-14T22:13:23Z||4";
    assert_eq!(direct(&mut bench, r#"{"last_by_subj":"a.1"}"#, None), [last]);
    assert_eq!(direct(&mut bench, "", Some("a.1")), [last]);
    assert_eq!(direct(&mut bench, r#"{"no_hdr":true}"#, Some("a.1")), ["4"]);
    for (payload, subject, status) in [
        ("", None, " 408 Empty Request||"),
        ("{}", None, " 408 Empty Request||"),
        ("x", None, " 408 Malformed Request||"),
        (r#"{"seq":1,"last_by_subj":"a"}"#, None, " 408 Bad Request||"),
        (r#"{"seq":1}"#, Some("a.1"), " 408 Bad Request||"),
        (r#"{"seq":2}"#, None, " 404 Message Not Found||"),
        (r#"{"last_by_subj":"c"}"#, None, " 404 Message Not Found||"),
        (r#"{"multi_last":["c"]}"#, None, " 404 No Results||"),
    ] {
        assert_eq!(direct(&mut bench, payload, subject), [status], "{payload}");
    }
}

#[test]
fn direct_gets_of_several_messages_end_with_a_status() {
    let mut bench = bench();
    let message = |subject: &str, sequence: u64, pending: u64, last: u64| {
        let second = 19 + sequence;
        format!(
            "|Stream: S|Subject: {subject}|Sequence: {sequence}|Time-Stamp: 2023-11-14T22:13:{second}Z|\
             Num-Pending: {pending}|Last-Sequence: {last}||{sequence}"
        )
    };
    let end = |pending: u64, last: u64| {
        format!(" 204 EOB|Num-Pending: {pending}|Last-Sequence: {last}||")
    };
    assert_eq!(
        direct(&mut bench, r#"{"seq":1,"batch":2}"#, None),
        [message("a.1", 1, 3, 0), message("a.2", 3, 2, 1), end(2, 3)]
    );
    assert_eq!(
        direct(&mut bench, r#"{"seq":2,"next_by_subj":"a.*","batch":5}"#, None),
        [message("a.2", 3, 1, 0), message("a.1", 4, 0, 3), end(0, 4)]
    );
    assert_eq!(
        direct(&mut bench, r#"{"seq":1,"batch":5,"max_bytes":4}"#, None),
        [message("a.1", 1, 3, 0), end(3, 1)]
    );
    let end = |pending: u64, last: u64, until: u64| {
        format!(" 204 EOB|Num-Pending: {pending}|Last-Sequence: {last}|UpTo-Sequence: {until}||")
    };
    assert_eq!(
        direct(&mut bench, r#"{"multi_last":["a.*","a.1","b"]}"#, None),
        [message("a.2", 3, 2, 0), message("a.1", 4, 1, 3), message("b", 5, 0, 4), end(0, 5, 5)]
    );
    assert_eq!(
        direct(&mut bench, r#"{"multi_last":["a.*"],"up_to_seq":3}"#, None),
        [message("a.1", 1, 1, 0), message("a.2", 3, 0, 1), end(0, 3, 3)]
    );
    let payload = r#"{"multi_last":["a.*"],"up_to_time":"2023-11-14T22:13:22Z"}"#;
    assert_eq!(direct(&mut bench, payload, None), [message("a.1", 1, 0, 0), end(0, 1, 2)]);
    let payload = r#"{"multi_last":["a.*"],"up_to_time":"2023-11-14T22:13:20Z"}"#;
    assert_eq!(direct(&mut bench, payload, None), [" 404 No Results||"]);
}

#[test]
fn the_last_messages_of_too_many_subjects_are_refused() {
    let mut bench = Bench::new(StreamConfig::default());
    for number in 0..1024 {
        bench.publish(&format!("s.{number}"), "", "");
    }
    assert_eq!(direct(&mut bench, r#"{"multi_last":["s.*"]}"#, None).len(), 1025);
    bench.publish("s.x", "", "");
    assert_eq!(direct(&mut bench, r#"{"multi_last":["s.*"]}"#, None), [" 413 Too Many Results||"]);
}

#[test]
fn nobody_sees_a_message_that_a_crash_takes_back() {
    let republish =
        Some(crate::config::Republish { destination: "copy.>".into(), ..Default::default() });
    let config = StreamConfig { republish, ..StreamConfig::default() };
    let mut bench = Bench::over(config, NaiveStorage::slow());
    bench.publish("a", "", "");
    assert_eq!(bench.stream.visible(), 0);
    assert_eq!(direct(&mut bench, "", Some("a")), [] as [&str; 0]);
    let job = bench.stream.begin_sync().unwrap();
    bench.publish("b", "", "");
    bench.stream.finish_sync(job).unwrap();
    bench.stream.flush(&mut bench.sent);
    assert_eq!(bench.stream.visible(), 1);
    let to: Vec<_> = bench.sent.0.iter().map(|(to, ..)| to.as_str()).collect();
    assert_eq!(to, ["copy.a", "reply"]);
    // A durable message is sent at once.
    assert_eq!(direct(&mut bench, "", Some("a")).len(), 1);
}

#[test]
fn readers_beyond_the_limit_take_no_memory_while_the_disk_hangs() {
    let mut bench = Bench::over(StreamConfig::default(), NaiveStorage::slow());
    bench.publish("a", "", &"x".repeat(1 << 20));
    let mut refused = 0;
    while refused == 0 {
        refused = direct(&mut bench, "", Some("a")).len();
    }
    let bytes = bench.stream.reads.bytes();
    assert!(bytes < MAX_WAITING_READS + (2 << 20), "{bytes}");
    for _ in 0..100 {
        assert_eq!(direct(&mut bench, "", Some("a")), [" 503||"]);
    }
    assert_eq!(bench.stream.reads.bytes(), bytes);
}
