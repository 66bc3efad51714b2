//! Limits repeated log lines: the first few are written, the others counted, and the count is
//! logged later, so that a storm does not fill the disk.
//!
//! Applies to lines that remote parties can cause without limit: rejected credentials, slow
//! consumers, protocol errors.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::record::{Label, Record};

/// The time window of the counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines of equal content about one host. Enough to show that a problem persists and at what rate;
/// a client that retries every few seconds is still logged each time.
const SAME: u32 = 10;

/// Lines from one place in the code, regardless of content: a client can vary its lines by its user
/// name. At 200 bytes per line this is 30 MB a day.
const PLACE: u32 = 100;

/// Bytes of a message kept for the summary.
const SAMPLE_BYTES: usize = 256;

/// The lines of the current window. Bounded by [`PLACE`] for each `K`, which identifies the place
/// in the code.
#[derive(Debug)]
pub(super) struct Repeats<K> {
    window: Duration,
    hasher: RandomState,
    since: Option<Instant>,
    holding: bool,
    texts: HashMap<(K, u64), Count>,
    places: HashMap<K, Count>,
}

/// The decision on a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Write,
    /// Counts it only. The first one in a window carries the time at which the counts are due.
    Hold(Option<Instant>),
}

#[derive(Debug)]
struct Count {
    written: u32,
    held: u64,
    label: Label,
    host: Option<String>,
    sample: String,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self::new(WINDOW)
    }
}

impl<K> Repeats<K> {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            hasher: RandomState::new(),
            since: None,
            holding: false,
            texts: HashMap::new(),
            places: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Repeats<K> {
    /// Returns true for lines that remote parties can cause. Other lines are rare or wanted
    /// individually: debug and trace are written in full.
    pub(super) fn concern(record: &Record) -> bool {
        match record.label {
            Label::Error | Label::Warn => true,
            Label::Info => record.client.is_some(),
            Label::Fatal | Label::Debug | Label::Trace => false,
        }
    }

    /// Decides whether `record`, from `place`, is written. Call [`due`](Self::due) first.
    pub(super) fn judge(&mut self, now: Instant, place: K, record: &Record) -> Verdict {
        let end = *self.since.get_or_insert(now) + self.window;
        let host = record.client.as_deref().map(host);
        let text = (place.clone(), self.template(host, &record.message));
        let new = || Count::new(record, host);

        let in_place = self.places.entry(place).or_insert_with(new);
        let room = in_place.written < PLACE;
        if let Some(count) = self.texts.get_mut(&text) {
            if room && count.written < SAME {
                count.written += 1;
                in_place.written += 1;
                return Verdict::Write;
            }
            count.held += 1;
        } else if room {
            in_place.written += 1;
            self.texts.insert(text, Count { written: 1, ..new() });
            return Verdict::Write;
        } else {
            in_place.held += 1;
        }
        let first = !std::mem::replace(&mut self.holding, true);
        Verdict::Hold(first.then_some(end))
    }

    /// Returns the summaries if the window is over, and begins a new window.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Record> {
        match self.since {
            Some(since) if now >= since + self.window => self.take(),
            _ => Vec::new(),
        }
    }

    /// Returns the summaries immediately.
    pub(super) fn take(&mut self) -> Vec<Record> {
        self.since = None;
        self.holding = false;
        let window = self.window;
        let texts = self.texts.drain().map(|(_, count)| count.sum("like this", window));
        let places =
            self.places.drain().map(|(_, count)| count.sum("of the same kind as this", window));
        texts.chain(places).flatten().collect()
    }

    /// Hashes a message without its numbers, such as sizes and ids.
    fn template(&self, host: Option<&str>, message: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        host.hash(&mut hasher);
        let mut in_number = false;
        for byte in message.bytes() {
            let digit = byte.is_ascii_digit();
            if !(digit && in_number) {
                hasher.write_u8(if digit { b'0' } else { byte });
            }
            in_number = digit;
        }
        hasher.finish()
    }
}

impl Count {
    fn new(record: &Record, host: Option<&str>) -> Self {
        let message = &record.message;
        let sample = &message[..message.floor_char_boundary(SAMPLE_BYTES)];
        Self {
            written: 0,
            held: 0,
            label: record.label,
            host: host.map(str::to_owned),
            sample: sample.to_owned(),
        }
    }

    fn sum(self, alike: &str, window: Duration) -> Option<Record> {
        let Self { held, label, host, sample, .. } = self;
        let message = format!("{held} more lines {alike} in {window:?} were not logged: {sample}");
        (held > 0).then(|| Record { client: host, ..Record::new(label, message) })
    }
}

