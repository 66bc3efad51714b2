//! nkeys: Ed25519 keys in the text form of NATS.
//!
//! A public key names its owner and the kind of the owner; it is decoded once, into a [`PublicKey`] that cannot be
//! wrong. A [`KeyPair`] signs: programs that embed the broker make accounts and users with it.
//!
//! ```
//! use broker_core::auth::nkey::{KeyKind, KeyPair, PublicKey};
//!
//! // In a program, these bytes come from a source of cryptographic randomness.
//! let user = KeyPair::from_random(KeyKind::User, [7; 32]);
//! let text = user.public().to_string();
//! assert!(text.starts_with('U'));
//!
//! let key = PublicKey::parse(&text)?;
//! assert_eq!(key.kind(), KeyKind::User);
//! key.verify(b"nonce", &user.sign(b"nonce"))?;
//! assert!(key.verify(b"other", &user.sign(b"nonce")).is_err());
//! # Ok::<(), broker_core::auth::nkey::NkeyError>(())
//! ```

mod base32;
mod curve;
mod lenient;
mod pair;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Verifier, VerifyingKey};

use super::Credentials;

pub(super) use base32::encode as base32_encode;
pub use curve::{BOX_NONCE_BYTES, CurvePair};
pub(super) use lenient::decode_for_urls;
use lenient::decode_standard;
pub use pair::KeyPair;

/// The kind of the owner of a key: the first letter of its text.
// NATS 2.14: nkeys strkey.go PrefixByte.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum KeyKind {
    /// An account: `A`.
    Account,
    /// A cluster: `C`.
    Cluster,
    /// A server: `N`.
    Server,
    /// An operator: `O`.
    Operator,
    /// A user: `U`.
    User,
    /// A key for encryption (X25519), which cannot sign: `X`.
    Curve,
}

impl KeyKind {
    const ALL: [Self; 6] =
        [Self::Account, Self::Cluster, Self::Server, Self::Operator, Self::User, Self::Curve];

    /// Returns the first byte of the decoded form.
    const fn prefix(self) -> u8 {
        match self {
            Self::Account => 0,
            Self::Cluster => 2 << 3,
            Self::Server => 13 << 3,
            Self::Operator => 14 << 3,
            Self::User => 20 << 3,
            Self::Curve => 23 << 3,
        }
    }

    fn of(prefix: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// Returns its name in the messages of NATS.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Cluster => "cluster",
            Self::Server => "server",
            Self::Operator => "operator",
            Self::User => "user",
            Self::Curve => "x25519",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The length of a key and of a seed, in bytes.
pub const KEY_BYTES: usize = 32;

/// The length of a signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// Prefix, key, checksum.
const PUBLIC_BYTES: usize = 1 + KEY_BYTES + 2;

/// A public key and the kind of its owner.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey {
    kind: KeyKind,
    bytes: [u8; KEY_BYTES],
}

impl PublicKey {
    /// Creates a public key from its bytes.
    pub fn new(kind: KeyKind, bytes: [u8; KEY_BYTES]) -> Self {
        Self { kind, bytes }
    }

    /// Decodes the text of a public key.
    ///
    /// # Errors
    ///
    /// [`NkeyError`] if it is no base32, has another length, a wrong checksum or an unknown prefix.
    pub fn parse(text: &str) -> Result<Self, NkeyError> {
        let raw: [u8; PUBLIC_BYTES] = decode(text)?;
        let [prefix, bytes @ .., _, _] = raw;
        let kind = KeyKind::of(prefix).ok_or(NkeyError::Prefix)?;
        Ok(Self { kind, bytes })
    }

    /// Decodes the text of a public key of this kind.
    ///
    /// # Errors
    ///
    /// [`NkeyError`], also if it is of another kind.
    pub fn parse_as(kind: KeyKind, text: &str) -> Result<Self, NkeyError> {
        let key = Self::parse(text)?;
        if key.kind == kind { Ok(key) } else { Err(NkeyError::Prefix) }
    }

    /// Returns true if the text is a public key of this kind.
    pub fn is_valid(kind: KeyKind, text: &str) -> bool {
        Self::parse_as(kind, text).is_ok()
    }

    /// Returns the kind of its owner.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the bytes of the key.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// Checks that the owner of the key has signed `message`. Takes about 50 µs.
    ///
    /// # Errors
    ///
    /// [`NkeyError::Signature`] if it has not, or if the key cannot sign.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), NkeyError> {
        let signature = Signature::from_slice(signature).map_err(|_| NkeyError::Signature)?;
        let key = match self.kind {
            KeyKind::Curve => return Err(NkeyError::Signature),
            _ => VerifyingKey::from_bytes(&self.bytes).map_err(|_| NkeyError::Signature)?,
        };
        key.verify(message, &signature).map_err(|_| NkeyError::Signature)
    }
}

impl FromStr for PublicKey {
    type Err = NkeyError;

