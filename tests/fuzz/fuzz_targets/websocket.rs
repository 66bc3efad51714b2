//! A WebSocket client that sends arbitrary frames, cut anywhere.

#![no_main]

use broker_net::websocket::{
    self, Client, CloseFrame, Decoder, Event, HEAD_BYTES, Inflate, InflateError, Rules,
    WAITING_BYTES,
};
use libfuzzer_sys::fuzz_target;

/// Maximum total size of this client's messages.
const MESSAGE_BYTES: u64 = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let [how, cuts, rest @ ..] = data else { return };
    request(rest, *how);
    let whole = listen(rest, *how, usize::MAX);
    let piece = usize::from(*cuts % 32) + 1;
    assert_eq!(listen(rest, *how, piece), whole, "in pieces of {piece}");
});

fn request(bytes: &[u8], how: u8) {
    let mut rules = Rules { same_origin: how & 1 != 0, compression: true, ..Rules::default() };
    if how & 2 != 0 {
        rules.allowed_origins.add("https://example.com").expect("it is one");
    }
    rules.cookies.jwt = "jwt".to_owned();
    match websocket::parse(bytes, &rules) {
        Ok(Some(parsed)) => {
            assert!(parsed.used <= bytes.len() && parsed.used <= HEAD_BYTES);
            let part = websocket::parse(&bytes[..parsed.used - 1], &rules);
            assert!(matches!(part, Ok(None)), "its last byte is needed");
            answer(&parsed.client);
        }
        Ok(None) => assert!(bytes.len() < HEAD_BYTES),
        Err(refusal) => {
            let answer = websocket::refuse(&refusal);
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"));
        }
    }
}

fn answer(client: &Client) {
    let answer = websocket::accept(client, &websocket::ExtraHeaders::default());
    let head = answer.strip_suffix(b"\r\n\r\n").expect("it ends");
    assert!(!head.windows(4).any(|four| four == b"\r\n\r\n"), "nothing ends it before");
    assert_eq!(client.accept_key.len(), 28);
}

/// The decoded frames: payloads and control frames in order, and the end.
#[derive(Debug, Default, Eq, PartialEq)]
struct Received {
    text: Vec<u8>,
    control: Vec<(u8, Vec<u8>)>,
    messages: usize,
    end: Option<String>,
}

fn listen(bytes: &[u8], how: u8, piece: usize) -> Received {
    let mut received = Received::default();
    let mut decoder = Decoder::new().allow_bare(how & 4 != 0).allow_compressed(how & 8 != 0);
    let mut inflate = Inflate::new(MESSAGE_BYTES);
    let may_be_long = how & 16 != 0;
    let mut bytes = bytes.to_vec();
    for piece in bytes.chunks_mut(piece.min(1 << 20)) {
        let mut at = 0;
        loop {
            let decoded = match decoder.decode(&mut piece[at..]) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    received.end = Some(fault.to_string());
                    return received;
                }
            };
            at += decoded.used;
            let Some(event) = decoded.event else { break };
            if let Err(end) = hear(&mut received, event, &mut inflate, may_be_long) {
                received.end = Some(end);
                return received;
            }
        }
        assert_eq!(at, piece.len());
    }
    received
}

fn hear(
    received: &mut Received,
    event: Event<'_>,
    inflate: &mut Inflate,
    may_be_long: bool,
) -> Result<(), String> {
    match event {
        Event::Ping(payload) => received.control.push((9, payload.to_vec())),
        Event::Pong(payload) => received.control.push((10, payload.to_vec())),
        Event::Close(payload) => {
            let answer = websocket::answer_to_close(payload);
            let answer = answer.unwrap_or_else(|fault| CloseFrame::for_fault(&fault));
            let mut frame = Vec::new();
            answer.encode(&mut frame);
            assert!(frame.len() <= 127);
            return Err(format!("{answer:?}"));
        }
        Event::Data(data) => {
            received.messages += usize::from(data.is_last);
            if !data.is_compressed {
                received.text.extend_from_slice(data.bytes);
                return Ok(());
            }
            if let Err(error) =
                unpack(&mut received.text, inflate, data.bytes, data.is_last, may_be_long)
            {
                // The amount decoded before the error depends on the pieces.
                received.text.clear();
                return Err(error.to_string());
            }
        }
    }
    Ok(())
}

fn unpack(
    text: &mut Vec<u8>,
    inflate: &mut Inflate,
    bytes: &[u8],
    is_last: bool,
    may_be_long: bool,
) -> Result<(), InflateError> {
    let before = text.len() as u64;
    inflate.push(bytes, is_last, may_be_long)?;
    assert!(may_be_long || inflate.held_bytes() <= 2 * WAITING_BYTES + bytes.len());
    let mut room = [0; 1000];
    while inflate.is_ready() {
        let len = inflate.pull(&mut room)?;
        text.extend_from_slice(&room[..len]);
        assert!(text.len() as u64 - before <= MESSAGE_BYTES);
    }
    assert!(!is_last || (inflate.held_bytes() == 0 && !inflate.holds_decompressor()));
    Ok(())
}
