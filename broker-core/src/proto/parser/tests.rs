//! Corner cases, and properties: every split parses alike, fast and general paths agree.

use proptest::prelude::*;

use super::*;

/// An operation that owns its bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Owned {
    Op(String),
    Fault(ClientFault),
}

/// Parses `input` as it arrives in `chunks`; keeps unused bytes as a connection does.
fn parse_chunks(chunks: &[&[u8]], limits: &ParserLimits, general: bool) -> Vec<Owned> {
    let mut parser = Parser::default();
    let mut kept: Vec<u8> = Vec::new();
    let mut seen = Vec::new();
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        let mut at = 0;
        while at < kept.len() {
            let parsed = if general {
                parser.parse_any(&kept[at..], limits)
            } else {
                parser.parse(&kept[at..], limits)
            };
            match parsed {
                Ok(Parsed::Op { op, used }) => {
                    seen.push(Owned::Op(format!("{op:?}")));
                    at += used;
                }
                Ok(Parsed::Partial { used, whole }) => {
                    assert!(whole == 0 || whole > kept.len() - at - used);
                    at += used;
                    break;
                }
                Err(fault) => {
                    seen.push(Owned::Fault(fault));
                    return seen;
                }
            }
        }
        kept.drain(..at);
    }
    seen
}

fn parse_all(input: &[u8]) -> Vec<Owned> {
    parse_chunks(&[input], &ParserLimits::default(), false)
}

fn fault(input: &[u8]) -> Option<ClientFault> {
    match parse_all(input).pop() {
        Some(Owned::Fault(fault)) => Some(fault),
        _ => None,
    }
}

#[test]
fn every_operation_is_parsed() {
    let seen = parse_all(
        b"CONNECT {}\r\nconnect{}\r\nPub a 1\r\nx\r\nPUB a b 0\r\n\r\nHPUB a 3 4\r\nabcd\r\n\
          hpub a r 3 3\r\nabc\r\nSUB a 1\r\nSUB\ta  q\t 2\r\nUNSUB 1\r\nUNSUB 1 5\r\nUNSUB 1 x\n\
          PING\r\nPONG\r\nPINGxyz\r\n+OK\r\n+OKAY\nINFO {}\r\n-ERR 'x'\r\n",
    );
    assert_eq!(seen.len(), 18, "{seen:#?}");
    assert!(seen.iter().all(|op| matches!(op, Owned::Op(_))), "{seen:#?}");
}

#[test]
fn the_tail_is_the_text_of_a_delivery() {
    let mut parser = Parser::default();
    for (input, tail) in [
        (&b"PUB a 2\r\nhi\r\n"[..], Some(&b"2\r\nhi\r\n"[..])),
        (b"PUB a r 2\r\nhi\r\n", Some(b"r 2\r\nhi\r\n")),
        (b"HPUB a 1 2\r\nhi\r\n", Some(b"1 2\r\nhi\r\n")),
        (b"HPUB a r 1 002\r\nhi\r\n", Some(b"r 1 002\r\nhi\r\n")),
        (b"PUB  a 2\r\nhi\r\n", Some(b"2\r\nhi\r\n")),
        (b"PUB a  r 2\r\nhi\r\n", Some(b"r 2\r\nhi\r\n")),
        (b"PUB a r  2\r\nhi\r\n", None),
        (b"PUB a r\t2\r\nhi\r\n", None),
        (b"PUB a 2 \r\nhi\r\n", None),
        (b"PUB a 2\nhi\r\n", None),
    ] {
        for general in [false, true] {
            let limits = ParserLimits::default();
            let parsed = if general {
                parser.parse_any(input, &limits)
            } else {
                parser.parse(input, &limits)
            };
            let Ok(Parsed::Op { op: Op::Publish(message), .. }) = parsed else {
                panic!("{input:?}: {parsed:?}");
            };
            assert_eq!(message.tail, tail, "{:?}", String::from_utf8_lossy(input));
            assert_eq!(message.body, b"hi");
        }
    }
}

#[test]
fn invalid_input_is_refused_at_once() {
    for bad in
        ["X", "PX", "PUBX", "HM", "\r\n", "SUBa 1\r\n", "R", "L", "A", "MSG", "GET /", "-E R"]
    {
        assert_eq!(fault(bad.as_bytes()), Some(ClientFault::UnknownOperation), "{bad:?}");
    }
    for good in ["P", "pu", "PUB", "PUB ", "PUB a", "CONNEC", "+", "-ER", "PIN"] {
        assert_eq!(parse_all(good.as_bytes()), [], "{good:?}");
    }
}

#[test]
fn a_wrong_byte_behind_a_payload_is_refused_when_it_arrives() {
    assert_eq!(fault(b"PUB a 2\r\nhi"), None);
    assert_eq!(fault(b"PUB a 2\r\nhi\r"), None);
    assert_eq!(fault(b"PUB a 2\r\nhi!"), Some(ClientFault::UnknownOperation));
    assert_eq!(fault(b"PUB a 2\r\nhi\rx"), Some(ClientFault::UnknownOperation));
    assert_eq!(fault(b"PUB a 2\r\nhi\n"), Some(ClientFault::UnknownOperation));
}

#[test]
fn sizes_are_one_to_nine_digits() {
    for bad in ["+1", "-1", "0x1", "1e0", "1234567890", "x", "1.0"] {
        let input = format!("PUB a {bad}\r\n");
        assert_eq!(fault(input.as_bytes()), Some(ClientFault::BadSize("PUB")), "{bad}");
    }
    assert_eq!(fault(b"PUB a 001\r\nx\r\n"), None);
    assert_eq!(fault(b"HPUB a 3 2\r\n"), Some(ClientFault::BadSize("HPUB")));
    assert_eq!(fault(b"HPUB a x 2\r\n"), Some(ClientFault::BadSize("HPUB")));
}

