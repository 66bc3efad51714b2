//! Instructions to the client, decoded from an input, and a mutator that writes them.

use std::time::Duration;

/// An instruction to the client.
pub enum Order {
    /// Sends the bytes unchanged.
    Send(Vec<u8>),
    /// Sends the bytes in a frame that begins with this byte.
    Frame(u8, Vec<u8>),
    Compressed(Vec<u8>),
    Yield,
    Read,
    Wait(Duration),
    HalfClose,
}

/// Lines of ordinary clients.
const LINES: [&[u8]; 12] = [
    b"CONNECT {\"verbose\":false,\"headers\":true}\r\n",
    b"CONNECT {\"verbose\":true,\"pedantic\":true}\r\n",
    b"SUB > 1\r\n",
    b"SUB a.* q 2\r\n",
    b"UNSUB 1 1\r\n",
    b"PING\r\n",
    b"PONG\r\n",
    b"FOO\r\n",
    b"PUB a.b 4\r\nbody\r\n",
    b"HPUB a.b 12 16\r\nNATS/1.0\r\n\r\nbody\r\n",
    b"PUB a.b 50000\r\n",
    b"PUB a.b 70000\r\n",
];

/// The remaining orders.
pub struct Orders<'a>(&'a [u8]);

impl<'a> Orders<'a> {
    pub fn new(said: &'a [u8]) -> Self {
        Self(said)
    }

    pub fn next(&mut self, is_framed: bool) -> Option<Order> {
        let [kind, size, rest @ ..] = self.0 else { return None };
        let (kind, size) = (*kind, usize::from(*size));
        let (taken, behind) = rest.split_at(size.min(rest.len()));
        let send = |bytes: Vec<u8>| {
            if is_framed { Order::Frame(0x82, bytes) } else { Order::Send(bytes) }
        };
        let takes_more = matches!(kind % 16, 0..=5);
        self.0 = if takes_more { behind } else { rest };
        Some(match kind % 16 {
            0..=1 => Order::Send(taken.to_vec()),
            2..=3 => send(taken.to_vec()),
            4 => Order::Compressed(taken.to_vec()),
            // An invalid or truncated deflate stream.
            5 => Order::Frame(if size % 2 == 0 { 0xc2 } else { 0x42 }, taken.to_vec()),
            6..=7 => send(LINES[size % LINES.len()].to_vec()),
            8 => Order::Compressed(LINES[size % LINES.len()].to_vec()),
            9 => send(vec![b'x'; size * 256]),
            10 => Order::Compressed(vec![0; size << 12]),
            11 => Order::Compressed([&b"FOO "[..], &vec![b'y'; size << 7]].concat()),
            // Control frames, and an invalid one.
            12 => Order::Frame([0x88, 0x89, 0x8a, 0x80, 0x83, 0xc8][size % 6], vec![3; size / 2]),
            13 => Order::Read,
            14 => Order::Wait(Duration::from_millis(size as u64 * 20)),
            // Only one in sixteen, because half-closing hides what later orders would show.
            _ if size % 16 == 0 => Order::HalfClose,
            _ => Order::Yield,
        })
    }
}

/// Bytes of clients that something depends on.
const TEXTS: [&[u8]; 14] = [
    b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n",
    b"CONNECT {\"auth_token\":\"x\",\"pedantic\":true}\r\n",
    b"SUB a.* 1\r\n",
    b"SUB a.b q 2\r\n",
    b"UNSUB 2 1\r\n",
    b"PUB a.b c 3\r\nabc\r\n",
    b"HPUB a.b 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
    b"HPUB a.b 4 2\r\n",
    b"PUB a.b 99999999999999999999\r\n",
    b"PING\r\nPONG\r\n",
    b"-ERR 'x'\r\n+OK\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"\0\0\0\0\xff",
];

/// Writes random orders behind a part of an input, or a new input, and returns its length.
pub fn write(input: &mut [u8], len: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) | 1 << 40);
    let kept = if random.below(2) == 0 { random.below(len + 1) } else { 0 };
    let mut written = input[..kept].to_vec();
    if kept < 2 {
        let cuts = [0, 0, 0, 1, 2, 7, 64, random.below(256)][random.below(8)];
        written = vec![random.below(256) as u8, cuts as u8];
    }
    for _ in 0..=random.below(6) {
        let kind = random.below(16);
        let (size, bytes) = match kind {
            0..=5 => {
                let texts = (0..random.below(4)).map(|_| TEXTS[random.below(TEXTS.len())]);
                let mut bytes = texts.collect::<Vec<_>>().concat();
                bytes.truncate(if random.below(4) == 0 { random.below(255) } else { 255 });
                let is_right = random.below(4) > 0;
                (if is_right { bytes.len() } else { random.below(256) }, bytes)
            }
            // Large ones take long, and one is like another.
            9..=11 if random.below(64) > 0 => (random.below(4), Vec::new()),
            _ => (random.below(256), Vec::new()),
        };
        written.extend([(kind | random.below(16) << 4) as u8, size as u8]);
        written.extend(bytes);
    }
    let len = written.len().min(input.len());
    input[..len].copy_from_slice(&written[..len]);
    len
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
