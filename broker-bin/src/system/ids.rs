//! Ids of events.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Ids in the form of nats-server's: 22 digits, of which the first 12 differ between servers.
// NATS 2.14: nuid.
#[derive(Debug)]
pub(super) struct EventIds {
    prefix: String,
    next: AtomicU64,
}

impl EventIds {
    pub(super) fn new() -> Self {
        let random = |of: u8| RandomState::new().hash_one(of);
        let prefix = digits(random(0), 6) + &digits(random(1), 6);
        Self { prefix, next: AtomicU64::new(random(2) >> 8) }
    }

    pub(super) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}{}", self.prefix, digits(number, 10))
    }
}

/// Writes the last `len` digits of a number.
fn digits(mut number: u64, len: usize) -> String {
    let mut text = vec![b'0'; len];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_in_their_end_within_a_server_and_in_their_beginning_between_servers() {
        let (one, other) = (EventIds::new(), EventIds::new());
        let ids = [one.next(), one.next(), other.next()];
        assert!(ids.iter().all(|id| id.len() == 22));
        assert_eq!(ids[0][..12], ids[1][..12]);
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0][..12], ids[2][..12]);
    }
}
