//! Corner cases, and properties: every split parses alike, fast and general paths agree, a naive splitter agrees.

use proptest::prelude::*;

use super::*;
use crate::proto::Batch;
use crate::proto::route::RouteMessage;
use crate::proto::traced::is_mentioned;

/// The form of the protocol in a test.
#[derive(Clone, Copy, Debug, Default)]
struct Spoken {
    account: Option<&'static [u8]>,
    limits: RouteLimits,
}

impl Spoken {
    fn parse<'a>(
        &self,
        parser: &mut RouteParser,
        input: &'a [u8],
        general: bool,
    ) -> Result<RouteParsed<'a>, RouteFault> {
        let Self { account, limits } = self;
        if general {
            parser.parse_any(input, Dialect { account: *account, limits })
        } else {
            parser.parse(input, *account, limits)
        }
    }

    fn pinned() -> Self {
        Self { account: Some(b"A"), ..Self::default() }
    }
}

/// Parses `input` as it arrives in `chunks`; keeps unused bytes as a connection does. Returns the operations as text,
/// and the fault that ended parsing.
fn parse_chunks(
    chunks: &[&[u8]],
    dialect: &Spoken,
    general: bool,
) -> (Vec<String>, Option<RouteFault>) {
    let mut parser = RouteParser::default();
    let mut kept: Vec<u8> = Vec::new();
    let mut seen = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        while at < kept.len() {
            let rest = &kept[at..];
            match dialect.parse(&mut parser, rest, general) {
                Ok(RouteParsed::Op { op, used }) => {
                    seen.push(format!("{op:?}"));
                    at += used;
                }
                Ok(RouteParsed::Partial { used, whole }) => {
                    assert!(whole == 0 || whole > rest.len() - used);
                    at += used;
                    break;
                }
                Err(fault) => return (seen, Some(fault)),
            }
        }
        kept.drain(..at);
        assert!(
            kept.len() < dialect.limits.max_kept_line_bytes() + dialect.limits.max_message_bytes
        );
    }
    (seen, None)
}

fn parse_all(input: &[u8]) -> (Vec<String>, Option<RouteFault>) {
    parse_chunks(&[input], &Spoken::default(), false)
}

fn fault(input: &str, dialect: &Spoken) -> Option<RouteFault> {
    parse_chunks(&[input.as_bytes()], dialect, false).1
}

/// Parses one operation in both ways.
fn one<'a>(input: &'a str, dialect: &Spoken) -> RouteOp<'a> {
    let mut parser = RouteParser::default();
    let both = [false, true].map(|general| dialect.parse(&mut parser, input.as_bytes(), general));
    let [fast, general] = both.map(|parsed| match parsed {
        Ok(RouteParsed::Op { op, used }) if used == input.len() => op,
        other => panic!("{input:?}: {other:?}"),
    });
    assert_eq!(fast, general, "{input:?}");
    fast
}