/// Returns `10.0.0.7` of `10.0.0.7:52174 - cid:5 - …`.
fn host(client: &str) -> &str {
    let address = client.split(" - ").next().unwrap_or(client);
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: usize = SAME as usize;
    const ALL: usize = PLACE as usize;

    fn error(client: &str, message: &str) -> Record {
        Record { client: Some(client.to_owned()), ..Record::new(Label::Error, message.to_owned()) }
    }

    /// Counts how many of `records` are written.
    fn written(
        repeats: &mut Repeats<u8>,
        now: Instant,
        records: impl Iterator<Item = Record>,
    ) -> usize {
        records.filter(|record| repeats.judge(now, 0, record) == Verdict::Write).count()
    }

    #[test]
    fn the_first_lines_of_a_storm_are_written_and_the_others_summarized() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        // Each line has another connection and another number.
        let storm =
            (0..5000).map(|n| error(&format!("10.0.0.7:{n} - cid:{n}"), &format!("no {n}")));
        assert_eq!(written(&mut repeats, start, storm), EACH);
        assert_eq!(repeats.due(start + WINDOW - Duration::from_millis(1)), []);
        let expected = "4990 more lines like this in 60s were not logged: no 0";
        let sums = repeats.due(start + WINDOW);
        assert_eq!(sums, [Record { client: Some("10.0.0.7".into()), ..error("", expected) }]);

        let again = start + WINDOW;
        assert_eq!(repeats.due(again), []);
        assert_eq!(repeats.judge(again, 0, &error("10.0.0.7:1", "no 1")), Verdict::Write);
    }

    #[test]
    fn held_lines_are_due_at_the_end_of_the_window() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let same = error("h:1", "x");
        written(&mut repeats, start, std::iter::repeat_n(same.clone(), EACH));
        let later = start + Duration::from_secs(59);
        assert_eq!(repeats.judge(later, 0, &same), Verdict::Hold(Some(start + WINDOW)));
        assert_eq!(repeats.judge(later, 0, &same), Verdict::Hold(None));
    }

    #[test]
    fn lines_of_other_hosts_and_other_places_are_still_written() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        written(&mut repeats, now, std::iter::repeat_n(error("10.0.0.7:1", "x"), 50));
        assert_eq!(repeats.judge(now, 0, &error("10.0.0.8:1", "x")), Verdict::Write);
        assert_eq!(repeats.judge(now, 0, &error("10.0.0.7:1", "y")), Verdict::Write);
        assert_eq!(repeats.judge(now, 1, &error("10.0.0.7:1", "x")), Verdict::Write);
    }

    #[test]
    fn distinct_texts_are_limited_too() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let letters = |n: u32| format!("{n:b}").replace('0', "a").replace('1', "b");
        let storm = (0..5000).map(|n| error("10.0.0.7:1", &format!("User {}", letters(n))));
        assert_eq!(written(&mut repeats, now, storm), ALL);
        assert_eq!(repeats.texts.len(), ALL);
        let sums = repeats.due(now + WINDOW);
        assert_eq!(sums.len(), 1);
        let expected = "4900 more lines of the same kind as this in 60s were not logged: User a";
        assert_eq!(sums[0].message, expected);
        assert!(repeats.texts.is_empty() && repeats.places.is_empty());
    }

    #[test]
    fn a_held_line_is_counted_once_whichever_limit_held_it() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let mut lines = 0;
        let mut passed = 0;
        for user in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
            for _ in 0..30 {
                lines += 1;
                let line = error("h:1", user);
                passed += u64::from(repeats.judge(now, 0, &line) == Verdict::Write);
            }
        }
        let held: u64 = repeats
            .take()
            .iter()
            .map(|sum| sum.message.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(passed, ALL as u64);
        assert_eq!(passed + held, lines);
    }

    #[test]
    fn only_lines_that_remote_parties_can_cause_are_held() {
        let concern = |label, client: Option<&str>| {
            let client = client.map(str::to_owned);
            Repeats::<u8>::concern(&Record { client, ..Record::new(label, String::new()) })
        };
        for label in [Label::Error, Label::Warn] {
            assert!(concern(label, None) && concern(label, Some("h:1")));
        }
        assert!(concern(Label::Info, Some("h:1")));
        assert!(!concern(Label::Info, None));
        for label in [Label::Fatal, Label::Debug, Label::Trace] {
            assert!(!concern(label, Some("h:1")), "{label:?}");
        }
    }

    #[test]
    fn a_long_message_is_truncated_in_the_summary() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        written(&mut repeats, now, std::iter::repeat_n(error("h:1", &"ü".repeat(9999)), EACH + 1));
        assert!(repeats.take()[0].message.len() < 2 * SAMPLE_BYTES);
    }

    #[test]
    fn the_host_of_a_client_is_found() {
        for (client, expected) in [
            ("10.0.0.7:52174 - cid:5", "10.0.0.7"),
            ("[::1]:52174 - cid:5 - \"v1.0:go:x\"", "[::1]"),
            ("somebody", "somebody"),
        ] {
            assert_eq!(host(client), expected);
        }
    }
}
