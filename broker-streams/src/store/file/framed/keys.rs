//! The keys of a store, in a file of its own.
//!
//! Data is encrypted with keys that are made at random for the store. The file has them encrypted with a key that is derived from the
//! configured one, so that another configured key means another file and not another store. It is stored twice, so that no single
//! sector holds the store.
//!
//! ```text
//!  0  "natsdkey"
//!  8  checksum of what follows                    u32
//! 12  version                                     u32
//! 16  length of this part                         u32
//! 20  1 if all of the store is encrypted, else 0  u32
//!     keys: number, cipher                        u32, u32
//!           nonce                                 12 bytes
//!           the key, encrypted, and its tag       48 bytes
//!     zeros up to a multiple of 4096, then all again
//! ```

use std::io;

use broker_core::auth::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::super::damage::Damage;
use super::super::disk::Disk;
use super::cipher::{Cipher, KEY, Key, NONCE, Sealer, TAG};
use crate::store::StorageError;

/// The name of the file.
pub(super) const NAME: &str = "keys";

/// The name of the file that takes its place.
const TEMPORARY: &str = "keys.tmp";

const MAGIC: &[u8; 8] = b"natsdkey";
const VERSION: u32 = 1;
const FIXED: usize = 24;
const ENTRY: usize = 8 + NONCE + KEY + TAG;
const PART: usize = 4096;

/// The most keys of a store: each change of the configured key or of the cipher adds one.
const KEYS: usize = 10_000;

/// The encryption of the streams of a server.
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    /// The cipher for what is written from now on.
    pub cipher: Cipher,
    /// The key, a text of any length.
    pub key: Secret,
    /// The key before, with which stores are opened that the key does not open.
    pub previous_key: Option<Secret>,
}

impl Encryption {
    /// Returns how a store is encrypted.
    pub fn of_store(&self, account: &str, stream: &str) -> StoreEncryption {
        let context = [account.as_bytes(), stream.as_bytes()].join(&0);
        StoreEncryption { encryption: self.clone(), context }
    }
}

/// The encryption of one store.
#[derive(Clone, Debug)]
pub struct StoreEncryption {
    encryption: Encryption,
    /// The name that distinguishes the store from others.
    context: Vec<u8>,
}

impl StoreEncryption {
    /// Returns the cipher that encrypts keys for another cipher.
    // NATS 2.14: jetstream.go jsKeyGen: HMAC-SHA256 of the account and the stream.
    fn wrapper(&self, secret: &Secret, cipher: Cipher) -> Result<Sealer, StorageError> {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
        let mut mac = mac.map_err(|_| KeyError::Unusable)?;
        mac.update(b"natsd keys of a store\0");
        mac.update(&[cipher.number()]);
        mac.update(&self.context);
        let mut key = Key::default();
        key.copy_from_slice(&mac.finalize().into_bytes());
        Ok(Sealer::new(cipher, &key))
    }
}

/// The reason why the keys of a store are not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The store is encrypted, and no key is configured.
    #[error("encryption not enabled: the store is encrypted, and no key is configured")]
    Missing,
    /// The configured keys are others.
    #[error("unable to recover keys: neither the key nor the previous key opens the store")]
    Wrong,
    /// The file of the keys is damaged.
    #[error("unable to recover keys: the file of keys is damaged")]
    Damaged,
    /// A key cannot be used, or there are too many.
    #[error("unable to make keys")]
    Unusable,
}

/// The keys of a store.
#[derive(Clone)]
pub(super) struct Keys {
    keys: Vec<StoredKey>,
    /// False while what was stored before is being encrypted.
    pub(super) is_complete: bool,
}

#[derive(Clone)]
struct StoredKey {
    number: u32,
    cipher: Cipher,
    key: Key,
    sealer: Sealer,
}

impl StoredKey {
    fn new(number: u32, cipher: Cipher, key: Key) -> Self {
        let sealer = Sealer::new(cipher, &key);
        Self { number, cipher, key, sealer }
    }
}