fn message<'a>(input: &'a str, dialect: &Spoken) -> RouteMessage<'a> {
    match one(input, dialect) {
        RouteOp::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_operation_is_parsed() {
    let (seen, fault) = parse_all(
        b"INFO {}\r\ninfo{}\r\nCONNECT {}\r\nconnect{}\r\nPING\r\npingxyz\nPONG\r\n+OK\r\n-ERR 'x'\r\n\
          RS+ A a\r\nrs+ A a q 3\r\nRs-\tA  a\r\nRS- A a q\r\nLS+ o A a\r\nls+ o A a q 2\r\nLS- o A a q\r\n\
          A+ A\r\na- A\r\nAu A\r\nRMSG A a 1\r\nx\r\nrmsg A a r 0\r\n\r\nRMSG A a + r q1 q2 2\r\nhi\r\n\
          RMSG A a | q1 2\r\nhi\r\nHMSG A a 1 2\r\nhi\r\nhmsg A a | q1 0 2\r\nhi\r\nLMSG o A a 0 2\r\nhi\r\n\
          lmsg o A a + r q 1 2\nhi\r\nSUB a 1\r\nUNSUB A a\r\nPUB a 2\r\nhi\r\nHPUB a r 1 2\r\nhi\r\n",
    );
    assert_eq!(fault, None, "{seen:#?}");
    assert_eq!(seen.len(), 31, "{seen:#?}");
}

#[test]
fn interest_has_an_account_a_filter_and_a_queue_group() {
    let queue = RouteSubscription {
        origin: None,
        account: b"A",
        filter: b"a.*",
        queue: Some(b"q"),
        weight: 12,
    };
    let plain = RouteSubscription { queue: None, weight: 1, ..queue };
    let leaf = RouteSubscription { origin: Some(b"o"), ..queue };
    let gone = |subscription| RouteOp::Unsubscribe(RouteSubscription { weight: 0, ..subscription });
    let dialect = Spoken::default();
    assert_eq!(one("RS+ A a.*\r\n", &dialect), RouteOp::Subscribe(plain));
    assert_eq!(one("RS+ A a.* q 12\r\n", &dialect), RouteOp::Subscribe(queue));
    assert_eq!(one("LS+ o A a.* q 12\r\n", &dialect), RouteOp::Subscribe(leaf));
    assert_eq!(one("RS- A a.*\r\n", &dialect), gone(plain));
    assert_eq!(one("RS- A a.* q\r\n", &dialect), gone(queue));
    assert_eq!(one("LS- o A a.* q\r\n", &dialect), gone(leaf));
    assert_eq!(one("RS+ a.*\r\n", &Spoken::pinned()), RouteOp::Subscribe(plain));
    assert_eq!(one("LS+ o a.* q 12\r\n", &Spoken::pinned()), RouteOp::Subscribe(leaf));
    assert_eq!(one("LS- o a.* q\r\n", &Spoken::pinned()), gone(leaf));
    let mut old = dialect;
    old.limits.names_origin = false;
    assert_eq!(one("LS- A a.* q\r\n", &old), gone(queue), "as servers before 2.12 send it");
    for weight in ["0", "x", "-1", "1234567890"] {
        let line = format!("RS+ A a.* q {weight}\r\n");
        let none = RouteSubscription { weight: 0, ..queue };
        assert_eq!(one(&line, &dialect), RouteOp::Subscribe(none), "{line}");
    }
}

/// Each spelling is parsed alike by both paths: see [`one`].
#[test]
fn only_interest_in_the_usual_spelling_takes_the_fast_path() {
    let limits = RouteLimits { max_control_line_bytes: 9, ..RouteLimits::default() };
    let is_fast = |line: &str, account: Option<&'static [u8]>| {
        let dialect = Dialect { account, limits: &limits };
        let parsed = fast::interest(line.as_bytes(), dialect);
        assert!(parsed.is_none_or(|(_, used)| used == line.len()), "{line:?}");
        parsed.is_some()
    };
    for line in ["RS+ A f\r\n", "RS+ A f q 3\r\n"] {
        assert!(is_fast(line, None), "{line:?}");
        assert!(is_fast(&line.replace("A ", ""), Some(b"A")), "{line:?}");
    }
    for line in [
        "RS+ A f\n",
        "RS+  A f\r\n",
        "RS+ A  f\r\n",
        "RS+ A f \r\n",
        "RS+ A f q\r\n",
        "RS+ A f q x\r\n",
        "RS+ A\tf\r\n",
        "rs+ A f\r\n",
        "RS- A f\r\n",
        "RS+ A\r\n",
        "RS+ A f",
        "RS+ A f\r",
        "RS+ A f\rx\r\n",
        "RS+ A abcdefgh\r\n",
    ] {
        assert!(!is_fast(line, None), "{line:?}");
    }
    assert!(is_fast("RS+ A abcdefg\r\n", None), "as long as a line may be");
}

