//! Encoded messages: their text, and that the parser of routes reads them again.

use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::endpoint::{ByteQueue, Destination, Queues, Run, Scratch, WriteHandle};
use crate::limits::SHARED_PAYLOAD_MIN_BYTES;
use crate::proto::ParserLimits;
use crate::proto::parser::Parser;
use crate::proto::route::{RouteLimits, RouteMessage, RouteOp, RouteParsed, RouteParser};
use crate::proto::{Op, Parsed};
use crate::sync::Mutex;

/// The socket of a peer.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl WriteHandle for Written {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.lock().write_vectored(pieces)
    }

    fn wake(&self) {}
}

/// A route to a peer of account `A`.
struct Route {
    queue: ByteQueue<RouteEncoder>,
    written: Written,
    scratch: Scratch,
}

impl Route {
    fn new(encoder: RouteEncoder) -> Self {
        let (written, queues) = (Written::default(), Arc::new(Queues::default()));
        let socket = Box::new(written.clone());
        let queue = ByteQueue::new(encoder, 1, socket, 1 << 24, Duration::MAX, queues);
        let mut scratch = Scratch::new();
        scratch.start(Instant::now());
        Self { queue, written, scratch }
    }

    fn with_headers(account: Option<&str>, headers: bool) -> Self {
        let route = Self::new(RouteEncoder::new(account.map(Arc::from)));
        route.queue.encoder().set_headers(headers);
        route
    }

    /// Sends messages of one subject. Returns the bytes on the wire and the number that was counted as bodies.
    fn send(
        &mut self,
        messages: &[Publish<'_>],
        queues: &[&[u8]],
        shared: Option<&Bytes>,
    ) -> (Vec<u8>, u64) {
        let subject = messages[0].subject;
        let run = Run { shown: None, subject, messages, shared, parsed: None, prefetched: None };
        let before = self.queue.counts().bytes;
        let accepted = self.queue.deliver_to_peer("A", &run, queues, &mut self.scratch);
        self.queue.flush(&mut self.scratch);
        let counts = self.queue.counts();
        let written = std::mem::take(&mut *self.written.0.lock());
        assert_eq!(accepted.added_bytes, written.len());
        (written, counts.bytes - before)
    }
}

/// Parses a message as a client publishes it.
fn published(input: &[u8]) -> Publish<'_> {
    match Parser::default().parse(input, &ParserLimits::default()) {
        Ok(Parsed::Op { op: Op::Publish(message), used }) if used == input.len() => message,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(input)),
    }
}

const NO_QUEUES: &[&[u8]] = &[];
const TWO_QUEUES: &[&[u8]] = &[b"q1", b"q2"];

#[test]
fn messages_have_the_bytes_of_the_reference() {
    let cases: [(&str, &[&[u8]], &str); 12] = [
        ("PUB a 2\r\nhi\r\n", NO_QUEUES, "RMSG A a 2\r\nhi\r\n"),
        ("PUB a r 2\r\nhi\r\n", NO_QUEUES, "RMSG A a r 2\r\nhi\r\n"),
        ("PUB a 2\r\nhi\r\n", TWO_QUEUES, "RMSG A a | q1 q2 2\r\nhi\r\n"),
        ("PUB a r 2\r\nhi\r\n", TWO_QUEUES, "RMSG A a + r q1 q2 2\r\nhi\r\n"),
        ("PUB a\t r  002\nhi\r\n", NO_QUEUES, "RMSG A a r 002\r\nhi\r\n"),
        ("PUB a\t r  002\nhi\r\n", TWO_QUEUES, "RMSG A a + r q1 q2 002\r\nhi\r\n"),
        ("HPUB a 1 2\r\nhi\r\n", NO_QUEUES, "HMSG A a 1 2\r\nhi\r\n"),
        ("HPUB a r 1 2\r\nhi\r\n", TWO_QUEUES, "HMSG A a + r q1 q2 1 2\r\nhi\r\n"),
        ("HPUB a 1  2\r\nhi\r\n", TWO_QUEUES, "HMSG A a | q1 q2 1 2\r\nhi\r\n"),
        ("HPUB a 0 2\r\nhi\r\n", NO_QUEUES, "RMSG A a 2\r\nhi\r\n"),
        ("HPUB a r 0 2\r\nhi\r\n", TWO_QUEUES, "RMSG A a + r q1 q2 2\r\nhi\r\n"),
        ("PUB a 0\r\n\r\n", NO_QUEUES, "RMSG A a 0\r\n\r\n"),
    ];
    for (input, queues, expected) in cases {
        let message = published(input.as_bytes());
        for account in [None, Some("A")] {
            let mut route = Route::with_headers(account, true);
            let (written, bodies) = route.send(&[message], queues, None);
            let expected =
                if account.is_some() { expected.replace(" A ", " ") } else { expected.into() };
            assert_eq!(String::from_utf8_lossy(&written), expected, "{input:?}");
            assert_eq!(bodies, message.body.len() as u64);
            let twice = route.send(&[message, message], queues, None).0;
            assert_eq!(String::from_utf8_lossy(&twice), expected.repeat(2), "{input:?}");
        }
    }
}

