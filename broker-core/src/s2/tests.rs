//! The codec against streams of the Go library, against a model, and with damaged input.

use crate::transport::CompressionLevel;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LEVELS: [CompressionLevel; 4] = [
    CompressionLevel::Uncompressed,
    CompressionLevel::Fast,
    CompressionLevel::Better,
    CompressionLevel::Best,
];

// Streams that klauspost/compress 1.19.2 has written, at its three levels, as Snappy, and with padding.

const SUBS_FAST: &str = "ff06000053327354774f00a100003e3f348582044c52532b202447206f72646572732e302e65750d0a36140000311500\
    0b003415000b003915000b0431364a150004323515000b00334e2a0004343915000b00364e7d0000384ea60004313052\
    d0000032522c0004343415000c00364e82000431394ead00003252d800043235522c0004383915000b0433324e840004\
    33364eb000003452dc0004343415000c0434384e58001c3532392e65750d0a";

const SUBS_BETTER: &str = "ff06000053327354774f009e00003e3f348582044c52532b202447206f72646572732e302e65750d0a36140000311500\
    0b003415000b003915000b0431364a150004323515000b00334e2a0000344e540000364e7d0000384ea60004313052d0\
    000032522c0000344e57000431364e82000431394ead00003252d800043235522c0000384e58000433324e8400043336\
    4eb000003452dc00043434522c0000384e58001c3532392e65750d0a";

const SUBS_BEST: &str = "ff06000053327354774f009a00003e3f348582044c52532b202447206f72646572732e302e65750d0a36140000311500\
    0b003415000b00394e3c0000364a51000432354a150000334e2a0000344e540000364e7d0000384ea60004313052d000\
    0032522c0000344e570004313652d600003952d70052d800043235522c0000384e58000433324e84000433364eb00000\
    3452dc00043434522c0000384e58001c3532392e65750d0a";

const SUBS_SNAPPY: &str = "ff060000734e6150705900a100003e3f348582044c52532b202447206f72646572732e302e65750d0a36140000314a14\
    0000344a140000394a14000431364a15000432354a150000334e2a000434394a2a0000364e7d0000384ea60004313052\
    d0000032522c000434344e2c0000364e82000431394ead00003252d800043235522c000438394a2c000433324e840004\
    33364eb000003452dc000434344edc000434384e58001c3532392e65750d0a";

const PING_UNCOMPRESSED: &str = "ff06000053327354774f010a0000ab90cc2450494e470d0a";

const PING_PADDED: &str = "ff06000053327354774f010a0000ab90cc2450494e470d0afe240000b491861cccafb7aa9b4be85cd383178c4cd3c142\
    b91ab125d0f3378d5cf19ef1bbeae078";

const RUN_FAST: &str = "ff06000053327354774f00100000b822bc24a08d06006111011d00938600";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks().0.iter();
    digits
        .map(|[a, b]| u8::from_str_radix(&format!("{}{}", *a as char, *b as char), 16).unwrap())
        .collect()
}

fn subscriptions() -> Vec<u8> {
    (0..24).flat_map(|n| format!("RS+ $G orders.{}.eu\r\n", n * n).into_bytes()).collect()
}

/// Decodes a stream of which each chunk is seen only once it is complete.
fn decode(stream: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut decoder = Decoder::default();
    let mut decoded = Vec::new();
    let mut at = 0;
    for end in 0..=stream.len() {
        loop {
            let next = decoder.next(&stream[at..end])?;
            at += next.used;
            let Some(block) = next.block else {
                assert!(end - at < next.wanted);
                break;
            };
            let begin = decoded.len();
            decoded.resize(begin + block.decoded_len(), 0xee);
            block.decode(&mut decoded[begin..])?;
            at += block.encoded_len();
        }
    }
    if at == stream.len() { Ok(decoded) } else { Err(Fault::Corrupt) }
}

/// Encodes blocks of a length.
fn encode(level: CompressionLevel, bytes: &[u8], len: usize, encoder: &mut Encoder) -> Vec<u8> {
    let mut stream = IDENTIFIER.to_vec();
    for block in bytes.chunks(len) {
        encoder.append(level, block, &mut stream);
    }
    stream
}

