//! The layer over a transport that takes and gives as little as a test configures.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::s2::{BATCH_BYTES, BLOCK_BYTES, Decoder, Encoder, IDENTIFIER};

const LEVELS: [CompressionLevel; 4] = [
    CompressionLevel::Uncompressed,
    CompressionLevel::Fast,
    CompressionLevel::Better,
    CompressionLevel::Best,
];

/// Returns configured input piece by piece, and takes the configured number of bytes at a time.
#[derive(Default)]
struct Wire {
    pieces: Mutex<VecDeque<Vec<u8>>>,
    taken: Mutex<Vec<u8>>,
    /// Bytes taken by each write; 0 blocks. Afterwards everything is taken.
    takes: Mutex<VecDeque<usize>>,
    writes: AtomicUsize,
    has_ended: bool,
}

impl Transport for Wire {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if lock(&self.pieces).is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut pieces = lock(&self.pieces);
        let Some(mut piece) = pieces.pop_front() else {
            return if self.has_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        let rest = piece.split_off(piece.len().min(room.len()));
        if !rest.is_empty() {
            pieces.push_front(rest);
        }
        room[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes.fetch_add(1, Relaxed);
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let most = lock(&self.takes).pop_front().unwrap_or(usize::MAX);
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = bytes.len().min(most);
        lock(&self.taken).extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn shut_down_write(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

type Layer = CompressedTransport<Wire>;

/// A layer in its compressed part that will read the given pieces.
fn reading(pieces: impl IntoIterator<Item = Vec<u8>>) -> Layer {
    let layer = CompressedTransport::new(Wire::default());
    layer.below.pieces.lock().unwrap().extend(pieces);
    layer.begin(CompressionLevel::Fast, &[]);
    layer
}

/// Reads until nothing more is available, as the task of a connection would.
fn read_all(layer: &Layer, room: usize) -> io::Result<Vec<u8>> {
    let (mut data, mut room) = (Vec::new(), vec![0; room]);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let is_ready = layer.poll_read_ready(&mut cx).is_ready();
        match layer.try_read(&mut room) {
            Ok(0) => return Ok(data),
            Ok(len) => {
                assert!(is_ready, "read without being ready");
                data.extend_from_slice(&room[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(!is_ready, "ready without anything to read");
                return Ok(data);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes all bytes in pieces of a length, as a byte queue would, and returns what arrives below.
fn write_all(layer: &Layer, bytes: &[u8], len: usize) -> Vec<u8> {
    let mut rest = bytes;
    let mut cx = Context::from_waker(Waker::noop());
    while !rest.is_empty() {
        let pieces: Vec<IoSlice<'_>> = rest.chunks(len).take(64).map(IoSlice::new).collect();
        match layer.try_write(&pieces) {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        // After some attempts the layer yields.
        while layer.poll_write_ready(&mut cx).is_pending() {}
    }
    while layer.poll_unsent(&mut cx).is_pending() {}
    assert_eq!(layer.outgoing.held_bytes(), 0);
    layer.below.taken.lock().unwrap().clone()
}

fn encode(level: CompressionLevel, bytes: &[u8], len: usize) -> Vec<u8> {
    let mut stream = IDENTIFIER.to_vec();
    let mut encoder = Encoder::default();
    bytes.chunks(len).for_each(|block| encoder.append(level, block, &mut stream));
    stream
}

/// An uncompressed chunk, which may be larger than those that the encoder makes.
fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    [&crate::s2::uncompressed_head(&[IoSlice::new(bytes)])[..], bytes].concat()
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b"RS+ $G orders.eu\r\n"[at % 18] ^ (at / 700) as u8).collect()
}

/// Returns the error's text.
fn fault(result: io::Result<Vec<u8>>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn before_compression_all_bytes_pass_unchanged() {
    let layer = CompressedTransport::new(Wire::default());
    layer.below.pieces.lock().unwrap().push_back(b"INFO {}\r\n".to_vec());
    assert!(!layer.compression().unwrap().has_begun());
    assert_eq!(read_all(&layer, 100).unwrap(), b"INFO {}\r\n");
    assert_eq!(write_all(&layer, b"INFO {}\r\n", 4), b"INFO {}\r\n");
    assert_eq!(layer.held_bytes(), 0);
}

#[test]
fn each_direction_continues_compressed_where_it_is_switched() {
    for level in LEVELS {
        let layer = CompressedTransport::new(Wire::default());
        write_all(&layer, b"INFO {}\r\n", 100);
        let stream = encode(level, b"PING\r\n", 100);
        // A part of the peer's stream has arrived behind its INFO.
        let (received, rest) = stream.split_at(13);
        layer.below.pieces.lock().unwrap().push_back(rest.to_vec());
        let compression = layer.compression().unwrap();
        compression.begin(level, received);
        assert!(compression.has_begun());
        assert_eq!(read_all(&layer, 100).unwrap(), b"PING\r\n");
        let sent = write_all(&layer, b"PONG\r\n", 2);
        assert_eq!(sent[9..], encode(level, b"PONG\r\n", 100));
    }
}

#[test]
fn a_stream_that_was_read_before_is_ready() {
    let layer = CompressedTransport::new(Wire::default());
    layer.begin(CompressionLevel::Fast, &encode(CompressionLevel::Fast, &text(5000), 1000));
    assert_eq!(read_all(&layer, 700).unwrap(), text(5000));
    assert_eq!(layer.held_bytes(), 0);
}

#[test]
fn each_write_leaves_at_once() {
    let layer = reading([]);
    for (at, level) in LEVELS.iter().cycle().take(8).enumerate() {
        layer.set_level(*level);
        let before = layer.below.taken.lock().unwrap().len();
        assert_eq!(layer.try_write(&[IoSlice::new(b"PING\r\n")]).unwrap(), 6);
        let sent = layer.below.taken.lock().unwrap().len() - before;
        // Only the first begins with the identifier.
        assert_eq!(sent, if at == 0 { 10 + 8 + 6 } else { 8 + 6 });
        assert_eq!(layer.below.writes.load(Relaxed), at + 1);
    }
}

#[test]
fn the_level_changes_between_two_chunks() {
    let layer = reading([]);
    let mut sent = Vec::new();
    let mut all = Vec::new();
    for level in LEVELS.iter().rev().chain(&LEVELS) {
        layer.set_level(*level);
        all.extend_from_slice(&text(3000));
        sent = write_all(&layer, &text(3000), 500);
    }
    assert_eq!(read_all(&reading([sent]), 1 << 18).unwrap(), all);
}

#[test]
fn a_large_write_takes_few_system_calls() {
    for (level, most) in [(CompressionLevel::Uncompressed, 1), (CompressionLevel::Fast, 2)] {
        let layer = reading([]);
        layer.set_level(level);
        let bytes = text(1 << 20);
        write_all(&layer, &bytes, bytes.len() / 40);
        assert!(layer.below.writes.load(Relaxed) <= most, "{level:?}");
    }
}

#[test]
fn bytes_that_were_left_go_first_and_wake_the_task() {
    for level in LEVELS {
        let layer = reading([]);
        layer.set_level(level);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(layer.poll_unsent(&mut cx).is_ready());
        // Less than the head.
        layer.below.takes.lock().unwrap().extend([5, 0, 0]);
        let bytes = text(100);
        let taken = layer.try_write(&[IoSlice::new(&bytes)]).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        });
        assert_eq!(woken.0.load(Relaxed), 1, "{level:?}");
        let more = layer.try_write(&[IoSlice::new(&bytes)]);
        assert_eq!(more.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let sent = write_all(&layer, &bytes[taken.unwrap()..], 100);
        assert_eq!(read_all(&reading([sent]), 100).unwrap(), bytes);
    }
}

#[test]
fn a_peer_that_does_not_read_holds_little() {
    for level in LEVELS {
        let layer = reading([]);
        layer.set_level(level);
        layer.below.takes.lock().unwrap().extend([1, 0, 0, 0]);
        let mut seed = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(1 << 20)
        .collect();
        let taken = layer.try_write(&[IoSlice::new(&noise)]).unwrap_or(0);
        assert!(taken <= 2 * BATCH_BYTES, "{level:?}: {taken}");
        assert!(layer.held_bytes() <= 2 * BATCH_BYTES + 100, "{level:?}: {}", layer.held_bytes());
    }
}

#[test]
fn chunks_without_data_are_no_end() {
    let padding = b"\xfe\x02\0\0ab".to_vec();
    let empty = [uncompressed(b""), b"\x00\x05\0\0\xd8\xea\x82\xa2\0".to_vec()].concat();
    let layer = reading([IDENTIFIER.to_vec(), padding, empty, uncompressed(b"PING\r\n")]);
    let mut room = [0; 100];
    for _ in 0..3 {
        let error = layer.try_read(&mut room).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
    assert_eq!(read_all(&layer, 100).unwrap(), b"PING\r\n");
}

#[test]
fn an_idle_connection_holds_nothing() {
    for level in LEVELS {
        let bytes = text(300_000);
        for stream in [encode(level, &bytes, BATCH_BYTES), {
            [&IDENTIFIER[..], &uncompressed(&bytes)].concat()
        }] {
            let layer = reading(stream.chunks(10_000).map(<[u8]>::to_vec));
            assert!(read_all(&layer, 1 << 18).unwrap() == bytes);
            assert_eq!(layer.held_bytes(), 0);
        }
    }
}

#[test]
fn memory_grows_with_what_has_arrived_and_not_with_what_is_declared() {
    let layer = reading([IDENTIFIER.to_vec()]);
    let chunk = uncompressed(&vec![7; BLOCK_BYTES]);
    let mut arrived = 0;
    for piece in chunk.chunks(50_000) {
        layer.below.pieces.lock().unwrap().push_back(piece.to_vec());
        arrived += piece.len();
        if arrived < chunk.len() {
            assert!(read_all(&layer, 1 << 18).unwrap().is_empty());
            assert!(layer.held_bytes() <= 2 * arrived + (64 << 10), "{}", layer.held_bytes());
        }
    }
    assert!(read_all(&layer, 1 << 18).unwrap() == vec![7; BLOCK_BYTES]);
    assert_eq!(layer.held_bytes(), 0);
}

/// A few bytes that become a block of 4 MiB.
fn bomb() -> Vec<u8> {
    let decoded = vec![b'z'; BLOCK_BYTES];
    let head = crate::s2::uncompressed_head(&[IoSlice::new(&decoded)]);
    let [low, middle, high, ..] = (BLOCK_BYTES - 1 - 65_544).to_le_bytes();
    let block = [0, b'z', 0x01, 0x01, 0x1d, 0x00, low, middle, high];
    [&b"\0\x11\0\0"[..], &head[4..], b"\x80\x80\x80\x02", &block].concat()
}

#[test]
fn a_block_is_passed_on_as_the_session_has_room() {
    let stream = [IDENTIFIER.to_vec(), bomb(), bomb()].concat();
    let layer = reading([stream]);
    let mut room = vec![0; 1 << 18];
    let mut read = 0;
    while let Ok(len) = layer.try_read(&mut room) {
        read += len;
        assert!(room[..len].iter().all(|byte| *byte == b'z'));
        // One decoded block, and the encoded other.
        assert!(layer.held_bytes() <= BLOCK_BYTES + 100);
    }
    assert_eq!(read, 2 * BLOCK_BYTES);
    assert_eq!(layer.held_bytes(), 0);
}

#[test]
fn of_an_unauthenticated_peer_few_bytes_do_not_become_many() {
    let room = broker_core::limits::UNAUTHENTICATED_BYTES;
    let large = [IDENTIFIER.to_vec(), bomb()].concat();
    assert_eq!(fault(read_all(&reading([large]), room)), "s2: corrupt input");
    let declared = [&IDENTIFIER[..], b"\x01\x80\x00\x10"].concat();
    assert_eq!(fault(read_all(&reading([declared]), room)), "s2: corrupt input");

    // Subscriptions may follow CONNECT in the same block.
    let bytes = vec![b'x'; BATCH_BYTES];
    let layer = reading([encode(CompressionLevel::Fast, &bytes, BATCH_BYTES)]);
    let mut read = vec![0; room];
    for _ in 0..2 {
        assert_eq!(layer.try_read(&mut read).unwrap(), room);
        assert!(layer.held_bytes() < 100, "{}", layer.held_bytes());
    }
    // Once it has authenticated, the rest is decoded once.
    let mut rest = vec![0; bytes.len()];
    assert_eq!(layer.try_read(&mut rest).unwrap(), bytes.len() - 2 * room);
    assert_eq!(layer.held_bytes(), 0);

    let mut bytes = text(BATCH_BYTES);
    bytes.truncate(50_001);
    let layer = reading([encode(CompressionLevel::Best, &bytes, BATCH_BYTES)]);
    assert_eq!(read_all(&layer, 1000).unwrap(), bytes);
}

#[test]
fn what_came_before_a_fault_is_read() {
    let mut stream = encode(CompressionLevel::Fast, b"PING\r\nPONG\r\n", 6);
    *stream.last_mut().unwrap() = b'!';
    let layer = reading([stream]);
    let mut room = [0; 100];
    assert_eq!(layer.try_read(&mut room).unwrap(), 6);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(layer.poll_read_ready(&mut cx).is_ready());
        let error = layer.try_read(&mut room).unwrap_err();
        assert_eq!(error.to_string(), "s2: checksum mismatch");
        assert!(error.get_ref().unwrap().is::<super::super::Broken>());
    }
    assert_eq!(fault(read_all(&reading([b"PING\r\n".to_vec()]), 100)), "s2: corrupt input");
}

#[test]
fn the_end_of_the_stream_within_a_chunk_is_an_error() {
    let ended = |stream: &[u8]| {
        let mut layer = reading([stream.to_vec()]);
        layer.below.has_ended = true;
        read_all(&layer, 1 << 18).map_err(|error| error.kind())
    };
    let stream = encode(CompressionLevel::Fast, &text(100_000), BATCH_BYTES);
    assert!(ended(&stream).unwrap() == text(100_000));
    assert!(ended(b"").unwrap().is_empty());
    for end in [1, 9, 11, 100, stream.len() - 1] {
        assert_eq!(ended(&stream[..end]), Err(io::ErrorKind::UnexpectedEof), "{end}");
    }
    let padding = [&IDENTIFIER[..], b"\xfe\x02\0\0a"].concat();
    assert_eq!(ended(&padding), Err(io::ErrorKind::UnexpectedEof));
    let long = [&IDENTIFIER[..], &uncompressed(&[0; 50_000])[..40_000]].concat();
    assert_eq!(ended(&long), Err(io::ErrorKind::UnexpectedEof));
}

#[test]
fn a_large_message_is_read_into_memory_of_its_own() {
    let bytes = text(200_000);
    let layer = reading([encode(CompressionLevel::Fast, &bytes, BATCH_BYTES)]);
    let mut data = BytesMut::from(&b"PUB"[..]);
    while let Ok(len) = layer.try_read_behind(&mut data, 30_000) {
        assert!(len <= 30_000);
    }
    assert!(data[3..] == bytes);
}

/// Reads a stream with the codec alone.
fn decode(stream: &[u8]) -> Vec<u8> {
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

proptest! {
    #[test]
    fn any_pieces_arrive_in_order(
        runs in vec((0..4usize, 1..40_000usize, 1..30_000usize), 1..4),
        takes in vec(prop_oneof![Just(0), 1..30usize, 1..50_000usize], 0..30),
    ) {
        let layer = reading([]);
        layer.below.takes.lock().unwrap().extend(takes);
        let (mut all, mut sent) = (Vec::new(), Vec::new());
        for (level, len, piece) in runs {
            layer.set_level(LEVELS[level]);
            all.extend_from_slice(&text(len));
            sent = write_all(&layer, &text(len), piece);
        }
        prop_assert!(decode(&sent) == all);
    }

    #[test]
    fn any_arrivals_are_read_into_any_room(
        level in 0..4usize,
        len in 0..60_000usize,
        block in 1..BATCH_BYTES,
        arrivals in vec(1..20_000usize, 1..20),
        room in prop_oneof![1..40usize, 1..70_000usize],
        received in 0..30usize,
    ) {
        // A room of some bytes would decode a large block of an unauthenticated peer thousands of times.
        let block = block.min(room * 100);
        let stream = encode(LEVELS[level], &text(len), block);
        let layer = CompressedTransport::new(Wire::default());
        let (received, mut rest) = stream.split_at(received.min(stream.len()));
        layer.begin(CompressionLevel::Fast, received);
        let mut read = Vec::new();
        for arrival in arrivals.into_iter().chain([usize::MAX]) {
            let (piece, later) = rest.split_at(arrival.min(rest.len()));
            rest = later;
            if !piece.is_empty() {
                layer.below.pieces.lock().unwrap().push_back(piece.to_vec());
            }
            read.extend(read_all(&layer, room).unwrap());
        }
        prop_assert!(read == text(len));
        prop_assert_eq!(layer.held_bytes(), 0);
    }
}
