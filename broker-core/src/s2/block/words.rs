//! Comparisons of several bytes at once.

/// Returns the 4 bytes at a position as a number, or 0 if there are fewer.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// Returns the 8 bytes at a position as a number, or 0 if there are fewer.
#[inline]
pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |long| u64::from_le_bytes(*long))
}

/// Returns how many bytes from `a` on equal those from `b` on, where `a` is the earlier position.
#[inline]
pub(super) fn common_len(bytes: &[u8], a: usize, b: usize) -> usize {
    let (earlier, later) = (&bytes[a..], &bytes[b..]);
    let mut len = 0;
    for (earlier, later) in earlier.as_chunks().0.iter().zip(later.as_chunks().0) {
        let different = u64::from_le_bytes(*earlier) ^ u64::from_le_bytes(*later);
        if different != 0 {
            return len + different.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let same =
        earlier[len..].iter().zip(&later[len..]).take_while(|(earlier, later)| earlier == later);
    len + same.count()
}

/// Returns how many bytes before `a` and `b` are equal, up to `most`.
#[inline]
pub(super) fn common_before(bytes: &[u8], a: usize, b: usize, most: usize) -> usize {
    let before = bytes[..a].iter().rev().zip(bytes[..b].iter().rev());
    before.take(most).take_while(|(a, b)| a == b).count()
}