#[test]
fn argument_counts_are_exact() {
    for (bad, verb) in [
        ("PUB 1\r\n", "PUB"),
        ("PUB a b c 1\r\n", "PUB"),
        ("PUB a b c d 1\r\n", "PUB"),
        ("HPUB a 1\r\n", "HPUB"),
        ("SUB a\r\n", "SUB"),
        ("SUB a b c d\r\n", "SUB"),
        ("UNSUB 1 2 3\r\n", "UNSUB"),
        ("PUB \r\n", "PUB"),
        ("PUB \nx 1\r\n", "PUB"),
        ("PUB \n 1\r\n", "PUB"),
        ("HPUB \nx 1 1\r\n", "HPUB"),
    ] {
        assert_eq!(fault(bad.as_bytes()), Some(ClientFault::BadArguments(verb)), "{bad:?}");
    }
}

#[test]
fn limits_apply_at_one_below_at_and_one_above() {
    let limits = ParserLimits {
        max_control_line_bytes: 10,
        max_payload_bytes: 5,
        headers: false,
        ..ParserLimits::default()
    };
    let run = |input: &[u8]| parse_chunks(&[input], &limits, false).pop();
    let control_line = Some(Owned::Fault(ClientFault::MaxControlLine));
    assert!(matches!(run(b"SUB 12345678 1\r\n"), Some(Owned::Op(_))));
    assert_eq!(run(b"SUB 123456789 1\r\n"), control_line);
    assert_eq!(run(b"SUB 12345678 1"), None);
    assert_eq!(run(b"SUB 123456789 1"), control_line);
    assert!(matches!(run(b"PUB a 5\r\n12345\r\n"), Some(Owned::Op(_))));
    assert_eq!(
        run(b"PUB a 6\r\n"),
        Some(Owned::Fault(ClientFault::MaxPayload { size: 6, limit: 5 }))
    );
    assert_eq!(run(b"HPUB a 1 1\r\n"), Some(Owned::Fault(ClientFault::HeadersNotSupported)));
}

#[test]
fn the_rest_of_a_line_without_arguments_is_never_kept() {
    let mut parser = Parser::default();
    let limits = ParserLimits::default();
    assert_eq!(
        parser.parse(b"PING and", &limits),
        Ok(Parsed::Partial { used: 8, whole: 0 }),
        "no byte of the line must be kept"
    );
    assert_eq!(parser.parse(&[b'x'; 100], &limits), Ok(Parsed::Partial { used: 100, whole: 0 }));
    assert_eq!(parser.parse(b"\nP", &limits), Ok(Parsed::Op { op: Op::Ping, used: 1 }));
}

#[test]
fn the_length_of_an_incomplete_message_is_reported() {
    let mut parser = Parser::default();
    assert_eq!(
        parser.parse(b"PUB a 1000\r\nhi", &ParserLimits::default()),
        Ok(Parsed::Partial { used: 0, whole: 12 + 1000 + 2 })
    );
}

/// Generates valid, nearly valid and invalid lines.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-zA-Z0-9.*>_$]{1,6}";
    let blank = prop_oneof![4 => Just(" "), 1 => Just("\t"), 1 => Just("  ")];
    let end = prop_oneof![6 => Just("\r\n"), 1 => Just("\n")];
    let publish = (blank.clone(), word, proptest::option::of(word), 0usize..20, end.clone())
        .prop_map(|(blank, subject, reply, len, end)| {
            let reply = reply.map(|reply| format!("{blank}{reply}")).unwrap_or_default();
            format!("PUB{blank}{subject}{reply}{blank}{len}{end}{}\r\n", "x".repeat(len))
        });
    let headers =
        (word, 0usize..9, 0usize..9, end.clone()).prop_map(|(subject, head, len, end)| {
            format!("HPUB {subject} {head} {}{end}{}\r\n", head + len, "h".repeat(head + len))
        });
    let subscribe = (blank, word, proptest::option::of(word), 0u32..99, end.clone()).prop_map(
        |(blank, subject, queue, sid, end)| {
            let queue = queue.map(|queue| format!("{blank}{queue}")).unwrap_or_default();
            format!("sub{blank}{subject}{queue}{blank}{sid}{end}")
        },
    );
    let rest = prop_oneof![
        Just("PING\r\n"),
        Just("PONG\r\n"),
        Just("pingx\n"),
        Just("UNSUB 1\r\n"),
        Just("UNSUB 1 7\r\n"),
        Just("CONNECT {\"a\":1}\r\n"),
        Just("+OK\r\n"),
        Just("INFO {}\r\n"),
    ];
    let junk = proptest::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        6 => publish.prop_map(String::into_bytes),
        3 => headers.prop_map(String::into_bytes),
        3 => subscribe.prop_map(String::into_bytes),
        4 => rest.prop_map(|text| text.as_bytes().to_vec()),
        1 => junk,
    ]
}

proptest! {
    #[test]
    fn any_split_parses_alike(
        operations in proptest::collection::vec(operation(), 1..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input = operations.concat();
        let limits = ParserLimits::default();
        let whole = parse_chunks(&[&input], &limits, false);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut at = 0;
        for cut in cuts {
            chunks.push(&input[at..cut]);
            at = cut;
        }
        chunks.push(&input[at..]);
        prop_assert_eq!(&parse_chunks(&chunks, &limits, false), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&parse_chunks(&bytes, &limits, false), &whole);
        prop_assert_eq!(&parse_chunks(&[&input], &limits, true), &whole, "general path");
    }
}
