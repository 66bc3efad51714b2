//! Server names that are no host names: `nats:4222`, `[::1]`, `*.x`.
//!
//! The reference ignores such a name; rustls refuses the ClientHello that asks for it. So the extension gets
//! a number that rustls does not know before rustls reads it. Both sides hash what they have said to each
//! other: the hash functions of this module give the extension its own number back, so that rustls hashes
//! what the client has sent.
// NATS 2.14: Go's crypto/tls, clientHelloMsg.unmarshal, takes any text as a name.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;

use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::pki_types::ServerName;
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use super::provider::default_provider;

// RFC 8446, RFC 6066.
const HANDSHAKE: u8 = 0x16;
const CHANGE_CIPHER_SPEC: u8 = 0x14;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;
const SERVER_NAME: u16 = 0;
const RECORD_HEADER_BYTES: usize = 5;
const RECORD_BYTES: usize = 1 << 14;
/// The longest message that rustls takes.
const MESSAGE_BYTES: usize = 0xffff;
const MESSAGE_HEADER_BYTES: usize = 4;

/// For private use: RFC 8447.
const HIDDEN: u16 = 0xfff7;

/// The random number of a ServerHello that asks for another ClientHello.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

thread_local! {
    /// True while bytes are hashed whose server name is hidden.
    static IS_HIDDEN: Cell<bool> = const { Cell::new(false) };
}

/// The result of a search for a server name to hide.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// Its end has not come.
    Part,
    /// Nothing to hide, or something else than a ClientHello.
    Nothing,
    /// A name, which is hidden now.
    Hidden,
}

/// Hides the server name of a ClientHello in the records of `input` if rustls would refuse it.
pub(super) fn hide(input: &mut [u8]) -> Found {
    let Some((message, fragments)) = collect(input) else { return Found::Nothing };
    let Some(len) = message_bytes(&message) else { return Found::Part };
    if message[0] != CLIENT_HELLO || len > MESSAGE_BYTES {
        return Found::Nothing;
    }
    let Some(hello) = message.get(..len) else { return Found::Part };
    let Some((number, data)) = extension(hello, SERVER_NAME) else { return Found::Nothing };
    if !is_no_host_name(&hello[data]) || extension(hello, HIDDEN).is_some() {
        return Found::Nothing;
    }
    for (at, byte) in number.zip(HIDDEN.to_be_bytes()) {
        // A record may end between the two.
        let fragment = fragments.iter().rev().find(|(begin, _)| *begin <= at);
        if let Some((begin, place)) = fragment {
            input[place + at - begin] = byte;
        }
    }
    Found::Hidden
}

/// Returns true if the records in `output` ask the client for another ClientHello.
pub(super) fn is_retry(output: &[u8]) -> bool {
    output.windows(RETRY.len()).any(|window| window == RETRY)
}

/// Calls `f`, for which [`hide`] has hidden something, or not.
pub(super) fn with_hidden<R>(is_hidden: bool, f: impl FnOnce() -> R) -> R {
    IS_HIDDEN.set(is_hidden);
    let result = f();
    IS_HIDDEN.set(false);
    result
}

/// The handshake messages in `data` as the client has sent them.
pub(super) fn unhide(data: &[u8]) -> Cow<'_, [u8]> {
    let mut data = Cow::Borrowed(data);
    if !IS_HIDDEN.get() {
        return data;
    }
    let mut at = 0;
    while let Some(len) = message_bytes(&data[at..]) {
        // The last may be incomplete: a session is resumed by a hash of all but the end of its hello.
        let end = data.len().min(at + len);
        let message = &data[at..end];
        if message[0] == CLIENT_HELLO
            && let Some((number, _)) = extension(message, HIDDEN)
        {
            let number = at + number.start..at + number.end;
            data.to_mut()[number].copy_from_slice(&SERVER_NAME.to_be_bytes());
        }
        at = end;
    }
    data
}

/// The cipher suites of the provider, with hash functions that [`unhide`].
pub(super) fn suites() -> Vec<SupportedCipherSuite> {
    // rustls wants them for ever, so they are made once.
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| default_provider().cipher_suites.into_iter().map(unhiding).collect());
    SUITES.clone()
}

fn unhiding(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |of: &CipherSuiteCommon| CipherSuiteCommon {
        suite: of.suite,
        hash_provider: Box::leak(Box::new(Unhiding(of.hash_provider))),
        confidentiality_limit: of.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
    }
}

