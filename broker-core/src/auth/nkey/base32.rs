//! Base32 without padding (RFC 4648).

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Encodes bytes.
pub(in crate::auth) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0_u32, 0);
    let mut push = |bits: u32| text.push(char::from(ALPHABET[(bits & 31) as usize]));
    for byte in bytes {
        // At most 4 bits are left over, so that 12 are held.
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        count += 8;
        while count >= 5 {
            count -= 5;
            push(bits >> count);
        }
    }
    if count > 0 {
        push(bits << (5 - count));
    }
    text
}

/// Decodes exactly `N` bytes.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut raw = [0; N];
    let mut free = raw.iter_mut();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            // The length was checked: there is room for each whole byte.
            *free.next()? = (bits >> count & 0xff) as u8;
        }
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, without padding.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (text, encoded) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(encode(text.as_bytes()), encoded);
        }
        assert_eq!(decode("MZXW6YTBOI"), Some(*b"foobar"));
        assert_eq!(decode::<6>("MZXW6YTBO"), None);
        assert_eq!(decode::<3>("MZ1W6"), None);
    }
}
