//! The bytes of a frame.
//!
//! ```text
//!  0  length of the frame, padding included        u32
//!  4  checksum of the body                         u32
//!  8  place of the contents in the framed file     u64
//! 16  length of the contents                       u32
//! 20  length of the body                           u32
//! 24  version, flags, zeros                        u8, u8, u16
//! 28  number of the key                            u32
//! 32  nonce                                        12 bytes
//! 44  checksum of the place of the frame and of what is before  u32
//!     body: the contents, compressed, then encrypted, then their tag
//!     zeros up to a multiple of 8
//! ```
//!
//! Numbers are little-endian. What is encrypted authenticates the fields before the nonce, but for the checksum.

use std::io;

use super::cipher::{NONCE, Sealer};

/// The length of the header.
pub(super) const HEADER: usize = 48;

/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// The most bytes of contents of a frame: what is read to find one message.
pub(super) const CONTENTS: usize = 64 * 1024;

/// Contents below this are not compressed.
const WORTH_COMPRESSING: usize = 128;

/// The most bytes of contents for each byte of a body: no compression reaches it.
pub(super) const MOST_CONTENTS: usize = 32;

const VERSION: u8 = 1;
const COMPRESSED: u8 = 1;
const ENCRYPTED: u8 = 2;
const FIRST: u8 = 4;

/// The header of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    /// The length of the frame.
    pub(super) length: usize,
    /// The place of its contents.
    pub(super) at: u64,
    /// Their length.
    pub(super) contents: usize,
    /// The key; 0 for none.
    pub(super) key: u32,
    flags: u8,
    body: usize,
    checksum: u32,
    nonce: [u8; NONCE],
}

/// The way in which contents become a frame.
pub(super) struct Form<'a> {
    /// They are compressed if that makes them shorter.
    pub(super) compresses: bool,
    /// The number of the key, and the cipher with it.
    pub(super) key: Option<(u32, &'a Sealer)>,
    /// Used for no other frame with this key.
    pub(super) nonce: [u8; NONCE],
    /// The frame is the first one of those that are written together.
    pub(super) is_first: bool,
}

impl Header {
    /// Reads the header of a frame at a place; `None` if these bytes begin none.
    pub(super) fn parse(bytes: &[u8], place: u64) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        if u32_at(bytes, 44) != checksum_of(bytes, place) || bytes[24] != VERSION {
            return None;
        }
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&bytes[32..44]);
        let header = Self {
            length: u32_at(bytes, 0) as usize,
            at: u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32,
            contents: u32_at(bytes, 16) as usize,
            key: u32_at(bytes, 28),
            flags: bytes[25],
            body: u32_at(bytes, 20) as usize,
            checksum: u32_at(bytes, 4),
            nonce,
        };
        let fits = header.length == (HEADER + header.body).next_multiple_of(ALIGNMENT)
            && header.contents <= CONTENTS.min(header.body * MOST_CONTENTS)
            && header.body <= 2 * CONTENTS;
        fits.then_some(header)
    }

    /// Returns true if the frame is the first one of those that were written together.
    pub(super) fn is_first(&self) -> bool {
        self.flags & FIRST != 0
    }

    /// Returns true if the body is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    /// Returns true if the body of the frame, which is `bytes`, and the padding are as they were written.
    pub(super) fn is_intact(&self, bytes: &[u8]) -> bool {
        let end = HEADER + self.body;
        bytes.len() == self.length
            && crc32c::crc32c(&bytes[HEADER..end]) == self.checksum
            && bytes[end..].iter().all(|byte| *byte == 0)
    }

    /// Appends the contents of the frame, which is `bytes`, to `out`. Returns false, and appends nothing, if they are not those that were
    /// written. The body is overwritten.
    pub(super) fn decode(
        &self,
        bytes: &mut [u8],
        sealer: impl Fn(u32) -> Option<Sealer>,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.is_intact(bytes) {
            return false;
        }
        let (clear, rest) = bytes.split_at_mut(HEADER);
        let mut body = &*rest;
        if self.is_encrypted() {
            let clear = authenticated(clear);
            let sealer = sealer(self.key);
            let opened = sealer.and_then(|sealer| {
                sealer.open(&self.nonce, &clear, &mut rest[..self.body]).map(<[u8]>::len)
            });
            let Some(length) = opened else { return false };
            body = &rest[..length];
        } else {
            body = &body[..self.body];
        }
        if self.flags & COMPRESSED == 0 {
            let fits = body.len() == self.contents;
            out.extend_from_slice(if fits { body } else { b"" });
            return fits;
        }
        if !snap::raw::decompress_len(body).is_ok_and(|length| length == self.contents) {
            return false;
        }
        let start = out.len();
        out.resize(start + self.contents, 0);
        let length = snap::raw::Decoder::new().decompress(body, &mut out[start..]);
        let is_right = length.is_ok_and(|length| length == self.contents);
        if !is_right {
            out.truncate(start);
        }
        is_right
    }
}