#[test]
fn messages_have_an_account_a_reply_and_queue_groups() {
    let dialect = Spoken::default();
    for (input, origin, reply, queues, headers) in [
        ("RMSG A a 2\r\nhi\r\n", "", "", "", None),
        ("RMSG A a r 2\r\nhi\r\n", "", "r", "", None),
        ("RMSG A a + 2\r\nhi\r\n", "", "+", "", None),
        ("RMSG A a | q1 2\r\nhi\r\n", "", "", "q1", None),
        ("RMSG A a | q1 q2 q3 2\r\nhi\r\n", "", "", "q1,q2,q3", None),
        ("RMSG A a + r 2\r\nhi\r\n", "", "r", "", None),
        ("RMSG A a + r q1 q2 2\r\nhi\r\n", "", "r", "q1,q2", None),
        ("RMSG A a | q q q q q q q q q 2\r\nhi\r\n", "", "", "q,q,q,q,q,q,q,q,q", None),
        ("HMSG A a 1 2\r\nhi\r\n", "", "", "", Some(1)),
        ("HMSG A a 0 2\r\nhi\r\n", "", "", "", None),
        ("HMSG A a r 2 2\r\nhi\r\n", "", "r", "", Some(2)),
        ("HMSG A a | q1 1 2\r\nhi\r\n", "", "", "q1", Some(1)),
        ("HMSG A a + r q1 1 2\r\nhi\r\n", "", "r", "q1", Some(1)),
        ("LMSG o A a 0 2\r\nhi\r\n", "o", "", "", None),
        ("LMSG o A a r 1 2\r\nhi\r\n", "o", "r", "", Some(1)),
        ("LMSG o A a | q1 0 2\r\nhi\r\n", "o", "", "q1", None),
        ("LMSG o A a + r q1 q2 1 2\r\nhi\r\n", "o", "r", "q1,q2", Some(1)),
    ] {
        for (input, dialect) in
            [(input, &dialect), (&*input.replace(" A ", " "), &Spoken::pinned())]
        {
            let routed = message(input, dialect);
            let names = routed.queues.join(&b',');
            let message = &routed.message;
            assert_eq!(routed.origin.unwrap_or_default(), origin.as_bytes(), "{input:?}");
            assert_eq!((routed.account, message.subject), (&b"A"[..], &b"a"[..]), "{input:?}");
            assert_eq!(
                (message.reply, &*names),
                (reply.as_bytes(), queues.as_bytes()),
                "{input:?}"
            );
            assert_eq!((message.header_len, message.body), (headers, &b"hi"[..]), "{input:?}");
            let sizes = headers.map_or("2".to_owned(), |headers| format!("{headers} 2"));
            assert_eq!(message.sizes, sizes.as_bytes(), "{input:?}");
        }
    }
    let published = message("PUB a r 2\r\nhi\r\n", &Spoken::pinned());
    assert_eq!((published.account, published.message.reply), (&b"A"[..], &b"r"[..]));
    assert_eq!(message("PUB a 2\r\nhi\r\n", &dialect).account, b"");
}

#[test]
fn the_tail_is_the_text_of_a_delivery_to_a_client() {
    for (input, tail) in [
        ("RMSG A a 2\r\nhi\r\n", Some("2\r\nhi\r\n")),
        ("RMSG A a r 2\r\nhi\r\n", Some("r 2\r\nhi\r\n")),
        ("RMSG A a | q1 q2 2\r\nhi\r\n", Some("2\r\nhi\r\n")),
        ("RMSG A a + r q1 2\r\nhi\r\n", None),
        ("RMSG A a + r 2\r\nhi\r\n", Some("r 2\r\nhi\r\n")),
        ("HMSG A a r 1 2\r\nhi\r\n", Some("r 1 2\r\nhi\r\n")),
        ("HMSG A a | q1 1 2\r\nhi\r\n", Some("1 2\r\nhi\r\n")),
        ("HMSG A a 0 2\r\nhi\r\n", Some("2\r\nhi\r\n")),
        ("HMSG A a r 0 2\r\nhi\r\n", None),
        ("LMSG o A a 0 2\r\nhi\r\n", Some("2\r\nhi\r\n")),
        ("LMSG o A a r 1 2\r\nhi\r\n", Some("r 1 2\r\nhi\r\n")),
        ("RMSG  A  a 2\r\nhi\r\n", Some("2\r\nhi\r\n")),
        ("RMSG A a r  2\r\nhi\r\n", None),
        ("RMSG A a r\t2\r\nhi\r\n", None),
        ("RMSG A a 2 \r\nhi\r\n", None),
        ("RMSG A a r\r2\r\nhi\r\n", None),
        ("HMSG A a r 1\r2\r\nhi\r\n", None),
        ("RMSG A\ra r 2\r\nhi\r\n", Some("r 2\r\nhi\r\n")),
        ("RMSG A a 2\nhi\r\n", None),
    ] {
        let routed = message(input, &Spoken::default());
        assert_eq!(routed.message.tail, tail.map(str::as_bytes), "{input:?}");
    }
}

