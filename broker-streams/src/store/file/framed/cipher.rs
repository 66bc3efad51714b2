//! Authenticated encryption.

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::Zeroizing;

/// The bytes of a key.
pub(super) const KEY: usize = 32;

/// The bytes of a nonce.
pub(super) const NONCE: usize = 12;

/// The bytes by which encrypted data is longer.
pub(super) const TAG: usize = 16;

/// A key.
pub(super) type Key = Zeroizing<[u8; KEY]>;

/// The encryption of a store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cipher {
    /// ChaCha20-Poly1305.
    #[default]
    ChaCha,
    /// AES-256-GCM.
    Aes,
}

impl Cipher {
    /// Returns its number in files.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::ChaCha => 1,
            Self::Aes => 2,
        }
    }

    /// Returns the cipher with a number.
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::ChaCha, Self::Aes].into_iter().find(|cipher| cipher.number() == number)
    }
}

impl fmt::Display for Cipher {
    // NATS 2.14: filestore.go StoreCipher.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ChaCha => "ChaCha20-Poly1305",
            Self::Aes => "AES-GCM",
        })
    }
}

/// A cipher with a key.
#[derive(Clone)]
pub(super) enum Sealer {
    ChaCha(Box<ChaCha20Poly1305>),
    Aes(Box<Aes256Gcm>),
}

impl Sealer {
    /// Prepares a cipher.
    pub(super) fn new(cipher: Cipher, key: &Key) -> Self {
        match cipher {
            Cipher::ChaCha => Self::ChaCha(Box::new(ChaCha20Poly1305::new((&**key).into()))),
            Cipher::Aes => Self::Aes(Box::new(Aes256Gcm::new((&**key).into()))),
        }
    }

    /// Encrypts `bytes` from `from` on, and appends the tag. Returns false if there are too many.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE],
        clear: &[u8],
        bytes: &mut Vec<u8>,
        from: usize,
    ) -> bool {
        let (nonce, secret) = (nonce.into(), &mut bytes[from..]);
        let tag = match self {
            Self::ChaCha(cipher) => cipher.encrypt_in_place_detached(nonce, clear, secret),
            Self::Aes(cipher) => cipher.encrypt_in_place_detached(nonce, clear, secret),
        };
        tag.map(|tag| bytes.extend_from_slice(&tag)).is_ok()
    }

    /// Decrypts bytes that end with their tag; `None` if they, or the ones in the clear, are not those that were encrypted.
    pub(super) fn open<'a>(
        &self,
        nonce: &[u8; NONCE],
        clear: &[u8],
        bytes: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let at = bytes.len().checked_sub(TAG)?;
        let (secret, tag) = bytes.split_at_mut(at);
        let (nonce, tag) = (nonce.into(), (&*tag).into());
        let opened = match self {
            Self::ChaCha(cipher) => cipher.decrypt_in_place_detached(nonce, clear, secret, tag),
            Self::Aes(cipher) => cipher.decrypt_in_place_detached(nonce, clear, secret, tag),
        };
        if opened.is_ok() { Some(secret) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_opened() {
        for cipher in [Cipher::ChaCha, Cipher::Aes] {
            assert_eq!(Cipher::of(cipher.number()), Some(cipher));
            let sealer = Sealer::new(cipher, &Key::new([7; KEY]));
            let mut sealed = b"head".to_vec();
            sealed.extend_from_slice(b"the secret");
            assert!(sealer.seal(&[1; NONCE], b"clear", &mut sealed, 4));
            assert_eq!(sealed.len(), 4 + 10 + TAG);
            assert!(!sealed.windows(3).any(|bytes| bytes == b"sec"));
            let sealed = &sealed[4..];
            let open = |nonce: u8, clear: &[u8], bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                sealer.open(&[nonce; NONCE], clear, &mut bytes).map(<[u8]>::to_vec)
            };
            assert_eq!(open(1, b"clear", sealed).unwrap(), b"the secret");
            assert_eq!(open(2, b"clear", sealed), None);
            assert_eq!(open(1, b"Clear", sealed), None);
            assert_eq!(open(1, b"clear", &sealed[..TAG - 1]), None);
            for at in 0..sealed.len() {
                let mut bad = sealed.to_vec();
                bad[at] ^= 1;
                assert_eq!(open(1, b"clear", &bad), None, "byte {at}");
            }
        }
        assert_eq!(Cipher::of(0), None);
    }
}
