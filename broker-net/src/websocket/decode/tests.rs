//! Compares the decoder with a simple one that has all bytes at once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The contents of a stream, independent of its pieces.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    /// Kind, compression, and payload; consecutive pieces are joined.
    Data {
        is_text: bool,
        is_compressed: bool,
        is_last: bool,
        bytes: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
    Fault(Fault),
}

/// Decodes in pieces that end at `cuts`.
fn decoded(mut decoder: Decoder, stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut rest = stream.to_vec();
    let mut pieces = Vec::new();
    for cut in cuts {
        let back = rest.split_off((*cut).min(rest.len()));
        pieces.push(std::mem::replace(&mut rest, back));
    }
    pieces.push(rest);
    for mut piece in pieces {
        let mut at = 0;
        loop {
            match decoder.decode(&mut piece[at..]) {
                Ok(Decoded { used, event }) => {
                    at += used;
                    let Some(event) = event else { break };
                    note(&mut seen, &event);
                }
                Err(fault) => {
                    seen.push(Seen::Fault(fault));
                    return seen;
                }
            }
        }
        assert_eq!(at, piece.len(), "input was left");
    }
    seen
}

fn note(seen: &mut Vec<Seen>, event: &Event<'_>) {
    match event {
        Event::Data(data) => {
            assert!(!data.bytes.is_empty() || data.is_last, "empty data is no event");
            if let Some(Seen::Data { is_last, bytes, .. }) = seen.last_mut()
                && !*is_last
            {
                bytes.extend_from_slice(data.bytes);
                *is_last = data.is_last;
                return;
            }
            seen.push(Seen::Data {
                is_text: data.is_text,
                is_compressed: data.is_compressed,
                is_last: data.is_last,
                bytes: data.bytes.to_vec(),
            });
        }
        Event::Ping(payload) => seen.push(Seen::Ping(payload.to_vec())),
        Event::Pong(payload) => seen.push(Seen::Pong(payload.to_vec())),
        Event::Close(payload) => seen.push(Seen::Close(payload.to_vec())),
    }
}

/// The naive model: decodes frame by frame from the whole stream, following RFC 6455 5.2.
fn model(stream: &[u8], may_be_bare: bool, takes_compressed: bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut at = 0;
    let mut message: Option<(bool, bool)> = None;
    while let [first, second, ..] = stream[at..] {
        let fault = |seen: &mut Vec<Seen>, fault| seen.push(Seen::Fault(fault));
        let (fin, rsv1, opcode) = (first & 128 != 0, first & 64 != 0, first & 15);
        let (masked, short) = (second & 128 != 0, usize::from(second & 127));
        let refused = if first & 0x30 != 0 {
            Some(Fault::ReservedBits)
        } else if rsv1 && !takes_compressed {
            Some(Fault::NotNegotiated)
        } else if !masked && !may_be_bare {
            Some(Fault::NotMasked)
        } else if opcode > 10 || (3..8).contains(&opcode) {
            Some(Fault::UnknownOpcode(opcode))
        } else if opcode >= 8 && short > 125 {
            Some(Fault::ControlTooLong)
        } else if opcode >= 8 && !fin {
            Some(Fault::ControlInPieces)
        } else if opcode >= 8 && rsv1 {
            Some(Fault::ControlCompressed)
        } else if matches!(opcode, 1 | 2) && message.is_some() {
            Some(Fault::MessageInMessage)
        } else if opcode == 0 && (message.is_none() || rsv1) {
            Some(Fault::BadContinuation)
        } else {
            None
        };
        if let Some(refused) = refused {
            fault(&mut seen, refused);
            return seen;
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let start = at + 2 + wide + if masked { 4 } else { 0 };
        if stream.len() < start {
            break;
        }
        let long = stream[at + 2..at + 2 + wide].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let len = if wide == 0 { short as u64 } else { long };
        if len >> 63 == 1 {
            fault(&mut seen, Fault::LengthOverflow);
            return seen;
        }
        if (wide == 2 && len < 126) || (wide == 8 && len < 65536) {
            fault(&mut seen, Fault::LengthNotMinimal);
            return seen;
        }
        let there = (len as usize).min(stream.len() - start);
        let is_whole = there as u64 == len;
        let key = if masked { &stream[start - 4..start] } else { &[0; 4] };
        let payload: Vec<u8> = stream[start..start + there]
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ key[at % 4])
            .collect();
        if opcode < 8 {
            if opcode != 0 {
                message = Some((opcode == 1, rsv1));
            }
            let (is_text, is_compressed) = message.unwrap();
            let is_last = fin && is_whole;
            if is_last {
                message = None;
            }
            if !payload.is_empty() || is_last {
                let bytes = &mut payload.clone()[..];
                note(&mut seen, &Event::Data(Data { bytes, is_text, is_compressed, is_last }));
            }
        }
        if !is_whole {
            break;
        }
        match opcode {
            8 => seen.push(Seen::Close(payload)),
            9 => seen.push(Seen::Ping(payload)),
            10 => seen.push(Seen::Pong(payload)),
            _ => {}
        }
        at = start + there;
    }
    seen
}

fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8], wide: Option<usize>) -> Vec<u8> {
    let mut frame = vec![first];
    let mask = if key.is_some() { 128 } else { 0 };
    let wide = wide.unwrap_or(match payload.len() {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    });
    match wide {
        0 => frame.push(mask | payload.len().min(125) as u8),
        2 => frame.push(mask | 126),
        _ => frame.push(mask | 127),
    }
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes()[8 - wide..]);
    if let Some(key) = key {
        frame.extend_from_slice(&key);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    } else {
        frame.extend_from_slice(payload);
    }
    frame
}

/// Mostly frames in a valid order, sometimes anything.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x82u8), Just(0x81), Just(0x02), Just(0x00), Just(0x80), Just(0xc2)],
        3 => prop_oneof![Just(0x89u8), Just(0x8a), Just(0x88)],
        1 => any::<u8>(),
    ];
    let key = prop_oneof![9 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..10),
        2 => vec(any::<u8>(), 120..130),
        1 => vec(any::<u8>(), 65530..65540),
    ];
    let wide = prop_oneof![20 => Just(None), 1 => prop_oneof![Just(2), Just(8)].prop_map(Some)];
    (first, key, payload, wide)
        .prop_map(|(first, key, payload, wide)| frame(first, key, &payload, wide))
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_the_model_in_pieces_of_any_size(
        frames in vec(any_frame(), 0..8),
        cuts in vec(prop_oneof![3 => 0usize..6, 1 => 0usize..70_000], 0..40),
        may_be_bare: bool,
        takes_compressed: bool,
    ) {
        let stream = frames.concat();
        let decoder = Decoder::new().allow_bare(may_be_bare).allow_compressed(takes_compressed);
        let expected = model(&stream, may_be_bare, takes_compressed);
        prop_assert_eq!(decoded(decoder, &stream, &cuts), expected);
    }

    #[test]
    fn random_bytes_are_decoded_like_the_model(
        stream in vec(any::<u8>(), 0..200),
        cuts in vec(0usize..6, 0..40),
    ) {
        let decoder = Decoder::new().allow_bare(true).allow_compressed(true);
        prop_assert_eq!(decoded(decoder, &stream, &cuts), model(&stream, true, true));
    }
}

#[test]
fn a_stream_of_single_bytes_decodes_alike() {
    let key = Some([1, 2, 3, 4]);
    let stream = [
        frame(0x02, key, b"PU", None),
        frame(0x89, key, b"still there?", None),
        frame(0x00, key, b"", None),
        frame(0x80, key, b"B a 1\r\nx\r\n", None),
        frame(0x88, key, b"\x03\xe8", None),
    ]
    .concat();
    let seen = decoded(Decoder::new(), &stream, &vec![1; stream.len()]);
    let data = |bytes: &[u8], is_last| Seen::Data {
        is_text: false,
        is_compressed: false,
        is_last,
        bytes: bytes.to_vec(),
    };
    assert_eq!(
        seen,
        [
            data(b"PU", false),
            Seen::Ping(b"still there?".to_vec()),
            data(b"B a 1\r\nx\r\n", true),
            Seen::Close(b"\x03\xe8".to_vec()),
        ]
    );
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() < 200, "{}", size_of::<Decoder>());
}

#[test]
fn a_huge_length_is_only_counted() {
    let mut head = *b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0PING\r\n";
    let mut decoder = Decoder::new();
    let Decoded { used, event } = decoder.decode(&mut head).unwrap();
    assert_eq!(used, 20);
    let bytes = &mut b"PING\r\n".to_owned()[..];
    let data = Data { bytes, is_text: false, is_compressed: false, is_last: false };
    assert_eq!(event, Some(Event::Data(data)));
}