#[test]
fn invalid_input_is_refused_at_once() {
    for bad in [
        "X", "PX", "MSG", "HX", "HMX", "\r\n", "RS", "RSX", "RS+a", "RMSGA", "LSX", "LMSX", "AU A",
        "A*", "A+A", "GET /", "-E R", " PING", "SUBa",
    ] {
        let (seen, fault) = parse_all(format!("{bad}\r\n").as_bytes());
        assert_eq!((seen.len(), fault), (0, Some(RouteFault::UnknownOperation)), "{bad:?}");
    }
    for good in [
        "P",
        "r",
        "RS",
        "rS+",
        "RS+ ",
        "RS+ A",
        "L",
        "LM",
        "A",
        "CONNEC",
        "+",
        "-ER",
        "H",
        "RMSG A a 1",
    ] {
        assert_eq!(parse_all(good.as_bytes()), (vec![], None), "{good:?}");
    }
}

#[test]
fn a_wrong_byte_behind_a_payload_is_refused_when_it_arrives() {
    let unknown = Some(RouteFault::UnknownOperation);
    let of = |input: &str| fault(input, &Spoken::default());
    assert_eq!(of("RMSG A a 2\r\nhi\r"), None);
    assert_eq!(of("RMSG A a 2\r\nhi!"), unknown);
    assert_eq!(of("RMSG A a 2\r\nhi\rx"), unknown);
    assert_eq!(of("RMSG A a 2\r\nhi\n"), unknown);
}

