//! Messages that are formatted once and sent repeatedly with new stamps.

use std::ops::Range;

use crate::carrier::{HEAD_BYTES, put_head};
use crate::check::mix;
use crate::stamp::{FILL, STAMP_BYTES, Stamp};

/// Bytes per write: few system calls, and within the processor's cache.
const BATCH_BYTES: usize = 128 << 10;

/// The form of a publisher's messages.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Their subjects.
    pub(crate) subjects: Subjects,
    /// Their header block; empty for none.
    pub(crate) headers: &'static [u8],
    /// Their size without headers.
    pub(crate) payload_bytes: usize,
    /// The second word of the stamp.
    pub(crate) extra: Extra,
}

/// The meaning of the second word of a stamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extra {
    /// The number of the subject.
    Number,
    /// The time of writing.
    Time,
}

/// The subjects of a publisher.
#[derive(Clone, Debug)]
pub(crate) enum Subjects {
    /// A single subject.
    One(String),
    /// `prefix.0000` for the first publisher, and so on.
    OneEach(String),
    /// `prefix.0000` to `prefix.9999`, one after the other.
    Cycle(String),
    /// `prefix.0000.0000` and so on, up to a number, randomly from a fixed seed.
    Random {
        /// The part before the number.
        prefix: String,
        /// The exclusive upper bound of the numbers.
        below: u32,
    },
}

impl Subjects {
    fn text(&self, origin: usize) -> String {
        match self {
            Self::One(subject) => subject.clone(),
            Self::OneEach(prefix) => format!("{prefix}.{origin:04}"),
            Self::Cycle(prefix) => format!("{prefix}.0000"),
            Self::Random { prefix, .. } => numbered(prefix, 0),
        }
    }

    /// The offset of the number.
    fn number_at(&self) -> usize {
        match self {
            Self::One(_) | Self::OneEach(_) => 0,
            Self::Cycle(prefix) | Self::Random { prefix, .. } => prefix.len() + 1,
        }
    }
}

/// Returns the subject of a number for [`Subjects::Random`].
pub(crate) fn numbered(prefix: &str, number: u32) -> String {
    format!("{prefix}.{:04}.{:04}", number / 10_000, number % 10_000)
}

/// Number of subjects in [`Subjects::Cycle`].
pub(crate) const CYCLE: u32 = 10_000;

/// The messages of one publisher, ready to be written.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Space for a frame header, and the messages.
    bytes: Vec<u8>,
    /// The distance between two messages.
    stride: usize,
    stamp_at: usize,
    number_at: usize,
    form: Form,
    origin: usize,
    sequence: u64,
    random: u64,
}

impl Batch {
    /// Creates the messages of publisher `origin`.
    pub(crate) fn new(form: Form, origin: usize) -> Self {
        assert!(form.payload_bytes >= STAMP_BYTES, "a payload must hold the stamp");
        let subject = form.subjects.text(origin);
        let total = form.headers.len() + form.payload_bytes;
        let line = match form.headers.len() {
            0 => format!("PUB {subject} {total}\r\n"),
            headers => format!("HPUB {subject} {headers} {total}\r\n"),
        };
        let payload = vec![FILL; form.payload_bytes];
        let message = [line.as_bytes(), form.headers, &payload, b"\r\n"].concat();
        let count = (BATCH_BYTES / message.len()).max(1);
        Self {
            bytes: [vec![0; HEAD_BYTES], message.repeat(count)].concat(),
            stride: message.len(),
            stamp_at: line.len() + form.headers.len(),
            number_at: line.find(' ').unwrap_or_default() + 1 + form.subjects.number_at(),
            form,
            origin,
            sequence: 0,
            random: mix(origin as u64),
        }
    }

    /// The maximum number of messages in a batch.
    pub(crate) fn capacity(&self) -> u64 {
        ((self.bytes.len() - HEAD_BYTES) / self.stride) as u64
    }

    /// The size of one message.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The number of messages prepared so far.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Prepares the next `count` messages, and returns their range in [`Self::bytes`].
    ///
    /// The first is stamped with `time_ns`, each further one with `step_ns` more.
    pub(crate) fn prepare(&mut self, count: u64, mut time_ns: u64, step_ns: u64) -> Range<usize> {
        let count = count.min(self.capacity()) as usize;
        let messages = &mut self.bytes[HEAD_BYTES..];
        for message in messages.chunks_exact_mut(self.stride).take(count) {
            let number = match self.form.subjects {
                Subjects::One(_) | Subjects::OneEach(_) => 0,
                Subjects::Cycle(_) => {
                    let number = (self.sequence % u64::from(CYCLE)) as u32;
                    write_digits(&mut message[self.number_at..], number);
                    number
                }
                Subjects::Random { below, .. } => {
                    self.random = self.random.wrapping_add(1);
                    let number = (mix(self.random) % u64::from(below)) as u32;
                    let digits = &mut message[self.number_at..];
                    write_digits(digits, number / 10_000);
                    write_digits(&mut digits[5..], number % 10_000);
                    number
                }
            };
            let extra = match self.form.extra {
                Extra::Number => u64::from(number),
                Extra::Time => time_ns,
            };
            let stamp = Stamp::new(self.origin, self.sequence, extra);
            stamp.write(&mut message[self.stamp_at..]);
            self.sequence += 1;
            time_ns += step_ns;
        }
        HEAD_BYTES..HEAD_BYTES + count * self.stride
    }

