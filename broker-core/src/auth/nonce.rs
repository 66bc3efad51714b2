//! Nonces, which a client signs to prove that it holds its key.

use std::fmt;

/// The alphabet of base64 for URLs.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The challenge that INFO carries to one connection, if the [authenticator requires
/// it](super::Authenticator::nonce_required). It must be unpredictable and unique to the connection: otherwise a
/// signature could be used again.
///
/// Displayed as in INFO: 15 characters of base64 for URLs.
// NATS 2.14: nkey.go generateNonce.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Nonce([u8; Self::BYTES]);

impl Nonce {
    /// Its length in bytes.
    pub const BYTES: usize = 11;

    /// Makes a nonce from bytes of cryptographic randomness.
    pub fn from_random(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            // Two bytes take three characters.
            for at in 0..=chunk.len() {
                let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
                fmt::Write::write_char(f, char::from(letter))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected text is that of Go's `base64.RawURLEncoding`.
    #[test]
    fn a_nonce_prints_as_base64_for_urls_without_padding() {
        for (bytes, shown) in [
            ([0; 11], "AAAAAAAAAAAAAAA"),
            ([0xff; 11], "______________8"),
            (*b"hello world", "aGVsbG8gd29ybGQ"),
            ([0xfb, 0xef, 0xbe, 1, 2, 3, 4, 5, 6, 7, 8], "----AQIDBAUGBwg"),
        ] {
            assert_eq!(Nonce::from_random(bytes).to_string(), shown);
        }
    }
}
