//! The header fields of a published message that a stream acts on.

use std::borrow::Cow;

use broker_core::header_block::VERSION;
use memchr::memmem;

/// The fields that a stream acts on, read in one pass. A field that is there and empty is `Some(b"")`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Fields<'a> {
    pub message_id: Option<&'a [u8]>,
    pub expected_stream: Option<&'a [u8]>,
    pub expected_last_sequence: Option<&'a [u8]>,
    pub expected_last_subject_sequence: Option<&'a [u8]>,
    pub expected_last_subject: Option<&'a [u8]>,
    pub expected_last_message_id: Option<&'a [u8]>,
    pub rollup: Option<&'a [u8]>,
    pub ttl: Option<&'a [u8]>,
    pub marker_reason: Option<&'a [u8]>,
    pub increment: Option<&'a [u8]>,
    pub counter_sources: Option<&'a [u8]>,
    pub source: Option<&'a [u8]>,
    pub batch_id: Option<&'a [u8]>,
    pub batch_sequence: Option<&'a [u8]>,
    pub batch_commit: Option<&'a [u8]>,
    pub required_api_level: Option<&'a [u8]>,
    pub schedule: Option<&'a [u8]>,
    pub schedule_time_zone: Option<&'a [u8]>,
    pub schedule_ttl: Option<&'a [u8]>,
    pub schedule_rollup: Option<&'a [u8]>,
    pub schedule_target: Option<&'a [u8]>,
    pub schedule_source: Option<&'a [u8]>,
    pub schedule_next: Option<&'a [u8]>,
    pub scheduler: Option<&'a [u8]>,
    pub request_info: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Reads the fields of a header block. Of a field that is repeated, the first counts.
    // NATS 2.14: client.go sliceHeader.
    pub(super) fn read(block: &'a [u8]) -> Self {
        let mut fields = Self::default();
        let Some(mut rest) = after_line(block) else { return fields };
        while !rest.is_empty() {
            let next = after_line(rest);
            let line = next.map_or(rest, |next| &rest[..rest.len() - next.len() - 2]);
            fields.read_line(line);
            rest = next.unwrap_or_default();
        }
        fields
    }

    fn read_line(&mut self, line: &'a [u8]) {
        let Some(line) = line.strip_prefix(b"Nats-") else { return };
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let Some(field) = self.field(&line[..colon]) else { return };
        if field.is_none() {
            let value = &line[colon + 1..];
            let blanks = value.iter().take_while(|byte| **byte == b' ').count();
            *field = Some(&value[blanks..]);
        }
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match name {
            b"Msg-Id" => &mut self.message_id,
            b"Expected-Stream" => &mut self.expected_stream,
            b"Expected-Last-Sequence" => &mut self.expected_last_sequence,
            b"Expected-Last-Subject-Sequence" => &mut self.expected_last_subject_sequence,
            b"Expected-Last-Subject-Sequence-Subject" => &mut self.expected_last_subject,
            b"Expected-Last-Msg-Id" => &mut self.expected_last_message_id,
            b"Rollup" => &mut self.rollup,
            b"TTL" => &mut self.ttl,
            b"Marker-Reason" => &mut self.marker_reason,
            b"Incr" => &mut self.increment,
            b"Counter-Sources" => &mut self.counter_sources,
            b"Stream-Source" => &mut self.source,
            b"Batch-Id" => &mut self.batch_id,
            b"Batch-Sequence" => &mut self.batch_sequence,
            b"Batch-Commit" => &mut self.batch_commit,
            b"Required-Api-Level" => &mut self.required_api_level,
            b"Schedule" => &mut self.schedule,
            b"Schedule-Time-Zone" => &mut self.schedule_time_zone,
            b"Schedule-TTL" => &mut self.schedule_ttl,
            b"Schedule-Rollup" => &mut self.schedule_rollup,
            b"Schedule-Target" => &mut self.schedule_target,
            b"Schedule-Source" => &mut self.schedule_source,
            b"Schedule-Next" => &mut self.schedule_next,
            b"Scheduler" => &mut self.scheduler,
            b"Request-Info" => &mut self.request_info,
            _ => return None,
        })
    }

    /// Returns how the message replaces others.
    #[inline]
    pub(super) fn rollup(&self) -> Rollup<'a> {
        match self.rollup.unwrap_or_default() {
            b"" => Rollup::None,
            value if value.eq_ignore_ascii_case(b"sub") => Rollup::Subject,
            value if value.eq_ignore_ascii_case(b"all") => Rollup::All,
            value => Rollup::Invalid(value),
        }
    }

    /// Returns the time to live.
    // NATS 2.14: stream.go getMessageTTL.
    pub(super) fn ttl(&self) -> Result<Ttl, InvalidTtl> {
        match self.ttl.unwrap_or_default() {
            b"" => Ok(Ttl::None),
            text => Ttl::parse(text),
        }
    }
}