/// Makes a chunk of a compressed block.
fn chunk(block: &[u8], decoded: &[u8]) -> Vec<u8> {
    let mut data = checksum::of(decoded).to_le_bytes().to_vec();
    block::put_len(decoded.len(), &mut data);
    data.extend_from_slice(block);
    raw_chunk(kind::COMPRESSED, &data)
}

fn raw_chunk(kind: u8, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u32).to_le_bytes();
    [&[kind], &len[..3], data].concat()
}

fn stream_of(chunks: &[Vec<u8>]) -> Vec<u8> {
    [&IDENTIFIER, &chunks.concat()[..]].concat()
}

#[test]
fn streams_of_the_go_library_are_decoded() {
    for (stream, decoded) in [
        (SUBS_FAST, subscriptions()),
        (SUBS_BETTER, subscriptions()),
        (SUBS_BEST, subscriptions()),
        (SUBS_SNAPPY, subscriptions()),
        (PING_UNCOMPRESSED, b"PING\r\n".to_vec()),
        (PING_PADDED, b"PING\r\n".to_vec()),
        (RUN_FAST, vec![b'a'; 100_000]),
    ] {
        assert_eq!(decode(&bytes_of(stream)).unwrap(), decoded);
        // nats-server begins a new stream with each flush.
        let twice = bytes_of(stream).repeat(2);
        assert_eq!(decode(&twice).unwrap(), decoded.repeat(2));
    }
}

#[test]
fn short_blocks_are_encoded_as_the_go_library_does() {
    for level in LEVELS {
        let stream = encode(level, b"PING\r\n", BATCH_BYTES, &mut Encoder::default());
        assert_eq!(stream, bytes_of(PING_UNCOMPRESSED));
    }
}

#[test]
fn levels_differ_in_size() {
    // Words in an order without a pattern.
    let words = ["orders", "customer", "eu", "shipped", "invoice", "42", "warehouse", "us"];
    let mut seed = 1u32;
    let mut text = Vec::new();
    while text.len() < 4 * BATCH_BYTES {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(seed >> 29) as usize].as_bytes());
        text.push(b'.');
    }
    let mut encoder = Encoder::default();
    let sizes = LEVELS.map(|level| {
        let stream = encode(level, &text, BATCH_BYTES, &mut encoder);
        assert_eq!(decode_whole(&stream), text);
        stream.len()
    });
    assert!(sizes.is_sorted_by(|larger, smaller| larger > smaller), "{sizes:?}");
    assert!(sizes[1] < text.len() / 2, "{sizes:?}");
}

/// Decodes a long stream at once.
fn decode_whole(stream: &[u8]) -> Vec<u8> {
    let (mut decoder, mut decoded, mut rest) = (Decoder::default(), Vec::new(), stream);
    loop {
        let next = decoder.next(rest).unwrap();
        let Some(block) = next.block else { return decoded };
        let begin = decoded.len();
        decoded.resize(begin + block.decoded_len(), 0);
        block.decode(&mut decoded[begin..]).unwrap();
        rest = &rest[next.used + block.encoded_len()..];
    }
}

#[test]
fn bytes_without_a_pattern_grow_by_the_heads_only() {
    let mut seed = 7u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(2 * BATCH_BYTES)
    .collect();
    for level in LEVELS {
        let stream = encode(level, &noise, BATCH_BYTES, &mut Encoder::default());
        assert_eq!(stream.len(), IDENTIFIER.len() + noise.len() + 2 * 8);
        assert_eq!(decode_whole(&stream), noise);
    }
}

#[test]
fn the_longest_runs_and_blocks_survive() {
    let mut encoder = Encoder::default();
    for level in LEVELS {
        for len in [1, 31, 32, 33, 64, 65, 66, 70, 260, 264, 300, BATCH_BYTES - 1, BATCH_BYTES] {
            let run = vec![b'x'; len];
            assert_eq!(decode_whole(&encode(level, &run, BATCH_BYTES, &mut encoder)), run, "{len}");
        }
    }
    let run = vec![b'x'; BATCH_BYTES];
    assert!(encode(CompressionLevel::Fast, &run, BATCH_BYTES, &mut encoder).len() < 40);
}

