//! Decodes frames into their contents.

use std::io;

use super::super::close::{CloseFrame, answer_to_close};
use super::super::decode::{Decoder, Event};
use super::super::inflate::{Inflate, InflateError};
use super::super::request::Client;
use super::outgoing::Outgoing;
use crate::transport::{Broken, Transport};

/// Room that a session lends for an unauthenticated client at most: see
/// `broker_core::session::ClientSession::read_limit`.
const UNAUTHENTICATED_ROOM_BYTES: usize = 8 << 10;

/// Bytes read at once if messages may be compressed: of an unauthenticated client, and of others.
const UNAUTHENTICATED_RAW_BYTES: usize = 4 << 10;
const RAW_BYTES: usize = 16 << 10;

/// Maximum size of a compressed message in maximum payloads, compressed or decompressed.
// NATS 2.14: wsMaxMessageSize, for the compressed bytes; decompressed, it allows one payload, which
// refuses the largest message that could be published.
const PAYLOADS: u64 = 8;
const MESSAGE_BYTES: u64 = 64 << 20;

pub(super) struct Incoming {
    decoder: Decoder,
    /// Present if messages may be compressed.
    inflate: Option<Inflate>,
    /// Bytes read and not decoded yet, if messages may be compressed.
    raw: Vec<u8>,
    raw_at: usize,
    /// The session has lent more room than an unauthenticated client gets.
    is_trusted: bool,
    /// The reason why nothing more is read.
    end: Option<End>,
    /// The client's violation, until the reader has taken it.
    why: Option<Box<str>>,
    /// The end was sent to the client, which is about to disconnect.
    is_shut: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The client has sent a close frame.
    Closed,
    /// The client violated the protocol, and was sent a close frame.
    Broken,
}

impl Incoming {
    pub(super) fn new(client: &Client, max_payload_bytes: usize) -> Self {
        let decoder = Decoder::new();
        let max_bytes = (max_payload_bytes as u64).saturating_mul(PAYLOADS).min(MESSAGE_BYTES);
        Self {
            decoder: decoder.allow_bare(client.is_bare).allow_compressed(client.is_compressed),
            inflate: client.is_compressed.then(|| Inflate::new(max_bytes)),
            raw: Vec::new(),
            raw_at: 0,
            is_trusted: false,
            end: None,
            why: None,
            is_shut: false,
        }
    }

    /// Returns true if a read would succeed without reading from below. Derived only from what
    /// [`Self::read`] would do.
    pub(super) fn is_ready(&self) -> bool {
        match self.end {
            // The end remains readable until the bytes after it are being discarded.
            Some(_) => !self.is_shut,
            None => {
                self.raw_at < self.raw.len() || self.inflate.as_ref().is_some_and(Inflate::is_ready)
            }
        }
    }

    pub(super) fn shut(&mut self) {
        self.is_shut = true;
    }

    /// Ends the input, and frees the bytes after the end.
    fn set_end(&mut self, end: End) {
        self.end = Some(end);
        self.raw = Vec::new();
        self.raw_at = 0;
        self.inflate = None;
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let inflate = self.inflate.as_ref();
        self.raw.capacity() + inflate.map_or(0, Inflate::held_bytes)
    }

