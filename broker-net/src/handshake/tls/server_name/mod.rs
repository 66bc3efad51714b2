//! Server names that are not host names: `nats:4222`, `[::1]`, `*.x`.
//!
//! The reference ignores such a name; rustls refuses a ClientHello with it. So the extension gets a number unknown to
//! rustls before rustls reads it. Both sides hash the messages of the handshake: the hash functions of this module
//! restore the number of the extension, so that rustls hashes the bytes that the client has sent.
// NATS 2.14: Go's crypto/tls, clientHelloMsg.unmarshal, takes any text as a name.

mod suites;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::LazyLock;

use rustls::SupportedCipherSuite;
use rustls::pki_types::ServerName;

use self::suites::mapping;
use super::provider::default_provider;

// RFC 8446, RFC 6066.
const HANDSHAKE: u8 = 0x16;
const CHANGE_CIPHER_SPEC: u8 = 0x14;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;
const SERVER_NAME: u16 = 0;
const RECORD_HEADER_BYTES: usize = 5;
const RECORD_BYTES: usize = 1 << 14;
/// The longest message that rustls accepts.
const MESSAGE_BYTES: usize = 0xffff;
const MESSAGE_HEADER_BYTES: usize = 4;

/// A number reserved for private use: RFC 8447.
const HIDDEN: u16 = 0xfff7;

/// The random number of a HelloRetryRequest, a ServerHello that asks for another ClientHello.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

thread_local! {
    /// True while hashed bytes contain a hidden server name.
    static IS_HIDDEN: Cell<bool> = const { Cell::new(false) };
}

/// The result of a search for a server name to hide.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// The ClientHello is incomplete.
    Part,
    /// There is nothing to hide, or the input is not a ClientHello.
    Nothing,
    /// A name was hidden.
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
    let count = |number| extensions(hello).filter(|extension| extension.number == number).count();
    let Some(Extension { place, data, .. }) = extension(hello, SERVER_NAME) else {
        return Found::Nothing;
    };
    // rustls refuses a second name, as the reference does, and must see both for that.
    let is_only = count(SERVER_NAME) == 1 && count(HIDDEN) == 0;
    if !is_only || !is_no_host_name(&hello[data]) {
        return Found::Nothing;
    }
    for (at, byte) in place.zip(HIDDEN.to_be_bytes()) {
        // A record may end between the two bytes.
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

/// Calls `f` while hashes restore a name hidden by [`hide`], if `is_hidden`.
pub(super) fn with_hidden<R>(is_hidden: bool, f: impl FnOnce() -> R) -> R {
    /// Resets the flag also after a panic, because the thread serves other connections.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IS_HIDDEN.set(false);
        }
    }
    let _reset = Reset;
    IS_HIDDEN.set(is_hidden);
    f()
}

/// Returns the handshake messages in `data` as the client has sent them.
pub(super) fn unhide(data: &[u8]) -> Cow<'_, [u8]> {
    let mut data = Cow::Borrowed(data);
    if !IS_HIDDEN.get() {
        return data;
    }
    let mut at = 0;
    while let Some(len) = message_bytes(&data[at..]) {
        // The last message may be incomplete: a session is resumed by a hash of all but the end of its hello.
        let end = data.len().min(at + len);
        let message = &data[at..end];
        if message[0] == CLIENT_HELLO
            && let Some(Extension { place, .. }) = extension(message, HIDDEN)
        {
            let place = at + place.start..at + place.end;
            data.to_mut()[place].copy_from_slice(&SERVER_NAME.to_be_bytes());
        }
        at = end;
    }
    data
}

/// Returns the cipher suites of the provider, with hash functions that [`unhide`].
pub(super) fn suites() -> Vec<SupportedCipherSuite> {
    // Built once, because rustls requires them to live forever.
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
        default_provider().cipher_suites.into_iter().map(|suite| mapping(suite, unhide)).collect()
    });
    SUITES.clone()
}

/// A handshake message, and the places of its fragments.
type Collected = (Vec<u8>, Vec<(usize, usize)>);

/// Collects the handshake message that `input` begins with, as far as it was received, and the places of its
/// fragments in the message and in `input`. Returns `None` for other input.
fn collect(input: &[u8]) -> Option<Collected> {
    let (mut message, mut fragments) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&[kind, _, _, high, low]) = input.get(at..at + RECORD_HEADER_BYTES) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let place = at + RECORD_HEADER_BYTES;
        let end = input.len().min(place + len);
        at = place + len;
        match kind {
            // After a HelloRetryRequest the client may send one before its second hello.
            CHANGE_CIPHER_SPEC if message.is_empty() => continue,
            HANDSHAKE if (1..=RECORD_BYTES).contains(&len) => {}
            // rustls refuses such a record.
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

/// Returns the length of a handshake message with its header, if the header is complete.
fn message_bytes(message: &[u8]) -> Option<usize> {
    let header = message.get(..MESSAGE_HEADER_BYTES)?;
    let len = u32::from_be_bytes([0, header[1], header[2], header[3]]);
    Some(MESSAGE_HEADER_BYTES + len as usize)
}

/// An extension of a ClientHello: its number, the place of that, and the place of its data.
struct Extension {
    number: u16,
    place: Range<usize>,
    data: Range<usize>,
}

/// Returns the first extension with a number.
fn extension(hello: &[u8], number: u16) -> Option<Extension> {
    extensions(hello).find(|extension| extension.number == number)
}

/// Iterates over the extensions of a ClientHello, as far as it was received.
fn extensions(hello: &[u8]) -> impl Iterator<Item = Extension> {
    let Range { start: mut at, end } = extension_list(hello).unwrap_or_default();
    std::iter::from_fn(move || {
        let number = u16_at(hello, at)?;
        let data = at + 4..at + 4 + usize::from(u16_at(hello, at + 2)?);
        let place = at..at + 2;
        at = data.end;
        (data.end <= end).then_some(Extension { number, place, data })
    })
}

/// Returns the place of the list of extensions.
fn extension_list(hello: &[u8]) -> Option<Range<usize>> {
    // Version and random number; then the session, the cipher suites and the compression methods.
    let mut at = MESSAGE_HEADER_BYTES + 2 + 32;
    at += 1 + usize::from(*hello.get(at)?);
    at += 2 + usize::from(u16_at(hello, at)?);
    at += 1 + usize::from(*hello.get(at)?);
    let end = at + 2 + usize::from(u16_at(hello, at)?);
    Some(at + 2..end.min(hello.len()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Returns true if rustls refuses the names and Go accepts them.
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
        // Both refuse two host names.
        _ if hosts > 1 => false,
        // Go refuses a trailing dot.
        Some((HOST_NAME, name)) => !name.ends_with(b".") && ServerName::try_from(*name).is_err(),
        // rustls reads no further.
        Some(_) => true,
        None => false,
    }
}
