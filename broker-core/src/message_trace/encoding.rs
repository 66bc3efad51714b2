//! Compression of trace events and answers of the server, as a message asks for it.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::headers::HeaderMap;

/// The encoding of a trace event or of an answer of the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// The message did not ask for one.
    #[default]
    None,
    /// The format of gzip.
    Gzip,
    /// The framed format of snappy.
    Snappy,
    /// It asked for one that is not supported.
    Identity,
}

impl Encoding {
    /// Returns the encoding that a message with this header block asks for.
    pub fn accepted_in(headers: &[u8]) -> Self {
        let headers = HeaderMap::from_block(Bytes::copy_from_slice(headers));
        let value = headers.as_ref().and_then(|headers| headers.get("Accept-Encoding"));
        value.map_or(Self::None, |value| Self::accepted_by(value.as_bytes()))
    }

    /// Parses the value of `Accept-Encoding`.
    // NATS 2.14: msgtrace.go getCompressionType.
    pub fn accepted_by(value: &[u8]) -> Self {
        let value = value.to_ascii_lowercase();
        let has = |name| memchr::memmem::find(&value, name).is_some();
        match () {
            () if value.is_empty() => Self::None,
            () if has(b"snappy") || has(b"s2") => Self::Snappy,
            () if has(b"gzip") => Self::Gzip,
            () => Self::Identity,
        }
    }

    /// Returns the value of `Content-Encoding`, if the event has that header.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Snappy => Some("snappy"),
            Self::Identity => Some("identity"),
        }
    }

    /// Encodes an event.
    pub fn encode(self, json: Vec<u8>) -> Vec<u8> {
        // Writing to memory cannot fail.
        match self {
            Self::None | Self::Identity => json,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&json).and_then(|()| encoder.finish()).unwrap_or_default()
            }
            Self::Snappy => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                let written = encoder.write_all(&json);
                written.ok().and_then(|()| encoder.into_inner().ok()).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_first_supported_name_decides() {
        for (value, expected) in [
            ("", Encoding::None),
            ("gzip", Encoding::Gzip),
            ("GZIP;q=1", Encoding::Gzip),
            ("Snappy", Encoding::Snappy),
            ("s2", Encoding::Snappy),
            ("gzip, snappy", Encoding::Snappy),
            ("br", Encoding::Identity),
        ] {
            assert_eq!(Encoding::accepted_by(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn the_header_of_a_message_names_the_encoding() {
        let of = Encoding::accepted_in;
        assert_eq!(of(b"NATS/1.0\r\nAccept-Encoding: gzip\r\n\r\n"), Encoding::Gzip);
        assert_eq!(of(b"NATS/1.0\r\nOther: gzip\r\n\r\n"), Encoding::None);
        assert_eq!(of(b""), Encoding::None);
        assert_eq!(of(b"no headers"), Encoding::None);
    }

    #[test]
    fn encoded_events_can_be_decoded() {
        let json = br#"{"events":[]}"#.repeat(1_000);
        let mut read = Vec::new();
        let gzip = Encoding::Gzip.encode(json.clone());
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, json);
        read.clear();
        let snappy = Encoding::Snappy.encode(json.clone());
        snap::read::FrameDecoder::new(&snappy[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, json);
        assert!(gzip.len() < json.len() / 10 && snappy.len() < json.len() / 10);
        for same in [Encoding::None, Encoding::Identity] {
            assert_eq!(same.encode(json.clone()), json);
        }
    }
}
