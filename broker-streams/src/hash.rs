//! The short hashes within names and subjects.

use sha2::{Digest, Sha256};

/// Returns a hash of eight letters and digits.
// NATS 2.14: events.go getHash.
pub(crate) fn hash(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).map(|byte| char::from(DIGITS[usize::from(*byte) % 62])).collect()
}
