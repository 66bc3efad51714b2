//! Curve keys, which encrypt.

use std::fmt;

use crypto_box::aead::Aead as _;
use crypto_box::{Nonce, SalsaBox, SecretKey};

use super::pair::{decode_seed, encode_seed};
use super::{KEY_BYTES, KeyKind, NkeyError, PublicKey};
use crate::auth::Secret;

/// The length of the random number of each sealed message, in bytes.
pub const BOX_NONCE_BYTES: usize = 24;

/// The beginning of sealed messages.
// NATS 2.14: nkeys xkeys.go XKeyVersionV1.
const VERSION: &[u8; 4] = b"xkv1";

/// A private key for encryption (X25519).
///
/// ```
/// use broker_core::auth::nkey::CurvePair;
///
/// // In a program, these bytes come from a source of cryptographic randomness.
/// let (alice, bob) = (CurvePair::from_random([1; 32]), CurvePair::from_random([2; 32]));
/// let sealed = alice.seal(b"hello", &bob.public(), [3; 24])?;
/// assert_eq!(bob.open(&sealed, &alice.public())?, b"hello");
/// # Ok::<(), broker_core::auth::nkey::NkeyError>(())
/// ```
#[derive(Clone)]
pub struct CurvePair(SecretKey);

impl CurvePair {
    /// Creates a key from cryptographic randomness.
    pub fn from_random(seed: [u8; KEY_BYTES]) -> Self {
        Self(SecretKey::from(seed))
    }

    /// Decodes the text of a seed (`SX…`).
    ///
    /// # Errors
    ///
    /// [`NkeyError`] if it is none.
    pub fn from_seed(text: &str) -> Result<Self, NkeyError> {
        match decode_seed(text)? {
            (KeyKind::Curve, seed) => Ok(Self::from_random(*seed)),
            _ => Err(NkeyError::Prefix),
        }
    }

    /// Returns the text of the seed.
    pub fn seed(&self) -> Secret {
        encode_seed(KeyKind::Curve, &self.0.to_bytes())
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(KeyKind::Curve, *self.0.public_key().as_bytes())
    }

    /// Encrypts a message for `recipient`, who can tell that it is from the owner of this key. `nonce` must be random,
    /// and never the same for two messages.
    ///
    /// # Errors
    ///
    /// [`NkeyError::Prefix`] if the recipient is no curve key.
    pub fn seal(
        &self,
        message: &[u8],
        recipient: &PublicKey,
        nonce: [u8; BOX_NONCE_BYTES],
    ) -> Result<Vec<u8>, NkeyError> {
        let sealed = self.shared(recipient)?.encrypt(&Nonce::from(nonce), message);
        let sealed = sealed.map_err(|_| NkeyError::Sealed)?;
        Ok([&VERSION[..], &nonce, &sealed].concat())
    }

    /// Decrypts a message of `sender`.
    ///
    /// # Errors
    ///
    /// [`NkeyError::Sealed`] if it is not from this sender to the owner of this key, or was changed.
    pub fn open(&self, sealed: &[u8], sender: &PublicKey) -> Result<Vec<u8>, NkeyError> {
        let rest = sealed.strip_prefix(VERSION).ok_or(NkeyError::Sealed)?;
        let (nonce, rest) = rest.split_first_chunk::<BOX_NONCE_BYTES>().ok_or(NkeyError::Sealed)?;
        let opened = self.shared(sender)?.decrypt(&Nonce::from(*nonce), rest);
        opened.map_err(|_| NkeyError::Sealed)
    }

    fn shared(&self, other: &PublicKey) -> Result<SalsaBox, NkeyError> {
        if other.kind() != KeyKind::Curve {
            return Err(NkeyError::Prefix);
        }
        Ok(SalsaBox::new(&crypto_box::PublicKey::from(*other.as_bytes()), &self.0))
    }
}

/// Prints the public key.
impl fmt::Debug for CurvePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurvePair({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_opens_what_the_sender_has_sealed() {
        let [alice, bob, eve] = [1, 2, 3].map(|byte| CurvePair::from_random([byte; 32]));
        let sealed = alice.seal(b"secret", &bob.public(), [9; 24]).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(bob.open(&sealed, &alice.public()).as_deref(), Ok(&b"secret"[..]));
        assert_eq!(eve.open(&sealed, &alice.public()), Err(NkeyError::Sealed));
        assert_eq!(bob.open(&sealed, &eve.public()), Err(NkeyError::Sealed));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(bob.open(&damaged, &alice.public()), Err(NkeyError::Sealed), "{at}");
            assert_eq!(bob.open(&sealed[..at], &alice.public()), Err(NkeyError::Sealed), "{at}");
        }
        let user = PublicKey::new(KeyKind::User, [1; 32]);
        assert_eq!(alice.seal(b"", &user, [9; 24]), Err(NkeyError::Prefix));
    }

    #[test]
    fn a_seed_is_read_and_written_alike_and_never_printed() {
        let pair = CurvePair::from_random([7; 32]);
        let seed = pair.seed();
        assert!(seed.expose().starts_with("SX"));
        assert_eq!(CurvePair::from_seed(seed.expose()).unwrap().public(), pair.public());
        assert!(pair.public().to_string().starts_with('X'));
        assert!(!format!("{pair:?}").contains(seed.expose()));
        assert!(
            CurvePair::from_seed("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY")
                .is_err()
        );
    }
}