/// Returns the bytes after the first CRLF.
#[inline]
fn after_line(block: &[u8]) -> Option<&[u8]> {
    memmem::find(block, b"\r\n").map(|end| &block[end + 2..])
}

/// The messages that a message replaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rollup<'a> {
    None,
    /// The messages before it with the same subject.
    Subject,
    /// All messages before it.
    All,
    Invalid(&'a [u8]),
}

/// A time to live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ttl {
    /// That of the stream.
    None,
    /// Beyond any limit of age.
    Never,
    Seconds(i64),
}

/// A text that is no time to live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct InvalidTtl;

impl Ttl {
    /// Reads `never`, a duration as Go writes it of at least one second, or a number of seconds.
    // NATS 2.14: stream.go parseMessageTTL.
    pub(super) fn parse(text: &[u8]) -> Result<Self, InvalidTtl> {
        if text.eq_ignore_ascii_case(b"never") {
            return Ok(Self::Never);
        }
        if let Some(nanos) = crate::go::parse_duration(text) {
            return match nanos / 1_000_000_000 {
                // Go reads "0" as a duration too.
                seconds if seconds >= 1 => Ok(Self::Seconds(seconds)),
                _ => Err(InvalidTtl),
            };
        }
        match i64::try_from(number(text).ok_or(InvalidTtl)?) {
            Ok(0) => Ok(Self::None),
            Ok(seconds) => Ok(Self::Seconds(seconds)),
            Err(_) => Err(InvalidTtl),
        }
    }
}

/// Reads a decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads a sequence; a text that is no number is one that no message has.
// NATS 2.14: stream.go getExpectedLastSeq, which takes the -1 of parseInt64 for a sequence.
pub(super) fn sequence(text: Option<&[u8]>) -> Option<u64> {
    text.filter(|text| !text.is_empty()).map(|text| number(text).unwrap_or(u64::MAX))
}

/// Returns the block as a stream stores it: without the status of the first line, and without the client information that the
/// server added. A block without fields becomes an empty one.
// NATS 2.14: client.go removeHeaderStatusIfPresent, stream.go processJetStreamMsgWithBatch.
pub(super) fn to_store(block: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = block.is_empty()
        || block.starts_with(VERSION) && memmem::find(block, b"\r\nNats-Request-Info:").is_none();
    if is_plain {
        return Cow::Borrowed(if block.len() <= VERSION.len() + 2 { b"" } else { block });
    }
    let rest = match after_line(block) {
        Some(rest) if block.starts_with(b"NATS/1.0") => rest,
        _ => return Cow::Borrowed(block),
    };
    let with_version = [VERSION, rest].concat();
    Cow::Owned(without(&with_version, |name| name == b"Nats-Request-Info"))
}

/// Returns the block without some fields; an empty one if no field is left.
pub(super) fn without(block: &[u8], is_removed: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    let mut is_first = true;
    while !rest.is_empty() {
        let end = memmem::find(rest, b"\r\n").map_or(rest.len(), |end| end + 2);
        let (line, next) = rest.split_at(end);
        let name = memchr::memchr(b':', line).map_or(&b""[..], |colon| &line[..colon]);
        if is_first || name.is_empty() || !is_removed(name) {
            out.extend_from_slice(line);
        }
        (rest, is_first) = (next, false);
    }
    if out.len() <= VERSION.len() + 2 { Vec::new() } else { out }
}