    #[cfg(test)]
    pub(super) fn holds_decompressor(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::holds_decompressor)
    }

    /// Reads available bytes for the session, see [`Transport::try_read`]. Answers control frames.
    pub(super) fn read(
        &mut self,
        lower: &impl Transport,
        out: &Outgoing,
        room: &mut [u8],
    ) -> io::Result<usize> {
        if let Some(ended) = self.ended(lower, room) {
            return ended;
        }
        self.is_trusted |= room.len() > UNAUTHENTICATED_ROOM_BYTES;
        let got = if self.inflate.is_some() {
            if !self.is_ready() && !self.read_raw(lower, room)? {
                return Ok(0);
            }
            self.unpack(lower, out, room)
        } else {
            let len = lower.try_read(room)?;
            if len == 0 {
                return Ok(0);
            }
            self.decode_in_place(lower, out, &mut room[..len])
        };
        if got > 0 {
            return Ok(got);
        }
        // Control frames and incomplete heads carry no payload.
        let ended = if self.is_shut { None } else { self.ended(lower, room) };
        ended.unwrap_or(Err(io::ErrorKind::Interrupted.into()))
    }

    /// Reads after the end: first returns the end, and then bytes to discard, so that they do not
    /// reset the connection.
    fn ended(&mut self, lower: &impl Transport, room: &mut [u8]) -> Option<io::Result<usize>> {
        Some(match self.end? {
            _ if self.is_shut => lower.try_read(room),
            End::Closed => Ok(0),
            End::Broken => Err(match self.why.take() {
                Some(why) => Broken(why.into()).into(),
                None => io::ErrorKind::InvalidData.into(),
            }),
        })
    }

    /// Replaces the frames in `bytes` by their payloads. Returns the length of the payloads.
    fn decode_in_place(
        &mut self,
        lower: &impl Transport,
        out: &Outgoing,
        bytes: &mut [u8],
    ) -> usize {
        let mut at = 0;
        let mut got = 0;
        while self.end.is_none() {
            let decoded = match self.decoder.decode(&mut bytes[at..]) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    self.break_off(&CloseFrame::for_fault(&fault), lower, out);
                    break;
                }
            };
            at += decoded.used;
            match decoded.event {
                None => break,
                Some(Event::Data(data)) => {
                    let len = data.bytes.len();
                    bytes.copy_within(at - len..at, got);
                    got += len;
                }
                Some(event) => match answer(&event, lower, out) {
                    Ok(Some(end)) => self.set_end(end),
                    Ok(None) => {}
                    Err(close) => self.break_off(&close, lower, out),
                },
            }
        }
        got
    }

    /// Decompresses and decodes buffered bytes, as far as there is room.
    fn unpack(&mut self, lower: &impl Transport, out: &Outgoing, room: &mut [u8]) -> usize {
        let mut got = 0;
        while got < room.len() && self.end.is_none() {
            match self.unpack_some(lower, out, &mut room[got..]) {
                Ok(Some(len)) => got += len,
                Ok(None) => break,
                Err(close) => self.break_off(&close, lower, out),
            }
        }
        if self.raw_at == self.raw.len() {
            self.raw = Vec::new();
            self.raw_at = 0;
        }
        got
    }

    /// Performs one step of [`Self::unpack`]; returns `None` if nothing is left.
    fn unpack_some(
        &mut self,
        lower: &impl Transport,
        out: &Outgoing,
        room: &mut [u8],
    ) -> Result<Option<usize>, CloseFrame> {
        let Some(inflate) = &mut self.inflate else { return Ok(None) };
        if inflate.is_ready() {
            return inflate.pull(room).map(Some).map_err(close_for);
        }
        // Uncompressed data are limited to the available room.
        let len = self.raw.len();
        let end = len.min(self.raw_at + room.len());
        let decoded = self.decoder.decode(&mut self.raw[self.raw_at..end]);
        let decoded = decoded.map_err(|fault| CloseFrame::for_fault(&fault))?;
        self.raw_at += decoded.used;
        match decoded.event {
            None if end == len => Ok(None),
            None => Ok(Some(0)),
            Some(Event::Data(data)) if data.is_compressed => {
                inflate.push(data.bytes, data.is_last, self.is_trusted).map_err(close_for)?;
                Ok(Some(0))
            }
            Some(Event::Data(data)) => {
                room[..data.bytes.len()].copy_from_slice(data.bytes);
                Ok(Some(data.bytes.len()))
            }
            Some(event) => {
                if let Some(end) = answer(&event, lower, out)? {
                    self.set_end(end);
                }
                Ok(Some(0))
            }
        }
    }

    /// Sends the client its violation, and ends the input.
    fn break_off(&mut self, close: &CloseFrame, lower: &impl Transport, out: &Outgoing) {
        self.set_end(End::Broken);
        self.why = Some(close.text.as_str().into());
        out.close(lower, close);
    }

    /// Reads frames to unpack, through the session's room. Returns true if bytes arrived.
    fn read_raw(&mut self, lower: &impl Transport, room: &mut [u8]) -> io::Result<bool> {
        let most = if self.is_trusted { RAW_BYTES } else { UNAUTHENTICATED_RAW_BYTES };
        let most = most.min(room.len());
        let len = lower.try_read(&mut room[..most])?;
        self.raw.extend_from_slice(&room[..len]);
        Ok(len > 0)
    }
}

/// Answers a control frame. Returns whether it ends the input, or the violation.
fn answer(
    event: &Event<'_>,
    lower: &impl Transport,
    out: &Outgoing,
) -> Result<Option<End>, CloseFrame> {
    match event {
        Event::Ping(payload) => out.pong(lower, payload),
        Event::Data(_) | Event::Pong(_) => {}
        Event::Close(payload) => match answer_to_close(payload) {
            Ok(close) => {
                out.close(lower, &close);
                return Ok(Some(End::Closed));
            }
            Err(fault) => return Err(CloseFrame::for_fault(&fault)),
        },
    }
    Ok(None)
}

// NATS 2.14 closes without an error.
fn close_for(error: InflateError) -> CloseFrame {
    let status = match error {
        InflateError::TooLong => 1009,
        InflateError::Corrupt => 1007,
    };
    CloseFrame { status: Some(status), text: error.to_string() }
}