#[test]
fn a_server_that_reads_no_headers_gets_none() {
    let mut route = Route::with_headers(None, false);
    let [with, empty] = ["HPUB a r 1 2\r\nhi\r\n", "HPUB a 2 2\r\nhi\r\n"];
    let messages = [with, empty].map(|input| published(input.as_bytes()));
    let (written, bodies) = route.send(&messages, TWO_QUEUES, None);
    let expected = "RMSG A a + r q1 q2 1\r\ni\r\nRMSG A a | q1 q2 0\r\n\r\n";
    assert_eq!((&*String::from_utf8_lossy(&written), bodies), (expected, 1));
    route.queue.encoder().set_headers(true);
    let (written, _) = route.send(&messages, NO_QUEUES, None);
    let expected = "HMSG A a r 1 2\r\nhi\r\nHMSG A a 2 2\r\nhi\r\n";
    assert_eq!(String::from_utf8_lossy(&written), expected);
}

#[test]
fn the_route_of_one_account_carries_no_other() {
    let message = published(b"PUB a 2\r\nhi\r\n");
    let mut route = Route::with_headers(Some("B"), true);
    assert_eq!(route.send(&[message], NO_QUEUES, None), (Vec::new(), 0));
    let mut route = Route::with_headers(None, true);
    let encoder = route.queue.encoder();
    encoder.set_account(None);
    encoder.set_account(Some("A".into()));
    encoder.set_account(Some("B".into()));
    assert_eq!(route.send(&[message], NO_QUEUES, None).0, b"RMSG a 2\r\nhi\r\n");
}

#[test]
fn a_large_payload_is_shared() {
    let size = SHARED_PAYLOAD_MIN_BYTES + 3;
    let mut input = format!("HPUB a r 3 {size}\r\n").into_bytes();
    input.extend(std::iter::repeat_n(b'x', size));
    input.extend_from_slice(b"\r\n");
    let input = Bytes::from(input);
    let message = published(&input);
    for (headers, line, from) in [
        (true, format!("HMSG A a + r q1 q2 3 {size}"), 0),
        (false, format!("RMSG A a + r q1 q2 {}", size - 3), 3),
    ] {
        let mut route = Route::with_headers(None, headers);
        let body = &message.body[from..];
        let expected = [line.as_bytes(), b"\r\n", body, b"\r\n"].concat();
        let (written, bodies) = route.send(&[message], TWO_QUEUES, Some(&input));
        assert!(written == expected, "{:?}", String::from_utf8_lossy(&written[..40]));
        assert_eq!(bodies, body.len() as u64);
    }
}

#[test]
fn messages_are_traced_as_the_line_that_is_sent() {
    let head =
        |with_headers, queues| Head { account: Some("A"), subject: b"a", queues, with_headers };
    let message = published(b"HPUB a r 1 2\r\nhi\r\n");
    assert_eq!(head(true, NO_QUEUES).line(&message), "HMSG A a r 1 2");
    assert_eq!(head(false, TWO_QUEUES).line(&message), "RMSG A a + r q1 q2 1");
}

