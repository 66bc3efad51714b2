//! The transport over one that takes and gives as little as a test configures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::decode::{Decoder, Event};
use super::super::deflate::Deflate;
use super::super::frame::{Head, Opcode};
use super::super::inflate::Inflate;
use super::super::request::{Rules, parse};
use super::*;

/// Returns configured input piece by piece, and takes the configured number of bytes at a time.
#[derive(Default)]
struct Wire {
    pieces: Mutex<VecDeque<Vec<u8>>>,
    taken: Mutex<Vec<u8>>,
    /// Bytes taken by each write; 0 blocks. Afterwards everything is taken.
    takes: Mutex<VecDeque<usize>>,
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

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn client(extra: &str) -> Client {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    );
    let rules = Rules { compression: true, ..Rules::default() };
    parse(request.as_bytes(), &rules).unwrap().unwrap().client
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const CHROME: &str = "User-Agent: Mozilla/5.0 Chrome/1 Safari/1\r\n";
const SAFARI: &str = "User-Agent: Mozilla/5.0 Version/1 Safari/1\r\n";

fn transport(extra: &str, wire: Wire) -> WebSocketTransport<Wire> {
    WebSocketTransport::new(wire, &client(extra), 1 << 20)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Head::last(Opcode::Binary, payload.len()).as_bytes().to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&[1, 2, 3, 4]);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    bytes
}