#[test]
#[should_panic(expected = "a block is too long")]
fn longer_blocks_than_the_encoder_takes_are_a_fault_of_its_caller() {
    let block = vec![0; BATCH_BYTES + 1];
    Encoder::default().append(CompressionLevel::Fast, &block, &mut Vec::new());
}

#[test]
fn chunks_that_need_not_be_known_are_skipped() {
    let hello = chunk(b"\x10hello", b"hello");
    for kind in [0x80, 0x99, 0xfd, 0xfe] {
        for len in [0, 1, 100_000] {
            let skipped = raw_chunk(kind, &vec![0xff; len]);
            let stream = stream_of(&[skipped.clone(), hello.clone(), skipped]);
            assert_eq!(decode(&stream).unwrap(), b"hello");
        }
    }
    // Nothing of them is kept.
    let mut decoder = Decoder::default();
    let begin = [&IDENTIFIER[..], b"\xfe\xff\xff\xff"].concat();
    assert_eq!(decoder.next(&begin).unwrap().used, begin.len());
    assert!(decoder.is_within_chunk());
    assert_eq!(decoder.next(&[0; 1000]).unwrap().used, 1000);
}

#[test]
fn what_violates_the_format_is_refused() {
    let hello = chunk(b"\x10hello", b"hello");
    let mut damaged = hello.clone();
    damaged[4] ^= 1;
    let mut damaged_text = hello.clone();
    *damaged_text.last_mut().unwrap() ^= 1;
    let uncompressed = |len: usize| raw_chunk(kind::UNCOMPRESSED, &vec![0; len]);
    let snappy =
        |len| [&b"\xff\x06\0\0sNaPpY"[..], &chunk(b"\x00a\x05\x01", &vec![b'a'; len])].concat();
    for (stream, fault) in [
        // No identifier, or another one.
        (hello, Fault::Corrupt),
        (raw_chunk(0xfe, b""), Fault::Corrupt),
        (raw_chunk(0xff, b"S2sTwo"), Fault::Corrupt),
        (raw_chunk(0xff, b"S2sTwOO"), Fault::Corrupt),
        // Unknown chunks.
        (stream_of(&[raw_chunk(0x02, b"")]), Fault::Unsupported),
        (stream_of(&[raw_chunk(0x7f, b"1234")]), Fault::Unsupported),
        // Checksums.
        (stream_of(&[damaged]), Fault::Checksum),
        (stream_of(&[damaged_text]), Fault::Checksum),
        (stream_of(&[raw_chunk(kind::UNCOMPRESSED, b"\0\0\0\0a")]), Fault::Checksum),
        // Lengths.
        (stream_of(&[uncompressed(3)]), Fault::Corrupt),
        (stream_of(&[uncompressed(BLOCK_BYTES + 5)]), Fault::Corrupt),
        (stream_of(&[raw_chunk(kind::COMPRESSED, b"1234")]), Fault::Corrupt),
        (stream_of(&[raw_chunk(kind::COMPRESSED, b"1234\xff\xff\xff\xff\xff")]), Fault::Corrupt),
        (stream_of(&[raw_chunk(kind::COMPRESSED, b"1234\x81\x80\x80\x02\0")]), Fault::Corrupt),
        (snappy((64 << 10) + 1), Fault::Corrupt),
        // Literals and copies.
        (stream_of(&[chunk(b"\x14hello", b"hello")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x0chello", b"hello")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x10hello", b"hell")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x10hello", b"hello!")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\xfc\xff\xff\xff\xffhello", b"hello")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\xf4", b"hello")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x00a\x01\x02", b"aaaaa")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x00a\x01", b"aaaaa")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x00a\x0e\0\0", b"aaaaa")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x00a\x0f\x01\0\0\x80", b"aaaaa")]), Fault::Corrupt),
        (stream_of(&[chunk(b"\x00a\x12\x01\0", b"aaaaa")]), Fault::Corrupt),
        // A repeated copy where there was none.
        (stream_of(&[chunk(b"\x00a\x01\0", b"aaaaa")]), Fault::Corrupt),
    ] {
        let found = decode(&stream);
        assert_eq!(found.as_ref().err(), Some(&fault), "{:?}", &stream[..stream.len().min(40)]);
    }
}