/// A hash function that hashes handshake messages as the client has sent them.
struct Unhiding(&'static dyn Hash);

impl Hash for Unhiding {
    fn start(&self) -> Box<dyn Context> {
        Box::new(UnhidingContext(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct UnhidingContext(Box<dyn Context>);

impl Context for UnhidingContext {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(&unhide(data));
    }
}

/// A handshake message, and where its fragments are.
type Collected = (Vec<u8>, Vec<(usize, usize)>);

/// The handshake message that `input` begins with, as far as it has come, and where its fragments are: their
/// places in the message and in `input`. `None` if it is something else.
fn collect(input: &[u8]) -> Option<Collected> {
    let (mut message, mut fragments) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&[kind, _, _, high, low]) = input.get(at..at + RECORD_HEADER_BYTES) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let place = at + RECORD_HEADER_BYTES;
        let end = input.len().min(place + len);
        at = place + len;
        match kind {
            // A client that was asked for another hello may send one before it.
            CHANGE_CIPHER_SPEC if message.is_empty() => continue,
            HANDSHAKE if (1..=RECORD_BYTES).contains(&len) => {}
            // rustls refuses it.
            _ => return None,
        }
        fragments.push((message.len(), place));
        message.extend_from_slice(&input[place..end]);
        if message_bytes(&message).is_some_and(|len| len <= message.len()) {
            break;
        }
    }
    Some((message, fragments))
}

/// The length of a handshake message with its header, if that has come.
fn message_bytes(message: &[u8]) -> Option<usize> {
    let header = message.get(..MESSAGE_HEADER_BYTES)?;
    let len = u32::from_be_bytes([0, header[1], header[2], header[3]]);
    Some(MESSAGE_HEADER_BYTES + len as usize)
}

/// The place of an extension in a ClientHello: its number, and its data.
fn extension(hello: &[u8], number: u16) -> Option<(Range<usize>, Range<usize>)> {
    let u16_at = |at: usize| Some(u16::from_be_bytes([*hello.get(at)?, *hello.get(at + 1)?]));
    // Version and random number; then the session, the cipher suites and how to compress.
    let mut at = MESSAGE_HEADER_BYTES + 2 + 32;
    at += 1 + usize::from(*hello.get(at)?);
    at += 2 + usize::from(u16_at(at)?);
    at += 1 + usize::from(*hello.get(at)?);
    at += 2;
    loop {
        let data = at + 4..at + 4 + usize::from(u16_at(at + 2)?);
        if u16_at(at)? == number {
            return (data.end <= hello.len()).then_some((at..at + 2, data));
        }
        at = data.end;
    }
}

/// Returns true if rustls refuses the names and Go does not.
fn is_no_host_name(mut names: &[u8]) -> bool {
    fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (len, rest) = from.split_first_chunk()?;
        let (taken, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        *from = rest;
        Some(taken)
    }
    let Some(mut list) = take(&mut names).filter(|_| names.is_empty()) else { return false };
    let mut all = Vec::new();
    while let Some((kind, rest)) = list.split_first() {
        list = rest;
        let Some(name) = take(&mut list).filter(|name| !name.is_empty()) else { return false };
        all.push((*kind, name));
    }
    let hosts = all.iter().filter(|(kind, _)| *kind == HOST_NAME).count();
    match all.first() {
        // Two of them both refuse.
        _ if hosts > 1 => false,
        Some((HOST_NAME, name)) => ServerName::try_from(*name).is_err(),
        // rustls reads no further.
        Some(_) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_len(bytes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(bytes.len()).unwrap();
        [&len.to_be_bytes(), bytes].concat()
    }

    fn names(all: &[(u8, &[u8])]) -> Vec<u8> {
        let entries = all.iter().map(|(kind, name)| [&[*kind][..], &with_len(name)].concat());
        with_len(&entries.collect::<Vec<_>>().concat())
    }

    fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions = extensions
            .iter()
            .map(|(number, data)| [&number.to_be_bytes()[..], &with_len(data)].concat());
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[2, 9, 9],
            &with_len(&[0x13, 1]),
            &[1, 0],
            &with_len(&extensions.collect::<Vec<_>>().concat()),
        ]
        .concat();
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &len[1..], &body].concat()
    }

    fn records(message: &[u8], piece_bytes: usize) -> Vec<u8> {
        let record = |piece: &[u8]| [&[HANDSHAKE, 3, 1][..], &with_len(piece)].concat();
        message.chunks(piece_bytes).map(record).collect::<Vec<_>>().concat()
    }

    #[test]
    fn only_names_that_rustls_refuses_and_go_takes_are_hidden() {
        for (all, expected) in [
            (&[(0, &b"nats:4222"[..])][..], true),
            (&[(0, b"[foo.com]")], true),
            (&[(0, b"-a.b")], true),
            (&[(0, b"x y")], true),
            (&[(0, b"*.x")], true),
            (&[(0, b"[::1]")], true),
            (&[(0, b"1.2.3")], true),
            (&[(0, b"\xff\x00")], true),
            (&[(7, b"x")], true),
            (&[(7, b"x"), (0, b"localhost")], true),
            (&[(0, b"localhost")], false),
            (&[(0, b"a_b.example")], false),
            (&[(0, b"127.0.0.1")], false),
            (&[(0, b"localhost"), (7, b"x")], false),
            (&[(0, b"x y"), (0, b"x z")], false),
            (&[(0, b"")], false),
            (&[], false),
        ] {
            assert_eq!(is_no_host_name(&names(all)), expected, "{all:?}");
        }
        assert!(!is_no_host_name(&names(&[(0, b"x y")])[..6]));
        assert!(!is_no_host_name(&[names(&[(0, b"x y")]), vec![0]].concat()));
    }

    #[test]
    fn what_is_hidden_is_hashed_as_it_was() {
        let name = names(&[(0, b"nats:4222")]);
        let message = hello(&[(43, vec![2, 3, 4]), (SERVER_NAME, name), (41, vec![0; 40])]);
        for piece_bytes in [1, 5, 61, 1000] {
            let before = records(&message, piece_bytes);
            let mut after = before.clone();
            assert_eq!(hide(&mut after), Found::Hidden);
            let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
            assert_eq!((after.len(), changed), (before.len(), 2));
            assert_eq!(hide(&mut after), Found::Nothing, "there is no name any more");
            let (hidden, _) = collect(&after).unwrap();
            let unhidden = |data: &[u8]| with_hidden(true, || unhide(data).into_owned());
            assert_eq!(unhidden(&hidden), message);
            // Behind another message, and without its end.
            let other = [2, 0, 0, 3, 1, 0, 0];
            let end = message.len() - 20;
            let both = unhidden(&[&other, &hidden[..end]].concat());
            assert_eq!(both, [&other, &message[..end]].concat());
            assert_eq!(*unhide(&hidden), *hidden, "nothing is said to be hidden");
        }
    }

    #[test]
    fn a_hello_is_waited_for_and_all_else_is_left_to_rustls() {
        let message = hello(&[(SERVER_NAME, names(&[(0, b"x y")]))]);
        let whole = records(&message, 50);
        for end in 0..whole.len() {
            assert_eq!(hide(&mut whole[..end].to_vec()), Found::Part, "{end}");
        }
        let mut retried = [&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1][..], &whole].concat();
        assert_eq!(hide(&mut retried), Found::Hidden);
        for (number, text) in [(SERVER_NAME, &b"localhost"[..]), (16, b"x y")] {
            let other = hello(&[(number, names(&[(0, text)]))]);
            assert_eq!(hide(&mut records(&other, 1000)), Found::Nothing);
        }
        let taken = hello(&[(SERVER_NAME, names(&[(0, b"x y")])), (HIDDEN, Vec::new())]);
        assert_eq!(hide(&mut records(&taken, 1000)), Found::Nothing);
        for other in [&b"\x16\x03\x01\x00\x04\x09\x00\x00\x00"[..], b"\x15\x03\x01\x00\x02\x02\x50"]
        {
            assert_eq!(hide(&mut other.to_vec()), Found::Nothing);
        }
        // As RFC 8446 has it, of any length and none.
        for len in 0..message.len() {
            let mut bytes = message[..len].to_vec();
            let _ = hide(&mut records(&bytes, 30));
            bytes.reverse();
            let _ = hide(&mut records(&bytes, 30));
            let _ = with_hidden(true, || unhide(&bytes).len());
        }
    }
}
