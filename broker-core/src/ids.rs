//! Generated names: server ids in the form of nkeys, and inboxes.

use crate::random::Random;

/// The prefix of a server's public key, which is `N` in base32.
const SERVER_PREFIX: u8 = 13 << 3;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns 56 characters that begin with `N`: the form of a server's public nkey, checksum included.
///
/// It is an identity and not a key: there is no private key.
pub(crate) fn server_id(random: &mut Random) -> String {
    let mut raw = Vec::with_capacity(35);
    raw.push(SERVER_PREFIX);
    for _ in 0..4 {
        raw.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    let checksum = crc16(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    base32(&raw)
}

/// Returns 22 random characters, in the form of NATS's ids.
pub(crate) fn unique(random: &mut Random) -> String {
    (0..22).map(|_| char::from(BASE62[random.below(62)])).collect()
}

/// Computes CRC-16/XMODEM, as in nkeys.
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Encodes base32 of RFC 4648 without padding.
fn base32(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in data {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(BASE32[(bits >> held) as usize & 31]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(BASE32[(bits << (5 - held)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_has_the_form_of_a_public_nkey() {
        let id = server_id(&mut Random::new(1));
        assert_eq!(id.len(), 56);
        assert!(id.starts_with('N'), "{id}");
        assert_ne!(id, server_id(&mut Random::new(2)));
    }

    #[test]
    fn checksum_and_base32_match_known_answers() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(b"fo"), "MZXQ");
    }

    #[test]
    fn unique_names_differ() {
        let mut random = Random::new(3);
        let (a, b) = (unique(&mut random), unique(&mut random));
        assert_eq!((a.len(), b.len()), (22, 22));
        assert_ne!(a, b);
    }
}