/// The texts with account and origin in the line were logged by nats-server 2.14.5.
#[test]
fn faults_are_logged_as_in_the_reference() {
    for (input, logged) in [
        ("RMSG A a\r\n", "processRoutedMsgArgs Parse Error: '[A a]'"),
        ("RMSG  \r\n", "processRoutedMsgArgs Parse Error: '[]'"),
        ("RMSG A a b r 2\r\n", "processRoutedMsgArgs Bad or Missing Reply Indicator: 'b'"),
        ("RMSG A a ++ r q 2\r\n", "processRoutedMsgArgs Bad or Missing Reply Indicator: '++'"),
        ("RMSG A a r x\r\n", "processRoutedMsgArgs Bad or Missing Size: '[A a r x]'"),
        ("HMSG A a 2\r\n", "processRoutedHeaderMsgArgs Parse Error: '[A a 2]'"),
        ("HMSG A a ? r 1 2\r\n", "processRoutedHeaderMsgArgs Bad or Missing Reply Indicator: '?'"),
        ("HMSG A  a x 2\r\n", "processRoutedHeaderMsgArgs Bad or Missing Header Size: 'A  a x 2'"),
        ("HMSG A  a 1 x\r\n", "processRoutedHeaderMsgArgs Bad or Missing Size: '[A a 1 x]'"),
        (
            "HMSG A a 3 2\r\n",
            "processRoutedHeaderMsgArgs Header Size larger then TotalSize: 'A a 3 2'",
        ),
        ("LMSG o A a 2\r\n", "processRoutedOriginClusterMsgArgs Parse Error: '[o A a 2]'"),
        (
            "LMSG o A a q r 1 2\r\n",
            "processRoutedOriginClusterMsgArgs Bad or Missing Reply Indicator: 'q'",
        ),
        (
            "LMSG o A a -1 2\r\n",
            "processRoutedOriginClusterMsgArgs Bad or Missing Header Size: 'o A a -1 2'",
        ),
        ("RS+ A\r\n", "processRemoteSub Parse Error: 'R A'"),
        ("RS+ A a q\r\n", "processRemoteSub Parse Error: 'R A a q'"),
        ("LS+ o A\r\n", "processRemoteSub Parse Error: 'L o A'"),
        ("RS- A\r\n", "processRemoteUnsub parse error: 'A'"),
        ("RS- A a q 1\r\n", "processRemoteUnsub parse error: 'A a q 1'"),
        ("LS- o A\r\n", "processRemoteUnsub parse error: 'o A'"),
        ("LS- \r\n", "processRemoteUnsub parse error: ''"),
        ("PUB a\r\n", "processPub Parse Error: \"a\""),
        ("PUB a x\r\n", "processPub Bad or Missing Size: \"a x\""),
        ("HPUB a 1 x\r\n", "processHeaderPub Bad or Missing Total Size: \"a 1 x\""),
    ] {
        let fault = fault(input, &Spoken::default()).unwrap_or_else(|| panic!("{input:?}"));
        assert_eq!(fault.to_string(), logged, "{input:?}");
        assert_eq!(fault.answer(), (None, crate::error::CloseReason::ProtocolViolation));
    }
    for (input, logged) in [
        ("RMSG a\r\n", "processRoutedMsgArgs Parse Error: '[A a]'"),
        ("HMSG a 2\r\n", "processRoutedHeaderMsgArgs Parse Error: '[A a 2]'"),
        ("LMSG o a\r\n", "processRoutedOriginClusterMsgArgs Parse Error: '[o a]'"),
        ("LMSG o a 1\r\n", "processRoutedOriginClusterMsgArgs Parse Error: '[o A a 1]'"),
        (
            "LMSG o a q r 1 2\r\n",
            "processRoutedOriginClusterMsgArgs Bad or Missing Reply Indicator: 'q'",
        ),
    ] {
        assert_eq!(fault(input, &Spoken::pinned()).unwrap().to_string(), logged, "{input:?}");
    }
}

#[test]
fn text_of_a_fault_stays_on_one_line() {
    let fault = fault("RS+ \n\x1b[2Jforged\r\n", &Spoken::default()).unwrap();
    assert_eq!(fault.to_string(), r"processRemoteSub Parse Error: 'R \n\x1b[2Jforged'");
}

#[test]
fn limits_apply_at_one_below_at_and_one_above() {
    let mut dialect = Spoken::default();
    dialect.limits.max_control_line_bytes = 16;
    dialect.limits.max_message_bytes = 5;
    let of = |input: &str| fault(input, &dialect);
    let too_long = Some(RouteFault::MaxControlLine);
    assert_eq!(of("RS+ A 12345678901234\r\n"), None);
    assert_eq!(of("RS+ A 123456789012345\r\n"), too_long);
    assert_eq!(of("RS+ A 12345678901234"), None);
    assert_eq!(of("RS+ A 123456789012345"), too_long);
    assert_eq!(of("RMSG A 123456789012 1\r\nx\r\n"), None);
    assert_eq!(of("RMSG A 1234567890123 1\r\nx\r\n"), too_long);
    assert_eq!(of("RMSG A a 5\r\n12345\r\n"), None);
    let too_large = Some(RouteFault::MaxPayload { size: 6, limit: 5 });
    assert_eq!(of("RMSG A a 6\r\n"), too_large);
    assert_eq!(of("RMSG A a 6\r\n123456\r\n"), too_large);
    assert_eq!(of("HMSG A a 1 6\r\n123456\r\n"), too_large);
}

