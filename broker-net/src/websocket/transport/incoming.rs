//! From frames to what they carry.

use std::io;

use super::super::close::{CloseFrame, answer_to_close};
use super::super::decode::{Decoder, Event};
use super::super::inflate::{Inflate, InflateError};
use super::super::request::Client;
use super::outgoing::Outgoing;
use crate::transport::Transport;

/// A session lends no more room than this to somebody who has not shown who it is: see
/// `broker_core::session::ClientSession::read_limit`.
const STRANGER_ROOM_BYTES: usize = 8 << 10;

/// How much is read at once where messages may be compressed: of a stranger, and of others.
const STRANGER_RAW_BYTES: usize = 4 << 10;
const RAW_BYTES: usize = 16 << 10;

/// How many payloads one compressed message may carry at most, compressed or not.
// NATS 2.14: wsMaxMessageSize, for the compressed bytes; inflated, it takes one payload at most, which
// refuses the largest message that could be published.
const PAYLOADS: u64 = 8;
const MESSAGE_BYTES: u64 = 64 << 20;

pub(super) struct Incoming {
    decoder: Decoder,
    /// There if messages may come compressed.
    inflate: Option<Inflate>,
    /// Frames that have been read and not decoded, where messages may come compressed.
    raw: Vec<u8>,
    raw_at: usize,
    /// The session has lent more room than a stranger gets.
    is_trusted: bool,
    /// Nothing is read any more.
    end: Option<End>,
    /// The client has been told that it is over, and will go.
    is_shut: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The client has said so.
    Closed,
    /// The client broke the protocol, and was told.
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
            is_shut: false,
        }
    }

    /// Is there something to be read without reading from below?
    pub(super) fn is_ready(&self) -> bool {
        (self.end.is_some() && !self.is_shut)
            || !self.raw.is_empty()
            || self.inflate.as_ref().is_some_and(Inflate::is_ready)
    }

    pub(super) fn shut(&mut self) {
        self.is_shut = true;
        if self.end.is_some() {
            self.raw = Vec::new();
            self.raw_at = 0;
        }
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

    /// Reads until there is something for the session. Answers control frames.
    pub(super) fn read(
        &mut self,
        lower: &impl Transport,
        out: &Outgoing,
        room: &mut [u8],
    ) -> io::Result<usize> {
        if self.end.is_some() && self.is_shut {
            // To be thrown away, so that it does not reset the connection.
            return lower.try_read(room);
        }
        self.is_trusted |= room.len() > STRANGER_ROOM_BYTES;
        loop {
            let got = if self.inflate.is_some() {
                self.unpack(lower, out, room)
            } else if self.end.is_none() {
                let len = lower.try_read(room)?;
                if len == 0 {
                    return Ok(0);
                }
                self.decode_in_place(lower, out, &mut room[..len])
            } else {
                0
            };
            if got > 0 {
                return Ok(got);
            }
            match self.end {
                Some(End::Closed) => return Ok(0),
                Some(End::Broken) => return Err(io::ErrorKind::InvalidData.into()),
                None => {}
            }
            if self.inflate.is_some() && !self.read_raw(lower, room)? {
                return Ok(0);
            }
        }
    }

    /// Leaves of the frames in `bytes` what they carry. Returns how much that is.
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
                    self.end = Some(End::Broken);
                    out.close(lower, &CloseFrame::for_fault(&fault));
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
                Some(event) => self.end = answer(&event, lower, out),
            }
        }
        got
    }

    /// Inflates and decodes what has been read, as far as there is room.
    fn unpack(&mut self, lower: &impl Transport, out: &Outgoing, room: &mut [u8]) -> usize {
        let mut got = 0;
        while got < room.len() && self.end.is_none() {
            match self.unpack_some(lower, out, &mut room[got..]) {
                Ok(Some(len)) => got += len,
                Ok(None) => break,
                Err(close) => {
                    self.end = Some(End::Broken);
                    out.close(lower, &close);
                }
            }
        }
        if self.raw_at == self.raw.len() {
            self.raw = Vec::new();
            self.raw_at = 0;
        }
        got
    }

    /// `None` if there is nothing more to unpack.
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
        // No more at once than there is room for, if it is not compressed.
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
                self.end = answer(&event, lower, out);
                Ok(Some(0))
            }
        }
    }

    /// Reads frames to unpack, by way of the session's room. Returns whether anything came.
    fn read_raw(&mut self, lower: &impl Transport, room: &mut [u8]) -> io::Result<bool> {
        let most = if self.is_trusted { RAW_BYTES } else { STRANGER_RAW_BYTES };
        let most = most.min(room.len());
        let len = lower.try_read(&mut room[..most])?;
        self.raw.extend_from_slice(&room[..len]);
        Ok(len > 0)
    }
}

/// Answers a control frame. Returns whether it ends the input.
fn answer(event: &Event<'_>, lower: &impl Transport, out: &Outgoing) -> Option<End> {
    match event {
        Event::Ping(payload) => out.pong(lower, payload),
        Event::Data(_) | Event::Pong(_) => {}
        Event::Close(payload) => match answer_to_close(payload) {
            Ok(close) => {
                out.close(lower, &close);
                return Some(End::Closed);
            }
            Err(fault) => {
                out.close(lower, &CloseFrame::for_fault(&fault));
                return Some(End::Broken);
            }
        },
    }
    None
}

// NATS 2.14 closes without a word.
fn close_for(error: InflateError) -> CloseFrame {
    let status = match error {
        InflateError::TooLong => 1009,
        InflateError::Corrupt => 1007,
    };
    CloseFrame { status: Some(status), text: error.to_string() }
}
