//! Answers to publishers.

use std::io::Write;

use broker_core::go_json;
use serde::Serialize;

use super::Stream;
use crate::error::ApiError;

/// The acknowledgement of a message, or of a batch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PubAck {
    /// The sequence of the message; of the last one of a batch.
    pub sequence: u64,
    /// The message had been stored before.
    pub is_duplicate: bool,
    /// The value of a counter.
    pub value: Option<String>,
    /// The id and the number of messages of a batch.
    pub batch: Option<(String, u64)>,
}

/// The answer to a publisher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Stored. The acknowledgement leaves when the store is durable up to its present position.
    Ack(PubAck),
    /// Not stored. The answer leaves at once.
    Error(ApiError),
    /// Part of an atomic batch: an empty message, at once.
    Empty,
    /// Progress of a fast batch: this JSON, when the store is durable up to its present position.
    Flow(Vec<u8>),
    /// None.
    Nothing,
}

/// An error, as publishers read it.
// NATS 2.14: stream.go JSPubAckResponse.
#[derive(Serialize)]
struct Refused<'a> {
    error: &'a ApiError,
    stream: &'a str,
    seq: u64,
}

impl Stream {
    /// Appends an answer as publishers read it. Returns false if the publisher gets none.
    pub fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> bool {
        if self.config.no_ack {
            return false;
        }
        match answer {
            Answer::Ack(ack) => self.encode_ack(ack, out),
            Answer::Error(error) => {
                let refused = Refused { error, stream: &self.config.name, seq: 0 };
                out.extend(go_json::compact(&refused).unwrap_or_default());
            }
            Answer::Empty => {}
            Answer::Flow(json) => out.extend_from_slice(json),
            Answer::Nothing => return false,
        }
        true
    }

    // NATS 2.14: stream.go processJetStreamMsgWithBatch, whose duplicates have a blank that nothing else has.
    fn encode_ack(&self, ack: &PubAck, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ack_prefix);
        // A vector takes everything.
        let _ = write!(out, "{}", ack.sequence);
        if ack.is_duplicate {
            out.extend_from_slice(b",\"duplicate\": true");
        }
        if let Some((id, count)) = &ack.batch {
            let _ = write!(out, ",\"batch\":{},\"count\":{count}", quoted(id));
        } else if let Some(value) = &ack.value {
            let _ = write!(out, ",\"val\":{}", quoted(value));
        }
        out.push(b'}');
    }
}

/// Returns how each acknowledgement of a stream begins.
pub(super) fn ack_prefix(stream: &str, domain: &str) -> Vec<u8> {
    let domain =
        if domain.is_empty() { String::new() } else { format!("\"domain\":{},", quoted(domain)) };
    format!("{{\"stream\":{},{domain}\"seq\":", quoted(stream)).into_bytes()
}

fn quoted(text: &str) -> String {
    let json = go_json::compact(&text).unwrap_or_default();
    String::from_utf8(json).unwrap_or_default()
}