#[test]
fn the_length_of_an_incomplete_message_is_reported() {
    assert_eq!(
        RouteParser::default().parse(b"RMSG A a 1000\r\nhi", None, &RouteLimits::default()),
        Ok(RouteParsed::Partial { used: 0, whole: 15 + 1000 + 2 })
    );
}

#[test]
fn the_rest_of_a_line_without_arguments_is_never_kept() {
    let (mut parser, limits) = (RouteParser::default(), RouteLimits::default());
    let mut parse = |input: &'static [u8]| parser.parse(input, None, &limits);
    let partial = |used| Ok(RouteParsed::Partial { used, whole: 0 });
    assert_eq!(parse(b"PING and"), partial(8));
    assert_eq!(parse(&[b'x'; 100]), partial(100));
    assert_eq!(parse(b"\nP"), Ok(RouteParsed::Op { op: RouteOp::Ping, used: 1 }));
}

#[test]
fn operations_are_traced_with_the_arguments_as_they_were_sent() {
    for (operation, shown) in [
        ("rmsg A  a 2\r\nhi\r\n", Some(("RMSG", "A  a 2"))),
        ("HMSG A a | q 1 2\r\nhi\r\n", Some(("HMSG", "A a | q 1 2"))),
        ("LMSG o A a 0 2\r\nhi\r\n", Some(("LMSG", "o A a 0 2"))),
        ("RS+ A a q 1\r\n", Some(("RS+", "A a q 1"))),
        ("RS- A a\r\n", Some(("RS-", "A a"))),
        ("LS+ o A a\r\n", Some(("LS+", "o A a"))),
        ("LS- o A a\r\n", Some(("LS-", "o A a"))),
        ("A+ A\r\n", Some(("A+", "A"))),
        ("Au A\r\n", Some(("A-", "A"))),
        ("PING\r\n", Some(("PING", ""))),
        ("PONG\r\n", Some(("PONG", ""))),
        ("CONNECT {}\r\n", Some(("CONNECT", "{}"))),
        ("PUB a 0\r\n\r\n", Some(("PUB", "a 0"))),
        ("SUB a 1\r\n", None),
        ("UNSUB A a\r\n", None),
        ("INFO {}\r\n", None),
        ("+OK\r\n", None),
        ("-ERR 'x'\r\n", None),
    ] {
        let shown = shown.map(|(verb, arguments)| (verb, arguments.as_bytes()));
        assert_eq!(traced(operation.as_bytes()), shown, "{operation:?}");
    }
}

/// Generates valid, nearly valid and invalid operations.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-zA-Z0-9.*>_$+|]{1,6}";
    let blank = prop_oneof![8 => Just(" "), 1 => Just("\t"), 1 => Just("  "), 1 => Just(" \r")];
    let end = prop_oneof![8 => Just("\r\n"), 1 => Just("\n")];
    let verb = prop_oneof![
        3 => Just("RMSG"), 3 => Just("HMSG"), 2 => Just("LMSG"), 1 => Just("rmsg"), 1 => Just("PUB"), 1 => Just("HPUB")
    ];
    let between = prop_oneof![
        3 => Just(String::new()),
        2 => word.prop_map(|reply| format!("{reply} ")),
        2 => proptest::collection::vec(word, 1..4).prop_map(|queues| format!("| {} ", queues.join(" "))),
        2 => proptest::collection::vec(word, 1..4).prop_map(|queues| format!("+ {} ", queues.join(" "))),
    ];
    let common = (proptest::option::of(word), proptest::option::of(word), word, between);
    let publish = (verb, common, 0usize..9, 0usize..9, blank.clone(), end.clone()).prop_map(
        |(verb, (origin, account, subject, between), head, len, blank, end)| {
            let words =
                [origin, account].into_iter().flatten().map(|word| word + " ").collect::<String>();
            let body = "x".repeat(if verb.ends_with("MSG") { head + len } else { len });
            let headers =
                if verb.starts_with(['H', 'L']) { format!("{head} ") } else { String::new() };
            let line = format!("{verb} {words}{subject} {between}{headers}{}", body.len());
            format!("{}{end}{body}\r\n", line.replacen(' ', blank, 3))
        },
    );
    let verb = prop_oneof![
        Just("RS+"),
        Just("RS-"),
        Just("LS+"),
        Just("LS-"),
        Just("rs+"),
        Just("UNSUB"),
        Just("A+")
    ];
    let interest = (verb, proptest::collection::vec(word, 0..6), blank, end.clone())
        .prop_map(|(verb, words, blank, end)| format!("{verb}{blank}{}{end}", words.join(blank)));
    let rest = prop_oneof![
        Just("PING\r\n"),
        Just("PONG\r\n"),
        Just("pingx\n"),
        Just("CONNECT {\"a\":1}\r\n"),
        Just("+OK\r\n"),
        Just("INFO {}\r\n"),
        Just("-ERR 'x'\r\n"),
        Just("SUB a 1\r\n"),
    ];
    let junk = proptest::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        8 => publish.prop_map(String::into_bytes),
        4 => interest.prop_map(String::into_bytes),
        3 => rest.prop_map(|text| text.as_bytes().to_vec()),
        1 => junk,
    ]
}