/// A message with memory of its own.
#[derive(Clone, Debug)]
struct Sent {
    reply: String,
    header_len: Option<usize>,
    body: Vec<u8>,
    /// It was published in the usual spelling.
    has_tail: bool,
}

impl Sent {
    fn input(&self) -> Vec<u8> {
        let Self { reply, header_len, body, has_tail } = self;
        let verb = if header_len.is_some() { "HPUB" } else { "PUB" };
        let headers = header_len.map(|len| len.to_string());
        let blank = if *has_tail { " " } else { " \t" };
        let size = body.len().to_string();
        let words = [Some("a.b"), Some(&**reply), headers.as_deref(), Some(&*size)];
        let words: Vec<&str> =
            words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        let line = format!("{verb} {}\r\n", words.join(blank));
        [line.as_bytes(), body, b"\r\n"].concat()
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let body = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just(vec![b'x'; SHARED_PAYLOAD_MIN_BYTES]),
    ];
    let reply = prop_oneof![Just(String::new()), "[a-z.]{1,9}", Just("+".into()), Just("|".into())];
    (reply, proptest::option::of(any::<prop::sample::Index>()), body, any::<bool>()).prop_map(
        |(reply, headers, body, has_tail)| {
            let header_len = headers.map(|index| index.index(body.len() + 1));
            Sent { reply, header_len, body, has_tail }
        },
    )
}

/// Parses everything that was written.
fn parse_all<'a>(mut rest: &'a [u8], account: Option<&'a [u8]>) -> Vec<RouteMessage<'a>> {
    let (mut parser, mut seen) = (RouteParser::default(), Vec::new());
    while !rest.is_empty() {
        match parser.parse(rest, account, &RouteLimits::default()) {
            Ok(RouteParsed::Op { op: RouteOp::Message(message), used }) => {
                seen.push(message);
                rest = &rest[used..];
            }
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(rest)),
        }
    }
    seen
}

proptest! {
    #[test]
    fn encoded_messages_parse_again(
        all in proptest::collection::vec(sent(), 1..6),
        queues in proptest::collection::vec("[a-z+|]{1,5}", 0..4),
        is_pinned in any::<bool>(),
        headers in any::<bool>(),
        is_shared in any::<bool>(),
    ) {
        let mut route = Route::with_headers(is_pinned.then_some("A"), headers);
        let queues: Vec<&[u8]> = queues.iter().map(|queue| queue.as_bytes()).collect();
        // As from a connection, whose input is one piece of memory.
        let inputs: Vec<Vec<u8>> = all.iter().map(Sent::input).collect();
        let input = Bytes::from(inputs.concat());
        let mut at = 0;
        let messages: Vec<Publish<'_>> = inputs
            .iter()
            .map(|one| {
                at += one.len();
                published(&input[at - one.len()..at])
            })
            .collect();
        let (written, bodies) = route.send(&messages, &queues, is_shared.then_some(&input));
        let seen = parse_all(&written, is_pinned.then_some(b"A"));
        prop_assert_eq!(seen.len(), all.len());
        let mut expected_bytes = 0;
        for (seen, sent) in seen.iter().zip(&all) {
            let header_len = sent.header_len.unwrap_or(0);
            let body = if headers { &sent.body[..] } else { &sent.body[header_len..] };
            expected_bytes += body.len() as u64;
            prop_assert_eq!(seen.account, b"A");
            prop_assert_eq!(&seen.queues[..], &queues[..]);
            prop_assert_eq!(seen.message.subject, b"a.b");
            prop_assert_eq!(seen.message.reply, sent.reply.as_bytes());
            prop_assert_eq!(seen.message.body, body);
            let kept = Some(header_len).filter(|len| headers && *len > 0);
            prop_assert_eq!(seen.message.header_len, kept);
            // The receiver copies it in one piece, unless a reply stands apart from the sizes.
            let is_apart = !queues.is_empty() && !sent.reply.is_empty();
            prop_assert_eq!(seen.message.tail.is_some(), !is_apart);
        }
        prop_assert_eq!(bodies, expected_bytes);
    }
}