/// Begins a block with the lines of another one, which may be empty. Each line is complete, and no empty one is at the end.
// NATS 2.14: stream.go processJetStreamMsgWithBatch cuts two bytes of any block, also of one that ends otherwise.
pub(super) fn begin(out: &mut Vec<u8>, block: &[u8]) {
    match without_end(block) {
        b"" => out.extend_from_slice(VERSION),
        lines => {
            out.extend_from_slice(lines);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Returns the block without the ends of lines at its end.
fn without_end(mut block: &[u8]) -> &[u8] {
    while let Some(shorter) = block.strip_suffix(b"\r\n") {
        block = shorter;
    }
    block
}

/// Appends a field to a block, which may be empty.
// NATS 2.14: client.go genHeader.
pub(super) fn append(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.truncate(without_end(block).len());
    block.extend_from_slice(if block.is_empty() { VERSION } else { b"\r\n" });
    for part in [name.as_bytes(), b": ", value, b"\r\n\r\n"] {
        block.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_added_to_blocks_of_any_end() {
        for (block, lines) in [
            (&b""[..], "NATS/1.0\r\n"),
            (b"x", "x\r\n"),
            (b"\r\n\r\n", "NATS/1.0\r\n"),
            (b"NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\n"),
            (b"NATS/1.0\r\nA: b\r\n\r\n\r\n", "NATS/1.0\r\nA: b\r\n"),
            (b"NATS/1.0\r\nA: b\r\n", "NATS/1.0\r\nA: b\r\n"),
            (b"NATS/1.0\r\nA: b", "NATS/1.0\r\nA: b\r\n"),
            (b"NATS/1.0", "NATS/1.0\r\n"),
        ] {
            let mut begun = Vec::new();
            begin(&mut begun, block);
            assert_eq!(begun, lines.as_bytes(), "{}", block.escape_ascii());
            let mut appended = block.to_vec();
            append(&mut appended, "N", b"v");
            assert_eq!(appended, format!("{lines}N: v\r\n\r\n").as_bytes());
        }
    }

    #[test]
    fn fields_are_read_by_their_exact_names() {
        let block = b"NATS/1.0\r\nNats-Msg-Id:  a b \r\nnats-rollup: all\r\nX-Nats-TTL: 1\r\nNats-Msg-Id: c\r\nNats-TTL:\r\n\r\n";
        let fields = Fields::read(block);
        assert_eq!(fields.message_id, Some(&b"a b "[..]));
        assert_eq!(fields.rollup, None);
        assert_eq!(fields.ttl, Some(&b""[..]));
        assert_eq!(Fields::read(b""), Fields::default());
        assert_eq!(Fields::read(b"NATS/1.0\r\nNats-TTL"), Fields::default());
    }

    #[test]
    fn times_to_live_are_read_as_the_reference_does() {
        for (text, ttl) in [
            ("never", Ok(Ttl::Never)),
            ("NEVER", Ok(Ttl::Never)),
            ("1s", Ok(Ttl::Seconds(1))),
            ("1.9s", Ok(Ttl::Seconds(1))),
            ("1h1m", Ok(Ttl::Seconds(3660))),
            ("500ms", Err(InvalidTtl)),
            ("0s", Err(InvalidTtl)),
            ("0", Err(InvalidTtl)),
            ("25", Ok(Ttl::Seconds(25))),
            ("-1", Err(InvalidTtl)),
            ("x", Err(InvalidTtl)),
        ] {
            assert_eq!(Ttl::parse(text.as_bytes()), ttl, "{text}");
        }
    }

    #[test]
    fn blocks_lose_what_is_not_stored() {
        for (block, stored) in [
            ("", ""),
            ("NATS/1.0\r\n\r\n", ""),
            ("NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n"),
            ("NATS/1.0 503 x\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n"),
            ("NATS/1.0 503\r\n\r\n", ""),
            ("NATS/1.0\r\nNats-Request-Info: {}\r\n\r\n", ""),
            (
                "NATS/1.0\r\nA: b\r\nNats-Request-Info: {}\r\nC: d\r\n\r\n",
                "NATS/1.0\r\nA: b\r\nC: d\r\n\r\n",
            ),
        ] {
            assert_eq!(to_store(block.as_bytes()), stored.as_bytes(), "{block:?}");
        }
    }

    #[test]
    fn a_field_is_appended() {
        let mut block = Vec::new();
        append(&mut block, "A", b"1");
        append(&mut block, "B", b"2");
        assert_eq!(block, b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n");
    }
}