#[test]
fn a_chunk_that_is_too_long_is_refused_before_its_data_arrive() {
    let mut decoder = Decoder::default();
    let begin = [&IDENTIFIER[..], b"\x00\x0d\x00\x40"].concat();
    assert_eq!(decoder.next(&begin).unwrap_err(), Fault::Corrupt);
    let begin = [&IDENTIFIER[..], b"\x00\x0c\x00\x40"].concat();
    assert_eq!(Decoder::default().next(&begin).unwrap().wanted, BLOCK_BYTES + 16);
}

#[test]
fn the_largest_block_is_decoded() {
    let len = BLOCK_BYTES;
    // A byte, and a copy of the others with the longest form of a length.
    let [low, middle, high, ..] = (len - 1 - 4 - 65536 - 4).to_le_bytes();
    let block = [0, b'z', 0x01, 0x01, 0x1d, 0x00, low, middle, high];
    let stream = stream_of(&[chunk(&block, &vec![b'z'; len])]);
    assert_eq!(decode_whole(&stream), vec![b'z'; len]);
}

/// A literal or a copy.
#[derive(Clone, Debug)]
enum Step {
    Literal(Vec<u8>),
    /// A copy of one of the forms, from an offset of at most so many bytes.
    Copy {
        form: u8,
        offset: usize,
        len: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let literal = vec(any::<u8>(), 1..80).prop_map(Step::Literal);
    let long_literal = (1..70_000usize, any::<u8>())
        .prop_map(|(len, byte)| Step::Literal((0..len).map(|at| byte ^ at as u8).collect()));
    let copy = (1..9u8, 1..70_000usize, 1..70_000usize)
        .prop_map(|(form, offset, len)| Step::Copy { form, offset, len });
    let near_copy = (1..9u8, 1..40usize, 1..70usize).prop_map(|(form, offset, len)| Step::Copy {
        form,
        offset,
        len,
    });
    prop_oneof![10 => literal, 1 => long_literal, 5 => copy, 20 => near_copy]
}

/// Encodes steps, and applies them byte by byte.
fn apply(steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
    let (mut block, mut decoded, mut last) = (Vec::new(), Vec::new(), 0);
    for step in steps {
        match step {
            Step::Literal(bytes) => {
                let len = (bytes.len() - 1).to_le_bytes();
                match bytes.len() {
                    ..61 => block.push((len[0]) << 2),
                    61..257 => block.extend_from_slice(&[60 << 2, len[0]]),
                    257..=60_000 => block.extend_from_slice(&[61 << 2, len[0], len[1]]),
                    60_001..=65_000 => block.extend_from_slice(&[62 << 2, len[0], len[1], len[2]]),
                    _ => block.extend_from_slice(&[63 << 2, len[0], len[1], len[2], len[3]]),
                }
                block.extend_from_slice(bytes);
                decoded.extend_from_slice(bytes);
            }
            Step::Copy { .. } if decoded.is_empty() => {}
            Step::Copy { form, offset, len } => {
                let mut offset = (*offset).min(decoded.len());
                let mut len = *len;
                match form {
                    1 | 2 => {
                        offset = offset.min(2047);
                        len = 4 + len % 8;
                        let [low, high, ..] = offset.to_le_bytes();
                        block.extend_from_slice(&[high << 5 | ((len - 4) as u8) << 2 | 1, low]);
                    }
                    3 | 4 => {
                        offset = offset.min(65_535);
                        len = 1 + len % 64;
                        let [low, high, ..] = offset.to_le_bytes();
                        block.extend_from_slice(&[((len - 1) as u8) << 2 | 2, low, high]);
                    }
                    5 => {
                        len = 1 + len % 64;
                        let [a, b, c, d, ..] = offset.to_le_bytes();
                        block.extend_from_slice(&[((len - 1) as u8) << 2 | 3, a, b, c, d]);
                    }
                    _ if last == 0 => continue,
                    _ => {
                        offset = last;
                        match len {
                            ..=8 => {
                                len = len.max(4);
                                block.extend_from_slice(&[((len - 4) as u8) << 2 | 1, 0]);
                            }
                            9..264 => block.extend_from_slice(&[5 << 2 | 1, 0, (len - 8) as u8]),
                            264..65_536 => {
                                let [low, high, ..] = (len - 260).to_le_bytes();
                                block.extend_from_slice(&[6 << 2 | 1, 0, low, high]);
                            }
                            _ => {
                                len = len.max(65_540);
                                let [low, middle, high, ..] = (len - 65_540).to_le_bytes();
                                block.extend_from_slice(&[7 << 2 | 1, 0, low, middle, high]);
                            }
                        }
                    }
                }
                last = offset;
                for _ in 0..len {
                    decoded.push(decoded[decoded.len() - offset]);
                }
            }
        }
    }
    (block, decoded)
}

/// Bytes of which parts repeat, near and far, with small differences.
fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let part = vec(prop_oneof![3 => b'a'..b'e', 1 => any::<u8>()], 1..200);
    (vec(part, 1..12), vec((0..12usize, 1..60usize, any::<u8>()), 0..120)).prop_map(
        |(parts, picks)| {
            let mut bytes = Vec::new();
            for (pick, times, changed) in picks {
                let part = &parts[pick % parts.len()];
                for _ in 0..times / 10 + 1 {
                    bytes.extend_from_slice(part);
                }
                if let Some(last) = bytes.last_mut() {
                    *last = changed;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn any_literals_and_copies_are_decoded_as_byte_by_byte(steps in vec(step(), 0..40)) {
        let (block, decoded) = apply(&steps);
        prop_assume!(decoded.len() <= BLOCK_BYTES);
        prop_assert_eq!(decode_whole(&stream_of(&[chunk(&block, &decoded)])), decoded);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        bytes in prop_oneof![repetitive(), vec(any::<u8>(), 0..2000)],
        len in prop_oneof![1..200usize, Just(BATCH_BYTES)],
    ) {
        let mut encoder = Encoder::default();
        for level in LEVELS {
            let stream = encode(level, &bytes, len, &mut encoder);
            prop_assert_eq!(decode_whole(&stream), &bytes[..]);
            let heads = bytes.len().div_ceil(len) * 8;
            prop_assert!(stream.len() <= IDENTIFIER.len() + bytes.len() + heads);
        }
    }

    #[test]
    fn blocks_do_not_depend_on_those_before(bytes in repetitive(), other in repetitive()) {
        for level in LEVELS {
            let mut used = Encoder::default();
            encode(level, &other, BATCH_BYTES, &mut used);
            prop_assert_eq!(
                encode(level, &bytes, BATCH_BYTES, &mut used),
                encode(level, &bytes, BATCH_BYTES, &mut Encoder::default())
            );
        }
    }

    #[test]
    fn damaged_streams_end_with_a_fault_or_other_bytes(
        bytes in repetitive(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for level in LEVELS {
            let mut stream = encode(level, &bytes, 500, &mut Encoder::default());
            for (at, byte) in &changes {
                let at = at.index(stream.len());
                stream[at] = *byte;
            }
            let end = cut.index(stream.len()) + 1;
            let mut decoder = Decoder::default();
            let mut at = 0;
            while let Ok(next) = decoder.next(&stream[at..end]) {
                let Some(block) = next.block else { break };
                let mut decoded = vec![0; block.decoded_len()];
                if block.decode(&mut decoded).is_err() {
                    break;
                }
                at += next.used + block.encoded_len();
            }
        }
    }

    #[test]
    fn arbitrary_blocks_do_not_panic(data in vec(any::<u8>(), 0..100), len in 0..300usize) {
        let _ = block::decode(&data, &mut vec![0; len]);
    }
}
