//! Key pairs, which sign.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyKind, NkeyError, PublicKey, SIGNATURE_BYTES, decode, encode};
use crate::auth::Secret;

/// Two bytes of prefix, seed, checksum.
const SEED_BYTES: usize = 2 + KEY_BYTES + 2;

/// The first five bits of every seed: `S`.
const SEED_PREFIX: u8 = 18 << 3;

/// A private key and the kind of its owner.
#[derive(Clone)]
pub struct KeyPair {
    kind: KeyKind,
    key: SigningKey,
}

impl KeyPair {
    /// Creates a pair from a seed of cryptographic randomness.
    pub fn from_random(kind: KeyKind, seed: [u8; KEY_BYTES]) -> Self {
        Self { kind, key: SigningKey::from_bytes(&seed) }
    }

    /// Decodes the text of a seed (`SU…`, `SA…`, `SO…`).
    ///
    /// # Errors
    ///
    /// [`NkeyError`] if it is none.
    pub fn from_seed(text: &str) -> Result<Self, NkeyError> {
        let (kind, seed) = decode_seed(text)?;
        Ok(Self::from_random(kind, *seed))
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.kind, self.key.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }

    /// Returns the text of the seed.
    pub fn seed(&self) -> Secret {
        encode_seed(self.kind, self.key.as_bytes())
    }
}

/// Prints the public key.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

/// Decodes the text of a seed into the kind of the key and its bytes.
// NATS 2.14: nkeys strkey.go DecodeSeed: the prefix of the kind is shifted, so that it is the second letter.
pub(super) fn decode_seed(text: &str) -> Result<(KeyKind, Zeroizing<[u8; KEY_BYTES]>), NkeyError> {
    let raw = Zeroizing::new(decode::<SEED_BYTES>(text)?);
    let [first, second, seed @ .., _, _] = &*raw;
    let kind = KeyKind::of((first & 7) << 5 | second >> 3).ok_or(NkeyError::Prefix)?;
    if first & 0xf8 != SEED_PREFIX {
        return Err(NkeyError::Prefix);
    }
    Ok((kind, Zeroizing::new(*seed)))
}

pub(super) fn encode_seed(kind: KeyKind, seed: &[u8; KEY_BYTES]) -> Secret {
    let prefix = kind.prefix();
    let mut raw = vec![SEED_PREFIX | prefix >> 5, (prefix & 31) << 3];
    raw.extend_from_slice(seed);
    encode(raw).into()
}