    /// Puts the prepared messages into one WebSocket frame, and returns its range.
    pub(crate) fn frame(&mut self, messages: &Range<usize>) -> Range<usize> {
        let Some(room) = self.bytes.first_chunk_mut() else { return messages.clone() };
        let head_bytes = put_head(messages.len(), room);
        messages.start - head_bytes..messages.end
    }

    /// The buffer of the prepared messages.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes four decimal digits of a number below 10,000.
#[inline]
pub(crate) fn write_digits(to: &mut [u8], number: u32) {
    let (high, low) = (number / 100, number % 100);
    let digits = [high / 10, high % 10, low / 10, low % 10];
    for (to, digit) in to.iter_mut().zip(digits) {
        *to = b'0' + digit as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(subjects: Subjects) -> Form {
        Form { subjects, headers: b"", payload_bytes: 16, extra: Extra::Number }
    }

    fn lines(batch: &Batch, bytes: Range<usize>) -> Vec<String> {
        let messages = batch.bytes()[bytes].chunks(batch.stride);
        let line = |m: &[u8]| m[..m.len() - 20].to_vec();
        messages.map(|m| String::from_utf8(line(m)).unwrap()).collect()
    }

    #[test]
    fn every_message_has_the_next_number() {
        let mut batch = Batch::new(form(Subjects::One("a.b".into())), 3);
        let mut next = 0;
        for count in [1, 2, 5] {
            let bytes = batch.prepare(count, 0, 0);
            assert_eq!(bytes.len(), count as usize * "PUB a.b 16\r\n0123456789abcdef\r\n".len());
            for message in batch.bytes()[bytes].chunks(batch.stride) {
                assert!(message.starts_with(b"PUB a.b 16\r\n") && message.ends_with(b"\r\n"));
                assert_eq!(Stamp::read(&message[12..]), Stamp::new(3, next, 0));
                next += 1;
            }
        }
        assert_eq!(batch.sequence(), 8);
    }

    #[test]
    fn a_cycle_goes_through_all_subjects() {
        let mut batch = Batch::new(form(Subjects::Cycle("x".into())), 0);
        let bytes = batch.prepare(3, 0, 0);
        let heads: Vec<_> = lines(&batch, bytes).iter().map(|l| l[..10].to_owned()).collect();
        assert_eq!(heads, ["PUB x.0000", "PUB x.0001", "PUB x.0002"]);
        batch.sequence = u64::from(CYCLE) - 1;
        let bytes = batch.prepare(2, 0, 0);
        let heads: Vec<_> = lines(&batch, bytes).iter().map(|l| l[..10].to_owned()).collect();
        assert_eq!(heads, ["PUB x.9999", "PUB x.0000"]);
    }

    #[test]
    fn random_subjects_are_reproducible_and_recorded_in_the_stamp() {
        let subjects = Subjects::Random { prefix: "s".into(), below: 1_000_000 };
        let mut a = Batch::new(form(subjects.clone()), 0);
        let mut b = Batch::new(form(subjects), 0);
        let bytes = a.prepare(100, 0, 0);
        b.prepare(100, 0, 0);
        assert_eq!(a.bytes()[bytes.clone()], b.bytes()[bytes.clone()]);
        for message in a.bytes()[bytes].chunks(a.stride) {
            let number = Stamp::read(&message[a.stamp_at..]).extra as u32;
            assert!(number < 1_000_000);
            let line = format!("PUB {} 16\r\n", numbered("s", number));
            assert!(message.starts_with(line.as_bytes()), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn headers_come_between_line_and_stamp() {
        let headers = b"NATS/1.0\r\nA: b\r\n\r\n";
        let mut form = form(Subjects::One("x".into()));
        form.headers = headers;
        form.extra = Extra::Time;
        let mut batch = Batch::new(form, 0);
        let bytes = batch.prepare(1, 77, 0);
        let message = &batch.bytes()[bytes];
        assert!(message.starts_with(b"HPUB x 18 34\r\nNATS/1.0\r\nA: b\r\n\r\n"));
        assert_eq!(Stamp::read(&message[32..]), Stamp::new(0, 0, 77));
    }

    #[test]
    fn a_message_larger_than_a_batch_is_sent_alone() {
        let mut form = form(Subjects::One("x".into()));
        form.payload_bytes = BATCH_BYTES * 2;
        assert_eq!(Batch::new(form, 0).capacity(), 1);
    }
}