/// Reads until there is a result.
fn read_on(transport: &WebSocketTransport<Wire>, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match transport.try_read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A server's frames as a client decodes them: payload and control frames, and the longest data
/// frame.
#[derive(Debug, Default, Eq, PartialEq)]
struct Got {
    data: Vec<u8>,
    control: Vec<(u8, Vec<u8>)>,
    messages: usize,
    longest: usize,
    frames: usize,
}

fn got(stream: &[u8]) -> Got {
    let mut got = Got::default();
    let mut decoder = Decoder::new().allow_bare(true).allow_compressed(true);
    let mut inflate = Inflate::new(1 << 30);
    let mut stream = stream.to_vec();
    let mut at = 0;
    loop {
        let decoded = decoder.decode(&mut stream[at..]).expect("the server writes good frames");
        at += decoded.used;
        match decoded.event {
            None => break,
            Some(Event::Data(data)) => {
                got.frames += 1;
                got.longest = got.longest.max(data.bytes.len());
                got.messages += usize::from(data.is_last);
                if data.is_compressed {
                    inflate.push(data.bytes, data.is_last, true).unwrap();
                    let mut room = vec![0; 1 << 16];
                    while inflate.is_ready() {
                        let len = inflate.pull(&mut room).unwrap();
                        got.data.extend_from_slice(&room[..len]);
                    }
                } else {
                    got.data.extend_from_slice(data.bytes);
                }
            }
            Some(Event::Ping(payload)) => got.control.push((9, payload.to_vec())),
            Some(Event::Pong(payload)) => got.control.push((10, payload.to_vec())),
            Some(Event::Close(payload)) => got.control.push((8, payload.to_vec())),
        }
    }
    assert_eq!(at, stream.len());
    got
}

/// Writes as a byte queue does: rejected bytes are written again, followed by more.
fn write_all(transport: &WebSocketTransport<Wire>, text: &[u8], piece: usize) {
    let waker = Waker::noop();
    let mut cx = Context::from_waker(waker);
    let mut at = 0;
    while at < text.len() {
        let slices: Vec<IoSlice<'_>> =
            text[at..].chunks(piece.max(1)).take(64).map(IoSlice::new).collect();
        match transport.try_write(&slices) {
            Ok(0) => panic!("a write of zero bytes is no progress"),
            Ok(len) => at += len,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    while transport.poll_unsent(&mut cx).is_pending() {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn output_arrives_whatever_the_socket_takes(
        text in vec(prop_oneof![Just(&b"MSG a 1 5\r\n"[..]), Just(&b"hello"[..])], 1..9000),
        piece in prop_oneof![1usize..100, 100usize..100_000],
        takes in vec(prop_oneof![2 => 0usize..20, 1 => 0usize..100_000], 0..40),
        extra in prop_oneof![
            Just(String::new()),
            Just(CHROME.to_owned()),
            Just(DEFLATE.to_owned()),
            Just(format!("{DEFLATE}{CHROME}")),
            Just(format!("{DEFLATE}{SAFARI}")),
        ],
        pings in 0usize..3,
    ) {
        let text = text.concat();
        let wire = Wire { takes: Mutex::new(takes.into()), ..Wire::default() };
        let transport = transport(&extra, wire);
        let (front, back) = text.split_at(text.len() / 2);
        write_all(&transport, front, piece);
        for _ in 0..pings {
            lock(&transport.lower.pieces).push_back(frame(0x89, b"hi"));
        }
        let _ = read_on(&transport, &mut [0; 100]);
        write_all(&transport, back, piece);
        prop_assert!(transport.say_why(CloseReason::ServerShutdown));
        write_all(&transport, b"bytes after the close frame are lost", 10);
        let got = got(&lock(&transport.lower.taken));
        prop_assert!(got.data == text, "{} bytes of {}", got.data.len(), text.len());
        let mut control = vec![(10, b"hi".to_vec()); pings];
        control.push((8, b"\x03\xe9Server Shutdown".to_vec()));
        prop_assert_eq!(got.control, control);
        prop_assert!(!extra.contains("Chrome") || got.longest <= 4096);
    }

    #[test]
    fn input_is_read_unchanged_whatever_the_pieces(
        messages in vec((any::<bool>(), any::<bool>(), 0usize..3, 0usize..6000), 1..6),
        cut in prop_oneof![1usize..30, 100usize..20_000],
        room in prop_oneof![1usize..50, 4000usize..9000, 60_000usize..100_000],
        is_compressing: bool,
    ) {
        let mut text = Vec::new();
        let mut stream = Vec::new();
        for (is_compressed, has_ping, kind, words) in messages {
            let payload = match kind {
                0 => b"PUB orders.eu 5\r\nhello\r\n".repeat(words / 24),
                1 => vec![b'x'; words * 10],
                _ => (0..words).map(|at| ((at * 7919) >> 3) as u8).collect(),
            };
            text.extend_from_slice(&payload);
            if is_compressed && is_compressing {
                let message = Deflate::new().message([&payload[..]].into_iter(), 15).to_vec();
                // An unauthenticated client gets little room, and may compress little.
                if message.len() > 4096 && room <= 8192 {
                    stream.extend_from_slice(&frame(0x82, &payload));
                } else {
                    let (front, back) = message.split_at(message.len() / 2);
                    stream.extend_from_slice(&frame(0x42, front));
                    if has_ping {
                        stream.extend_from_slice(&frame(0x89, b""));
                    }
                    stream.extend_from_slice(&frame(0x80, back));
                }
            } else {
                stream.extend_from_slice(&frame(0x82, &payload));
            }
        }
        stream.extend_from_slice(&frame(0x88, b"\x03\xe8bye"));
        let pieces = stream.chunks(cut).map(<[u8]>::to_vec).collect();
        let wire = Wire { pieces: Mutex::new(pieces), ..Wire::default() };
        let transport = transport(if is_compressing { DEFLATE } else { "" }, wire);
        let mut read = Vec::new();
        let mut room = vec![0; room];
        loop {
            let len = read_on(&transport, &mut room).unwrap();
            if len == 0 {
                break;
            }
            read.extend_from_slice(&room[..len]);
        }
        prop_assert!(read == text, "{} bytes of {}", read.len(), text.len());
        let got = got(&lock(&transport.lower.taken));
        prop_assert_eq!(got.control.last(), Some(&(8, b"\x03\xe8bye".to_vec())));
    }
}

#[test]
fn one_flush_is_one_frame_unless_a_browser_reads_it() {
    let text = vec![b'x'; 10_000];
    let plain = transport("", Wire::default());
    write_all(&plain, &text, 1000);
    let got_plain = got(&lock(&plain.lower.taken));
    assert_eq!((got_plain.messages, got_plain.longest), (1, 10_000));

    let chrome = transport(CHROME, Wire::default());
    write_all(&chrome, &text, 1000);
    let got_chrome = got(&lock(&chrome.lower.taken));
    assert_eq!((got_chrome.messages, got_chrome.longest), (3, 4096));
}

#[test]
fn short_messages_are_not_compressed() {
    for (len, is_compressed) in [(64, false), (65, true)] {
        let transport = transport(DEFLATE, Wire::default());
        write_all(&transport, &vec![b'x'; len], 10);
        let taken = lock(&transport.lower.taken);
        assert_eq!(taken[0], if is_compressed { 0xc2 } else { 0x82 });
        assert_eq!(got(&taken).data.len(), len);
    }
}

#[test]
fn browsers_except_safari_get_compressed_messages_in_small_frames() {
    let mut seed = 1u32;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed as u8
    };
    let noise: Vec<u8> = (0..20_000).map(|_| random()).collect();
    let chrome = transport(&format!("{DEFLATE}{CHROME}"), Wire::default());
    write_all(&chrome, &noise, 1000);
    let got_chrome = got(&lock(&chrome.lower.taken));
    assert_eq!((got_chrome.messages, got_chrome.longest), (1, 4096));
    let safari = transport(&format!("{DEFLATE}{SAFARI}"), Wire::default());
    write_all(&safari, &noise, 1000);
    let got_safari = got(&lock(&safari.lower.taken));
    assert_eq!((got_safari.messages, got_safari.frames), (1, 1));
}

#[test]
fn a_fault_is_reported_after_earlier_input() {
    let bytes = [frame(0x82, b"PING\r\n"), frame(0x83, b"")].concat();
    let pieces = Mutex::new(VecDeque::from([bytes]));
    let transport = transport("", Wire { pieces, ..Wire::default() });
    let mut room = [0; 100];
    assert_eq!(read_on(&transport, &mut room).unwrap(), 6);
    assert_eq!(&room[..6], b"PING\r\n");
    let error = read_on(&transport, &mut room).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(transport.say_why(CloseReason::ReadError), "a close frame was sent");
    let got = got(&lock(&transport.lower.taken));
    assert_eq!(got.control, [(8, b"\x03\xeaunknown opcode 3".to_vec())]);
}

#[test]
fn a_decompression_bomb_is_refused_in_bounded_memory() {
    let bomb = Deflate::new().message([&vec![0; 16 << 20][..]].into_iter(), 15).to_vec();
    let pieces = Mutex::new(VecDeque::from([frame(0xc2, &bomb)]));
    let transport = transport(DEFLATE, Wire { pieces, ..Wire::default() });
    let mut room = vec![0; 64 << 10];
    let mut total = 0;
    let error = loop {
        match read_on(&transport, &mut room) {
            Ok(len) => total += len,
            Err(error) => break error,
        }
        assert!(transport.held_bytes() < 40 << 10, "{}", transport.held_bytes());
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!((1 << 20..=8 << 20).contains(&total), "{total}");
    let got = got(&lock(&transport.lower.taken));
    assert_eq!(got.control, [(8, b"\x03\xf1maximum payload exceeded".to_vec())]);
}

/// The session keeps 8 KiB at most, which leaves 8 for the layers below.
#[test]
fn an_unauthenticated_client_costs_little_whatever_it_sends() {
    let long = frame(0x02, &[b'x'; 60_000]);
    let compressed = frame(0x42, &[0x55; 60_000]);
    let mut pings = Vec::new();
    (0..2000).for_each(|_| pings.extend_from_slice(&frame(0x89, &[b'x'; 125])));
    for stream in [long, compressed, pings] {
        let pieces = Mutex::new(VecDeque::from([stream]));
        // The client reads nothing either.
        let takes = Mutex::new(vec![0; 1_000_000].into());
        let transport = transport(DEFLATE, Wire { pieces, takes, ..Wire::default() });
        let mut room = [0; 8 << 10];
        loop {
            let read = read_on(&transport, &mut room);
            let held = transport.held_bytes();
            assert!(held <= 8 << 10, "{held}");
            assert!(!lock(&transport.incoming).holds_decompressor());
            match read {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    break;
                }
            }
        }
    }
}

#[test]
fn the_connection_is_woken_for_unsent_bytes() {
    let takes = Mutex::new(VecDeque::from([10, 0]));
    let transport = transport(DEFLATE, Wire { takes, ..Wire::default() });
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    assert!(transport.poll_unsent(&mut cx).is_ready());
    let text = b"hello".repeat(100);
    assert_eq!(transport.try_write(&[IoSlice::new(&text)]).unwrap(), 500);
    assert_eq!(count.0.load(Relaxed), 1);
    assert!(transport.poll_unsent(&mut cx).is_ready());
    assert_eq!(got(&lock(&transport.lower.taken)).data, text);
}

/// Frames that end a connection, or do not: some followed by more.
fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(|text| frame(0x82, &text)),
        vec(any::<u8>(), 0..200).prop_map(|noise| frame(0xc2, &noise)),
        (0usize..60_000).prop_map(|len| {
            frame(0xc2, Deflate::new().message([&vec![b'x'; len][..]].into_iter(), 15))
        }),
        Just(frame(0x89, b"hi")),
        Just(frame(0x88, b"\x03\xe8bye")),
        Just(frame(0x83, b"")),
        vec(any::<u8>(), 0..20),
    ];
    vec(one, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    /// A ready transport must make progress: return bytes or an end, or take bytes from below.
    #[test]
    fn the_transport_is_ready_only_if_a_read_makes_progress(
        extra in prop_oneof![Just(""), Just(DEFLATE)],
        frames in any_frames(),
        piece in prop_oneof![1usize..50, Just(100_000)],
        room in prop_oneof![Just(100usize), Just(8 << 10), Just(64 << 10)],
        shut_after in 0usize..20,
    ) {
        let pieces = Mutex::new(frames.chunks(piece).map(<[u8]>::to_vec).collect());
        let transport = transport(extra, Wire { pieces, ..Wire::default() });
        let mut room = vec![0; room];
        let mut cx = Context::from_waker(Waker::noop());
        let waiting = || lock(&transport.lower.pieces).iter().map(Vec::len).sum::<usize>();
        let mut idle = 0;
        for turn in 0.. {
            if turn == shut_after {
                transport.shut_down_write().unwrap();
            }
            let before = waiting();
            if transport.poll_read_ready(&mut cx).is_pending() {
                prop_assert_eq!(before, 0);
                break;
            }
            let read = transport.try_read(&mut room);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    // The rest of the buffered bytes may be control frames, but only once.
                    idle = if waiting() < before { 0 } else { idle + 1 };
                    prop_assert!(idle < 2, "it loops without progress");
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    prop_assert!(turn <= shut_after, "a close frame was sent");
                    // As lingering does.
                    transport.shut_down_write().unwrap();
                }
            }
        }
    }
}
