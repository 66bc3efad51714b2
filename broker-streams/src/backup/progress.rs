//! The progress of a consumer as nats-server stores it.
//!
//! ```text
//! 22, version                                                        u8, u8
//! floor: delivery, sequence; delivered: delivery, sequence           varints
//! number of unacknowledged messages; a time in seconds, if there are some
//!     each: sequence and delivery above those of the floor, seconds before that time
//! number of messages that were delivered again
//!     each: sequence above that of the floor, number of further deliveries
//! ```
// NATS 2.14: store.go encodeConsumerState, filestore.go decodeConsumerState.

use broker_core::sort::sort_by_key;

use super::limits::MAX_SEQUENCE;
use crate::config::Time;
use crate::consumer::Progress;

const MAGIC: u8 = 22;
const VERSION: u8 = 2;
const SECOND: i64 = 1_000_000_000;

/// The progress of a consumer cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("corrupt consumer state")]
pub struct InvalidProgress;

/// Returns the bytes of a progress, without messages behind `last`, which the backup does not have.
pub(super) fn encode(progress: &Progress, last: u64) -> Vec<u8> {
    let (floor, delivered) = (progress.floor, progress.delivered);
    let floor = (floor.0, floor.1.min(last));
    let pending = progress.pending.iter().filter(|(sequence, ..)| *sequence <= last);
    let pending: Vec<_> = pending.collect();
    let counts = progress.counts.iter().filter(|(sequence, _)| *sequence <= last);
    let counts: Vec<_> = counts.collect();
    let mut out = vec![MAGIC, VERSION];
    for number in [floor.0, floor.1, delivered.0, delivered.1.min(last), pending.len() as u64] {
        put(&mut out, number);
    }
    let latest = pending.iter().map(|(_, _, time)| time.0 / SECOND).max().unwrap_or(0);
    if !pending.is_empty() {
        put_signed(&mut out, latest);
    }
    for (sequence, delivery, time) in pending {
        put(&mut out, sequence.wrapping_sub(floor.1));
        put(&mut out, delivery.wrapping_sub(floor.0));
        put_signed(&mut out, latest - time.0 / SECOND);
    }
    put(&mut out, counts.len() as u64);
    for (sequence, count) in counts {
        put(&mut out, sequence.wrapping_sub(floor.1));
        put(&mut out, *count);
    }
    out
}

/// Reads a progress.
///
/// # Errors
///
/// [`InvalidProgress`].
pub(super) fn decode(bytes: &[u8]) -> Result<Progress, InvalidProgress> {
    read(bytes).ok_or(InvalidProgress)
}

fn read(bytes: &[u8]) -> Option<Progress> {
    let [MAGIC, version @ 1..=2, rest @ ..] = bytes else { return None };
    let (version, mut rest) = (*version, rest);
    let rest = &mut rest;
    let floor = (take(rest)?, take(rest)?);
    let mut delivered = (take(rest)?, take(rest)?);
    if version == 1 {
        // That version stores the next ones, relative to the floor.
        delivered.0 = delivered.0.checked_add(floor.0.saturating_sub(1))?;
        delivered.1 = delivered.1.checked_add(floor.1.saturating_sub(1))?;
    }
    let is_possible =
        floor.1.max(delivered.1) <= MAX_SEQUENCE && floor.0.max(delivered.0) <= MAX_SEQUENCE;
    let mut progress = is_possible.then(|| Progress { floor, delivered, ..Progress::default() })?;
    let pending = take(rest)?;
    let base = if pending > 0 { take_signed(rest)? } else { 0 };
    // Lengths are not trusted: a vector grows with what is read.
    for _ in 0..pending {
        let sequence = take(rest)?.wrapping_add(floor.1);
        let delivery = if version == 1 { 0 } else { take(rest)?.wrapping_add(floor.0) };
        let seconds = take_signed(rest)?;
        let seconds =
            if version == 1 { base.checked_add(seconds) } else { base.checked_sub(seconds) };
        let time = Time(seconds?.checked_mul(SECOND)?);
        if sequence == 0 || sequence > MAX_SEQUENCE || delivery > MAX_SEQUENCE {
            return None;
        }
        progress.pending.push((sequence, delivery.max(1), time));
    }
    sort_by_key(&mut progress.pending, |(sequence, ..)| *sequence);
    for _ in 0..take(rest)? {
        let (sequence, count) = (take(rest)?.wrapping_add(floor.1), take(rest)?);
        if sequence > 0 && sequence <= MAX_SEQUENCE && count > 0 {
            progress.counts.push((sequence, count));
        }
    }
    Some(progress)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Reads a number of seven bits in each byte; `None` at the end, and for one that is too long.
fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (shift < 63 || *byte < 2).then_some(number);
        }
    }
    None
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    take(rest).map(|number| (number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            floor: (3, 4),
            delivered: (9, 12),
            pending: vec![(5, 4, Time(7 * SECOND)), (12, 9, Time(90 * SECOND))],
            counts: vec![(5, 2)],
        }
    }

    #[test]
    fn a_progress_is_read_as_it_was_written() {
        let progress = progress();
        assert_eq!(decode(&encode(&progress, 100)), Ok(progress.clone()));
        let bytes = encode(&progress, 100);
        (0..bytes.len()).for_each(|end| assert!(decode(&bytes[..end]).is_err(), "{end}"));
        assert_eq!(decode(&encode(&Progress::default(), 0)), Ok(Progress::default()));
    }

    #[test]
    fn messages_that_the_backup_does_not_have_are_left_out() {
        let mut expected = progress();
        (expected.delivered.1, _) = (5, expected.pending.pop());
        assert_eq!(decode(&encode(&progress(), 5)), Ok(expected));
    }

    #[test]
    fn what_claims_to_be_long_takes_no_memory() {
        let bytes = [&[22, 2, 0, 0, 0, 0][..], &[0xff; 9], &[1, 0]].concat();
        assert_eq!(decode(&bytes), Err(InvalidProgress));
        assert_eq!(decode(&[]), Err(InvalidProgress));
        assert_eq!(decode(&[22, 3, 0, 0, 0, 0, 0, 0]), Err(InvalidProgress));
    }
}