fn dialect() -> impl Strategy<Value = Spoken> {
    (any::<bool>(), any::<bool>()).prop_map(|(is_pinned, names_origin)| Spoken {
        account: is_pinned.then_some(&b"A"[..]),
        limits: RouteLimits { names_origin, ..RouteLimits::default() },
    })
}

/// Interprets a line of a message as NATS's code does, by counting all words. Returns account, subject, reply, queue
/// groups, length of the headers and size.
fn naive(line: &str, account: Option<&str>) -> Option<String> {
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    let verb = words.remove(0);
    let is_leaf = verb == "LMSG";
    if let Some(account) = account {
        words.insert(usize::from(is_leaf), account);
    }
    if is_leaf {
        words.remove(0);
    }
    let headers = usize::from(verb != "RMSG");
    let count = words.len();
    let (reply, queues): (&str, &[&str]) = match count.checked_sub(3 + headers)? {
        0 => ("", &[]),
        1 => (words[2], &[]),
        _ if words[2] == "+" => (words[3], &words[4..count - 1 - headers]),
        _ if words[2] == "|" => ("", &words[3..count - 1 - headers]),
        _ => return None,
    };
    let head = if headers == 1 { words[count - 2].parse::<usize>().ok()? } else { 0 };
    let size = words[count - 1].parse::<usize>().ok()?;
    (head <= size).then(|| format!("{} {} {reply} {queues:?} {head} {size}", words[0], words[1]))
}

fn described(routed: &RouteMessage<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let RouteMessage { account, queues, message, .. } = routed;
    let queues: Vec<String> = queues.iter().map(|queue| text(queue)).collect();
    let words = [account, message.subject, message.reply].map(text).join(" ");
    format!("{words} {queues:?} {} {}", message.header_len.unwrap_or(0), message.body.len())
}