    fn from_str(text: &str) -> Result<Self, NkeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = vec![self.kind.prefix()];
        raw.extend_from_slice(&self.bytes);
        f.write_str(&encode(raw))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason why a key or a signature was refused. Never contains the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NkeyError {
    /// The text is no base32 or has the wrong length.
    #[error("invalid encoded key")]
    Encoding,
    /// The checksum is wrong.
    #[error("invalid checksum")]
    Checksum,
    /// The prefix is unknown or not the expected one.
    #[error("invalid prefix byte")]
    Prefix,
    /// The signature is not that of the message by this key.
    #[error("signature verification failed")]
    Signature,
    /// A sealed message is malformed, or not from this sender to this recipient.
    #[error("nkeys: could not decrypt input")]
    Sealed,
}

/// Checks that the owner of `key` has signed the nonce of its connection.
///
/// # Errors
///
/// The reason, in the words of the reference's log. Without a nonce no signature is valid.
// NATS 2.14: auth.go: base64 for URLs without padding, or else the standard base64.
pub(crate) fn verify_nonce(key: &PublicKey, credentials: &Credentials) -> Result<(), &'static str> {
    let text = credentials.sig.expose();
    if text.is_empty() {
        return Err("Signature missing");
    }
    let signature = decode_for_urls(text).or_else(|| decode_standard(text));
    let signature = signature.ok_or("Signature not valid base64")?;
    let nonce = &credentials.nonce;
    let is_signed = !nonce.is_empty() && key.verify(nonce.as_bytes(), &signature).is_ok();
    if is_signed { Ok(()) } else { Err("Signature not verified") }
}

/// Decodes base32 of exactly `N` bytes, the last two of which are the checksum of the others.
fn decode<const N: usize>(text: &str) -> Result<[u8; N], NkeyError> {
    let raw: [u8; N] = base32::decode(text).ok_or(NkeyError::Encoding)?;
    match raw.split_last_chunk::<2>() {
        Some((content, checksum)) if crc16(content) == u16::from_le_bytes(*checksum) => Ok(raw),
        _ => Err(NkeyError::Checksum),
    }
}

/// Appends the checksum and encodes.
fn encode(mut raw: Vec<u8>) -> String {
    let checksum = crc16(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    base32::encode(&raw)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by nkeys 0.4.16 (Go).
    const SEED: &str = "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY";
    const PUBLIC: &str = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";

    #[test]
    fn a_pair_of_the_reference_is_read_and_written_alike() {
        let pair = KeyPair::from_seed(SEED).unwrap();
        assert_eq!(pair.seed().expose(), SEED);
        assert_eq!(pair.public().kind(), KeyKind::User);
        assert_eq!(pair.public().to_string(), PUBLIC);
        assert_eq!(PUBLIC.parse(), Ok(pair.public()));
    }

    #[test]
    fn every_kind_survives_its_text() {
        let letters = KeyKind::ALL.map(|kind| {
            let text = PublicKey::new(kind, [9; KEY_BYTES]).to_string();
            let key = PublicKey::parse(&text).unwrap();
            assert_eq!((key.kind(), key.as_bytes()), (kind, &[9; KEY_BYTES]));
            assert!(PublicKey::is_valid(kind, &text));
            text.chars().next().unwrap()
        });
        assert_eq!(letters, ['A', 'C', 'N', 'O', 'U', 'X']);
    }

    #[test]
    fn damaged_keys_are_refused() {
        let damaged = |from: usize| {
            let mut text = PUBLIC.to_owned().into_bytes();
            text[from] = if text[from] == b'A' { b'B' } else { b'A' };
            String::from_utf8(text).unwrap()
        };
        for at in 1..PUBLIC.len() {
            assert!(PublicKey::parse(&damaged(at)).is_err(), "{at}");
            assert!(PublicKey::parse(&PUBLIC[..at]).is_err(), "{at}");
        }
        for text in ["", "U", "ü", &PUBLIC.to_lowercase(), &format!("{PUBLIC}A"), SEED] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
        assert_eq!(PublicKey::parse_as(KeyKind::Account, PUBLIC), Err(NkeyError::Prefix));
    }

    #[test]
    fn a_signature_holds_for_its_message_and_its_key_only() {
        let [pair, other] = [1, 2].map(|byte| KeyPair::from_random(KeyKind::User, [byte; 32]));
        let signature = pair.sign(b"nonce");
        assert_eq!(pair.public().verify(b"nonce", &signature), Ok(()));
        assert_eq!(pair.public().verify(b"nonc", &signature), Err(NkeyError::Signature));
        assert_eq!(other.public().verify(b"nonce", &signature), Err(NkeyError::Signature));
        assert!(pair.public().verify(b"nonce", &signature[..63]).is_err());
        assert!(pair.public().verify(b"nonce", &[]).is_err());
        let curve = PublicKey::new(KeyKind::Curve, *pair.public().as_bytes());
        assert!(curve.verify(b"nonce", &signature).is_err());
    }

    #[test]
    fn a_pair_prints_no_secret() {
        let pair = KeyPair::from_seed(SEED).unwrap();
        assert!(!format!("{pair:?}").contains(SEED));
    }
}