/// The change of a store's encryption when it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyChange {
    /// Nothing.
    #[default]
    Nothing,
    /// The stored contents were encrypted.
    Encrypted,
    /// The configured key or the cipher is another one.
    Converted,
}

/// The result of reading the keys of a store.
pub(super) struct OpenedKeys {
    pub(super) keys: Keys,
    /// One part of the file was damaged; it is whole again.
    pub(super) was_damaged: bool,
    pub(super) change: KeyChange,
}

impl Keys {
    /// Opens the keys of a store, or makes the first one. They are encrypted with the configured key and cipher afterwards. Returns `None`
    /// for a store without encryption.
    ///
    /// # Errors
    ///
    /// [`StorageError::Key`], [`StorageError::Io`].
    pub(super) fn open(
        disk: &dyn Disk,
        encryption: Option<&StoreEncryption>,
    ) -> Result<Option<OpenedKeys>, StorageError> {
        let stored = read(disk)?;
        let Some(encryption) = encryption else {
            return if stored.is_some() { Err(KeyError::Missing.into()) } else { Ok(None) };
        };
        let cipher = encryption.encryption.cipher;
        let Some((bytes, was_damaged)) = stored else {
            let mut keys = Self { keys: Vec::new(), is_complete: false };
            keys.add(cipher)?;
            keys.store(disk, encryption)?;
            let change = KeyChange::Nothing;
            return Ok(Some(OpenedKeys { keys, was_damaged: false, change }));
        };
        let (mut keys, with_previous) = Self::decode(&bytes, encryption)?;
        let mut change = KeyChange::Nothing;
        if with_previous || keys.keys.last().is_some_and(|newest| newest.cipher != cipher) {
            keys.add(cipher)?;
            keys.store(disk, encryption)?;
            change = KeyChange::Converted;
        } else if was_damaged {
            keys.store(disk, encryption)?;
        }
        Ok(Some(OpenedKeys { keys, was_damaged, change }))
    }

    /// Returns the number of the key with which data is encrypted, and the cipher with it.
    pub(super) fn newest(&self) -> Option<(u32, &Sealer)> {
        self.keys.last().map(|key| (key.number, &key.sealer))
    }

    /// Returns the cipher with the key of a number.
    pub(super) fn sealer(&self, number: u32) -> Option<&Sealer> {
        self.keys.iter().find(|key| key.number == number).map(|key| &key.sealer)
    }

    /// Makes the keys durable.
    pub(super) fn store(
        &self,
        disk: &dyn Disk,
        encryption: &StoreEncryption,
    ) -> Result<(), StorageError> {
        let bytes = self.encode(encryption)?;
        let file = disk.create(TEMPORARY)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(TEMPORARY, NAME)?;
        Ok(disk.sync()?)
    }

    fn add(&mut self, cipher: Cipher) -> Result<(), StorageError> {
        if self.keys.len() == KEYS {
            return Err(KeyError::Unusable.into());
        }
        let mut key = Key::default();
        random(&mut *key)?;
        let number = self.keys.last().map_or(1, |last| last.number + 1);
        self.keys.push(StoredKey::new(number, cipher, key));
        Ok(())
    }

    fn encode(&self, encryption: &StoreEncryption) -> Result<Vec<u8>, StorageError> {
        let length = FIXED + self.keys.len() * ENTRY;
        let mut part = MAGIC.to_vec();
        for number in [0, VERSION, length as u32, u32::from(self.is_complete)] {
            part.extend_from_slice(&number.to_le_bytes());
        }
        for key in &self.keys {
            let wrapper = encryption.wrapper(&encryption.encryption.key, key.cipher)?;
            let mut nonce = [0; NONCE];
            random(&mut nonce)?;
            let clear = clear(self.is_complete, key.number, key.cipher.number());
            part.extend_from_slice(&key.number.to_le_bytes());
            part.extend_from_slice(&u32::from(key.cipher.number()).to_le_bytes());
            part.extend_from_slice(&nonce);
            let start = part.len();
            // With its room, so that no copy of the key is left behind when it grows.
            part.reserve(KEY + TAG);
            part.extend_from_slice(&*key.key);
            if !wrapper.seal(&nonce, &clear, &mut part, start) {
                return Err(KeyError::Unusable.into());
            }
        }
        let checksum = crc32c::crc32c(&part[12..]);
        part[8..12].copy_from_slice(&checksum.to_le_bytes());
        part.resize(length.next_multiple_of(PART), 0);
        Ok(part.repeat(2))
    }

