//! Streams and blocks of compressed connections, and what the encoder makes of any bytes.

#![no_main]

use broker_core::transport::CompressionLevel;
use broker_net::s2::{BATCH_BYTES, BLOCK_BYTES, Decoder, Encoder, Fault, IDENTIFIER};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [how, cuts, rest @ ..] = data else { return };
    // Few inputs begin with the identifier by themselves.
    let stream = if how & 1 == 0 { [&IDENTIFIER, rest].concat() } else { rest.to_vec() };
    let whole = decode(&stream, usize::MAX);
    let piece = usize::from(*cuts % 32) + 1;
    assert_eq!(decode(&stream, piece), whole, "in pieces of {piece}");
    block(rest);
    let repeated = rest.repeat(usize::from(how >> 4) + 1);
    for level in [
        CompressionLevel::Uncompressed,
        CompressionLevel::Fast,
        CompressionLevel::Better,
        CompressionLevel::Best,
    ] {
        encode(level, &repeated);
    }
});

/// Decodes a stream that arrives in pieces. Returns the bytes before its end or a fault, and the fault.
fn decode(stream: &[u8], piece: usize) -> (Vec<u8>, Option<Fault>) {
    let (mut decoder, mut decoded, mut kept) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        kept.extend_from_slice(piece);
        loop {
            let next = match decoder.next(&kept) {
                Ok(next) => next,
                Err(fault) => return (decoded, Some(fault)),
            };
            let Some(block) = next.block else {
                assert!(kept.len() - next.used < next.wanted, "nothing is missing");
                kept.drain(..next.used);
                break;
            };
            assert!(block.decoded_len() <= BLOCK_BYTES);
            let begin = decoded.len();
            decoded.resize(begin + block.decoded_len(), 0);
            if let Err(fault) = block.decode(&mut decoded[begin..]) {
                decoded.truncate(begin);
                return (decoded, Some(fault));
            }
            let used = next.used + block.encoded_len();
            kept.drain(..used);
            // A fuzzer must not spend its time on large outputs.
            if decoded.len() > 1 << 20 {
                return (decoded, None);
            }
        }
    }
    (decoded, None)
}

/// Decodes the input as one block, and byte by byte. The checksum, which no input guesses, is checked last.
fn block(data: &[u8]) {
    let Some((len, steps)) = length(data) else { return };
    if len > 1 << 16 {
        return;
    }
    let chunk_len = ((data.len() + 4) as u32).to_le_bytes();
    let stream = [&IDENTIFIER[..], &[0], &chunk_len[..3], &[0; 4], data].concat();
    let next = Decoder::default().next(&stream).expect("the lengths are right");
    let block = next.block.expect("it is complete");
    assert_eq!(block.decoded_len(), len);
    let mut decoded = vec![0; len];
    match (block.decode(&mut decoded), byte_by_byte(steps, len)) {
        (Ok(()) | Err(Fault::Checksum), Some(expected)) => assert_eq!(decoded, expected),
        (Err(Fault::Corrupt), None) => {}
        (found, expected) => panic!("{found:?}, and {:?}", expected.is_some()),
    }
}

fn length(data: &[u8]) -> Option<(usize, &[u8])> {
    let end = data.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let digits = data[..end].iter().rev();
    let len = digits.fold(0u64, |len, byte| len << 7 | u64::from(byte & 0x7f));
    (len <= BLOCK_BYTES as u64).then_some((len as usize, &data[end..]))
}

/// The format in its simplest form; `None` if the input violates it.
fn byte_by_byte(steps: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut steps = steps.iter().copied();
    let mut number = |bytes: usize| {
        (0..bytes).try_fold(0, |number, at| Some(number | usize::from(steps.next()?) << (8 * at)))
    };
    let (mut decoded, mut offset) = (Vec::new(), 0);
    while let Some(tag) = number(1) {
        let upper = tag >> 2;
        if tag & 3 == 0 {
            let len_less_one = if upper < 60 { upper } else { number(upper - 59)? };
            for _ in 0..=len_less_one {
                decoded.push(number(1)? as u8);
                (decoded.len() <= len).then_some(())?;
            }
            continue;
        }
        let count = match tag & 3 {
            1 => {
                let (near, short) = ((upper >> 3) << 8 | number(1)?, upper & 7);
                match short {
                    _ if near > 0 => {
                        offset = near;
                        4 + short
                    }
                    5 => 8 + number(1)?,
                    6 => 4 + 256 + number(2)?,
                    7 => 4 + 65536 + number(3)?,
                    _ => 4 + short,
                }
            }
            2 => {
                offset = number(2)?;
                1 + upper
            }
            _ => {
                offset = number(4)?;
                1 + upper
            }
        };
        if offset == 0 || decoded.len() + count > len {
            return None;
        }
        for _ in 0..count {
            decoded.push(decoded[decoded.len().checked_sub(offset)?]);
        }
    }
    (decoded.len() == len).then_some(decoded)
}

/// Encodes bytes, which must come back and not grow by more than the heads of their chunks.
fn encode(level: CompressionLevel, bytes: &[u8]) {
    let mut stream = IDENTIFIER.to_vec();
    let mut encoder = Encoder::default();
    for block in bytes.chunks(BATCH_BYTES) {
        encoder.append(level, block, &mut stream);
    }
    assert!(stream.len() <= IDENTIFIER.len() + bytes.len() + 8 * bytes.len().div_ceil(BATCH_BYTES));
    assert!(decode(&stream, usize::MAX) == (bytes.to_vec(), None));
}
