//! The subjects of acknowledgements.

use crate::decimal::write_decimal;

/// A parsed acknowledgement subject, which is the reply subject of a delivered message.
///
/// ```
/// use broker_streams::consumer::AckSubject;
///
/// let ack = AckSubject::parse(b"$JS.ACK.ORDERS.billing.1.22.7.1700000000000000000.3").unwrap();
/// assert_eq!((ack.stream, ack.consumer, ack.stream_sequence), (&b"ORDERS"[..], &b"billing"[..], 22));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AckSubject<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// The number of deliveries of the message.
    pub deliveries: u64,
    /// The sequence of the message.
    pub stream_sequence: u64,
    /// The number of the delivery.
    pub consumer_sequence: u64,
    /// When the message was stored.
    pub time: i64,
    /// The messages that were not delivered then.
    pub pending: u64,
}

/// The number of tokens of the usual form: `$JS.ACK.<stream>.<consumer>.<numbers>`.
const SHORT: usize = 9;

/// The least number of tokens of the form with a domain and the hash of the account; more may follow.
const LONG: usize = 11;

impl<'a> AckSubject<'a> {
    /// Parses a subject of either form; `None` for other subjects. A token that is no number is read as the highest one, as in
    /// the reference, so that it matches no message.
    // NATS 2.14: consumer.go ackReplyInfo.
    pub fn parse(subject: &'a [u8]) -> Option<Self> {
        let mut tokens = [&b""[..]; LONG];
        let mut count = 0;
        for token in subject.split(|byte| *byte == b'.') {
            if let Some(slot) = tokens.get_mut(count) {
                *slot = token;
            }
            count += 1;
        }
        let is_ack = tokens[0] == b"$JS" && tokens[1] == b"ACK";
        if !is_ack || (count != SHORT && count < LONG) {
            return None;
        }
        let at = if count == SHORT { 2 } else { 4 };
        let number = |index: usize| number(tokens[at + index]);
        Some(Self {
            stream: tokens[at],
            consumer: tokens[at + 1],
            deliveries: number(2),
            stream_sequence: number(3),
            consumer_sequence: number(4),
            time: number(5).cast_signed(),
            pending: number(6),
        })
    }

    /// Appends the usual form to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"$JS.ACK.");
        out.extend_from_slice(self.stream);
        out.push(b'.');
        out.extend_from_slice(self.consumer);
        self.write_numbers(out);
    }

    /// Appends the numbers, each after a dot.
    pub(super) fn write_numbers(&self, out: &mut Vec<u8>) {
        let time = u64::try_from(self.time).unwrap_or_default();
        for number in
            [self.deliveries, self.stream_sequence, self.consumer_sequence, time, self.pending]
        {
            out.push(b'.');
            write_decimal(out, number);
        }
    }
}

/// Reads decimal digits; `u64::MAX` for anything else.
// NATS 2.14: consumer.go parseAckReplyNum, which returns -1.
fn number(text: &[u8]) -> u64 {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
    if digits { text.iter().fold(0, add) } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_subject_are_read_and_the_usual_one_is_written() {
        let text = b"$JS.ACK.S.C.1.22.333.1700000000000000000.0";
        let short = AckSubject::parse(text).unwrap();
        let mut written = Vec::new();
        short.write(&mut written);
        assert_eq!(written, text);

        let long = b"$JS.ACK.hub.hash.S.C.1.22.333.1700000000000000000.0";
        assert_eq!(AckSubject::parse(long), Some(short));
        let longer = b"$JS.ACK.hub.hash.S.C.1.22.333.1700000000000000000.0.more.tokens";
        assert_eq!(AckSubject::parse(longer), Some(short));
    }

    #[test]
    fn other_subjects_are_no_acknowledgements() {
        for text in
            ["", "foo", "$JS.ACK.S.C.1.2.3.4", "$JS.ACK.S.C.1.2.3.4.5.6", "$JS.API.S.C.1.2.3.4.5"]
        {
            assert_eq!(AckSubject::parse(text.as_bytes()), None, "{text}");
        }
        let bad = AckSubject::parse(b"$JS.ACK.S.C.1.x.-1..5").unwrap();
        assert_eq!((bad.stream_sequence, bad.consumer_sequence), (u64::MAX, u64::MAX));
    }
}
