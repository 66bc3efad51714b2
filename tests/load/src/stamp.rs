//! The beginning of each payload, by which the receiver checks the sequence.

/// Size of a stamp, and minimum size of a payload.
pub(crate) const STAMP_BYTES: usize = 16;

/// The rest of each payload.
pub(crate) const FILL: u8 = b'x';

/// The upper 16 bits of the first word hold the publisher, the lower 48 its counter.
const SEQUENCE_BITS: u32 = 48;

/// Publisher and sequence number of a message, and a value defined by the scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// The publisher and its counter, in one word.
    pub(crate) word: u64,
    /// A time in nanoseconds, or the number of the subject.
    pub(crate) extra: u64,
}

impl Stamp {
    /// Creates the stamp of publisher `origin` for its message `sequence`.
    pub(crate) fn new(origin: usize, sequence: u64, extra: u64) -> Self {
        Self { word: (origin as u64) << SEQUENCE_BITS | sequence, extra }
    }

    /// The publisher.
    pub(crate) fn origin(self) -> usize {
        (self.word >> SEQUENCE_BITS) as usize
    }

    /// The number of messages that the publisher sent before.
    pub(crate) fn sequence(self) -> u64 {
        self.word & ((1 << SEQUENCE_BITS) - 1)
    }

    /// Writes the stamp over the first bytes of a payload.
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.word.to_le_bytes());
        payload[8..STAMP_BYTES].copy_from_slice(&self.extra.to_le_bytes());
    }

    /// Reads the first bytes of a payload; missing bytes count as zero.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = payload.get(at..at + 8).and_then(|b| b.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        Self { word: word(0), extra: word(8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_read_back_is_the_one_written() {
        let stamp = Stamp::new(7, 123_456_789, u64::MAX);
        let mut payload = [FILL; 20];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), stamp);
        assert_eq!((stamp.origin(), stamp.sequence()), (7, 123_456_789));
        assert_eq!(&payload[STAMP_BYTES..], b"xxxx");
    }
}