/// Appends a frame, which will be at `place` of its file.
///
/// # Errors
///
/// If the contents are too long.
pub(super) fn encode(
    contents: &[u8],
    at: u64,
    place: u64,
    form: &Form<'_>,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let (start, mut flags) = (out.len(), 0);
    out.extend_from_slice(&[0; HEADER]);
    if form.compresses && compress(contents, out) {
        flags |= COMPRESSED;
    } else {
        out.extend_from_slice(contents);
    }
    flags |= if form.is_first { FIRST } else { 0 };
    flags |= if form.key.is_some() { ENCRYPTED } else { 0 };
    let tag = if form.key.is_some() { super::cipher::TAG } else { 0 };
    let body = out.len() - start - HEADER + tag;
    let length = (HEADER + body).next_multiple_of(ALIGNMENT);
    let key = form.key.map_or(0, |(number, _)| number);
    let header = &mut out[start..start + HEADER];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[8..16].copy_from_slice(&at.to_le_bytes());
    header[16..20].copy_from_slice(&(contents.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&(body as u32).to_le_bytes());
    header[24..26].copy_from_slice(&[VERSION, flags]);
    header[28..32].copy_from_slice(&key.to_le_bytes());
    header[32..44].copy_from_slice(&form.nonce);
    if let Some((_, sealer)) = form.key {
        let clear = authenticated(header);
        if !sealer.seal(&form.nonce, &clear, out, start + HEADER) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    let checksum = crc32c::crc32c(&out[start + HEADER..]);
    out.resize(start + length, 0);
    let header = &mut out[start..start + HEADER];
    header[4..8].copy_from_slice(&checksum.to_le_bytes());
    let checksum = checksum_of(header, place);
    header[44..48].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Appends compressed contents, if they are shorter.
fn compress(contents: &[u8], out: &mut Vec<u8>) -> bool {
    if contents.len() < WORTH_COMPRESSING {
        return false;
    }
    let start = out.len();
    out.resize(start + snap::raw::max_compress_len(contents.len()), 0);
    let length = snap::raw::Encoder::new().compress(contents, &mut out[start..]);
    let length = length.ok().filter(|length| *length < contents.len());
    out.truncate(start + length.unwrap_or(0));
    length.is_some()
}

/// Returns the fields of a header that the tag of the body covers.
fn authenticated(header: &[u8]) -> [u8; 28] {
    let mut fields = [0; 28];
    fields[..4].copy_from_slice(&header[..4]);
    fields[4..].copy_from_slice(&header[8..32]);
    fields
}

fn checksum_of(header: &[u8], place: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&place.to_le_bytes()), &header[..44])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::cipher::{Cipher, KEY, Key};
    use super::*;

    fn decode(bytes: &[u8], place: u64, sealer: &Sealer) -> Option<Vec<u8>> {
        let header = Header::parse(bytes, place)?;
        let (mut bytes, mut out) = (bytes.get(..header.length)?.to_vec(), Vec::new());
        let sealer = |number| (number == 5).then(|| sealer.clone());
        header.decode(&mut bytes, sealer, &mut out).then_some(out)
    }

    #[test]
    fn a_frame_is_read_as_it_was_written_and_no_flipped_bit_passes() {
        let sealer = Sealer::new(Cipher::Aes, &Key::new([7; KEY]));
        let text = b"a text that is longer than the least, and that repeats itself ".repeat(3);
        for (compresses, encrypts, contents) in [
            (false, false, &b"abc"[..]),
            (true, false, &text),
            (false, true, b"abc"),
            (true, true, &text),
            (true, true, b""),
        ] {
            let key = encrypts.then_some((5, &sealer));
            let form = Form { compresses, key, nonce: [3; NONCE], is_first: true };
            let mut bytes = Vec::new();
            encode(contents, 999, 64, &form, &mut bytes).unwrap();
            let header = Header::parse(&bytes, 64).unwrap();
            assert_eq!((header.length, header.at), (bytes.len(), 999));
            assert!(header.is_first() && header.is_encrypted() == encrypts);
            assert_eq!(bytes.len() < contents.len(), compresses && !contents.is_empty());
            assert_eq!(decode(&bytes, 64, &sealer).as_deref(), Some(contents));
            assert_eq!(decode(&bytes, 72, &sealer), None, "another place");
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bad, 64, &sealer), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_with_a_right_checksum_is_not_believed() {
        let sealer = Sealer::new(Cipher::ChaCha, &Key::new([7; KEY]));
        let key = Some((5, &sealer));
        let form = Form { compresses: false, key, nonce: [3; NONCE], is_first: true };
        let mut bytes = Vec::new();
        encode(b"a message", 0, 0, &form, &mut bytes).unwrap();
        // The place of the contents, their length, and whether they are encrypted.
        for at in [8, 16, 25] {
            let mut bad = bytes.clone();
            bad[at] ^= 2;
            let checksum = checksum_of(&bad, 0);
            bad[44..48].copy_from_slice(&checksum.to_le_bytes());
            assert!(Header::parse(&bad, 0).is_some());
            assert_ne!(decode(&bad, 0, &sealer).as_deref(), Some(&b"a message"[..]));
            assert!(at == 25 || decode(&bad, 0, &sealer).is_none());
        }
    }
}