proptest! {
    #[test]
    fn any_split_parses_alike(
        operations in proptest::collection::vec(operation(), 1..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        dialect in dialect(),
    ) {
        let input = operations.concat();
        let whole = parse_chunks(&[&input], &dialect, false);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut at = 0;
        for cut in cuts {
            chunks.push(&input[at..cut]);
            at = cut;
        }
        chunks.push(&input[at..]);
        prop_assert_eq!(&parse_chunks(&chunks, &dialect, false), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&parse_chunks(&bytes, &dialect, false), &whole);
        prop_assert_eq!(&parse_chunks(&[&input], &dialect, true), &whole, "general path");
    }

    #[test]
    fn a_naive_splitter_agrees(operation in operation(), dialect in dialect()) {
        let text = String::from_utf8_lossy(&operation).into_owned();
        let mut line = text.split('\n').next().unwrap_or_default().to_owned();
        // NATS 2.14: a CR behind the first byte of the arguments removes the last one.
        let arguments = line.trim_start_matches(char::is_alphabetic).trim_start_matches([' ', '\t']);
        if arguments.get(1..).is_some_and(|rest| rest.contains('\r')) || arguments == "\r" {
            line.pop();
        }
        prop_assume!(["RMSG", "HMSG", "LMSG"].iter().any(|verb| line.starts_with(verb)));
        let expected = naive(&line, dialect.account.map(|_| "A"));
        match dialect.parse(&mut RouteParser::default(), &operation, false) {
            Ok(RouteParsed::Op { op: RouteOp::Message(routed), .. }) => {
                prop_assert_eq!(Some(described(&routed)), expected);
            }
            Err(RouteFault::BadArguments { .. }) => prop_assert_eq!(None, expected),
            // Words that stand in for sizes announce another length.
            Ok(RouteParsed::Partial { .. }) | Err(_) => prop_assert!(expected.is_some()),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn gathering_equals_parsing_one_by_one(input in stream(), is_pinned in any::<bool>()) {
        let (limits, account) = (RouteLimits::default(), is_pinned.then_some(&b"A"[..]));
        let (mut batch, mut to) = (Batch::default(), fast::Addressed::default());
        let gathered = fast::gather(&input, account, &limits, &mut to, &mut batch);
        let (mut at, mut parser) = (0, RouteParser::default());
        for run in batch.runs() {
            for message in run {
                prop_assert_eq!(message.subject, run[0].subject);
                let Ok(RouteParsed::Op { op: RouteOp::Message(routed), used }) =
                    parser.parse(&input[at..], account, &limits)
                else { panic!() };
                prop_assert_eq!(&routed.message, message);
                prop_assert_eq!((routed.account, &routed.queues), (to.account, &to.queues()));
                at += used;
            }
        }
        prop_assert_eq!(at, gathered);
        // It ends at another recipient, or with what the fast path leaves to the general one.
        let dialect = Dialect { account, limits: &limits };
        let next = fast::message(&input[at..], dialect).map(|(routed, _)| routed);
        let is_other = next.is_none_or(|routed| {
            routed.account != to.account
                || routed.queues != to.queues()
                || is_mentioned(routed.message.headers(), false)
        });
        prop_assert!(batch.has_most_runs() || is_other);
    }
}

/// Generates messages with few recipients, subjects, sizes and spellings, so that lines repeat, some of them cut or
/// invalid.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => Just("RMSG A a 3\r\n"),
        4 => Just("RMSG A a r 3\r\n"),
        4 => Just("RMSG A b 3\r\n"),
        2 => Just("HMSG A a 1 3\r\n"),
        1 => Just("RMSG B a 3\r\n"),
        1 => Just("RMSG A a | q 3\r\n"),
        1 => Just("RMSG A a | q p 3\r\n"),
        1 => Just("RMSG A a + r q 3\r\n"),
        1 => Just("RMSG A  a 3\r\n"),
        1 => Just("PING\r\n"),
    ];
    let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\rX"), 1 => Just("")];
    let operation = (line, "[a-z]{3}", end).prop_map(|(line, body, end)| {
        if line == "PING\r\n" { line.into() } else { format!("{line}{body}{end}") }
    });
    proptest::collection::vec(operation, 0..40).prop_map(|all| all.concat().into_bytes())
}

#[test]
fn a_message_that_may_be_traced_is_not_gathered() {
    let headers = "NATS/1.0\r\nNats-Trace-Dest: t\r\n\r\n";
    let plain =
        format!("HMSG A a {0} {0}\r\n{1}\r\n", headers.len(), headers.replace("Dest", "Nest"));
    let traced = plain.replace("Nest", "Dest");
    let input = [&*plain, &plain, &traced].concat();
    let (mut batch, mut to) = (Batch::default(), fast::Addressed::default());
    let limits = RouteLimits::default();
    let used = fast::gather(input.as_bytes(), None, &limits, &mut to, &mut batch);
    assert_eq!((used, batch.messages().len()), (2 * plain.len(), 2));
    batch.clear();
    assert_eq!(fast::gather(traced.as_bytes(), None, &limits, &mut to, &mut batch), 0);
}