    /// Reads the keys. Returns true with them if it takes the previous key.
    fn decode(part: &[u8], encryption: &StoreEncryption) -> Result<(Self, bool), StorageError> {
        let is_complete = u32_at(part, 20) == 1;
        let mut keys = Vec::new();
        let mut with_previous = false;
        for entry in part[FIXED..].chunks_exact(ENTRY) {
            let cipher = u8::try_from(u32_at(entry, 4)).ok().and_then(Cipher::of);
            let cipher = cipher.ok_or(KeyError::Damaged)?;
            let number = u32_at(entry, 0);
            let clear = clear(is_complete, number, cipher.number());
            let open = |secret: &Secret| -> Result<Option<Key>, StorageError> {
                let (mut nonce, mut sealed) = ([0; NONCE], Zeroizing::new([0; KEY + TAG]));
                nonce.copy_from_slice(&entry[8..8 + NONCE]);
                sealed.copy_from_slice(&entry[8 + NONCE..]);
                let wrapper = encryption.wrapper(secret, cipher)?;
                let key = wrapper.open(&nonce, &clear, &mut *sealed);
                Ok(key.and_then(|key| key.try_into().ok()).map(Key::new))
            };
            let mut key = open(&encryption.encryption.key)?;
            if let (None, Some(previous)) = (&key, &encryption.encryption.previous_key) {
                key = open(previous)?;
                with_previous = true;
            }
            keys.push(StoredKey::new(number, cipher, key.ok_or(KeyError::Wrong)?));
        }
        if keys.is_empty() {
            return Err(KeyError::Damaged.into());
        }
        Ok((Self { keys, is_complete }, with_previous))
    }
}

/// Reads the file. Returns the first intact part, and true if the other one is damaged; `None` without a file.
fn read(disk: &dyn Disk) -> Result<Option<(Vec<u8>, bool)>, StorageError> {
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    if size > 2 * (FIXED + KEYS * ENTRY).next_multiple_of(PART) {
        return Err(KeyError::Damaged.into());
    }
    let mut bytes = vec![0; size];
    let read = file.read_at(&mut bytes, 0)?;
    let (first, second) = bytes[..read].split_at(read / 2);
    match (intact(first), intact(second)) {
        (None, None) => Err(KeyError::Damaged.into()),
        (Some(part), other) => Ok(Some((part.to_vec(), other.is_none()))),
        (None, Some(part)) => Ok(Some((part.to_vec(), true))),
    }
}

/// Returns true for the names of files of keys.
pub(super) fn is_of_keys(name: &str) -> bool {
    [NAME, TEMPORARY].contains(&name)
}

/// Returns what is reported if a part of the file is damaged.
pub(super) fn damage() -> Damage {
    Damage { file: NAME.to_owned(), offset: 0, bytes: 0, sequences: None }
}

/// Returns a part of the file without the zeros behind it, if it is intact.
fn intact(part: &[u8]) -> Option<&[u8]> {
    if !part.starts_with(MAGIC) || part.len() < FIXED || u32_at(part, 12) != VERSION {
        return None;
    }
    let (used, zeros) = part.split_at_checked(u32_at(part, 16) as usize)?;
    let is_intact = used.len() >= FIXED
        && (used.len() - FIXED).is_multiple_of(ENTRY)
        && crc32c::crc32c(&used[12..]) == u32_at(used, 8)
        && zeros.iter().all(|byte| *byte == 0);
    is_intact.then_some(used)
}

/// Returns what the tag of an encrypted key covers beside it.
fn clear(is_complete: bool, number: u32, cipher: u8) -> [u8; 6] {
    let [a, b, c, d] = number.to_le_bytes();
    [u8::from(is_complete), cipher, a, b, c, d]
}

/// Fills bytes with randomness of the operating system.
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
