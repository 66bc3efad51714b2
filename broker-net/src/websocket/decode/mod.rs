//! Decodes bytes into payloads and control frames, in pieces of any size.

use super::fault::Fault;
use super::frame::{CONTROL_PAYLOAD_BYTES, Opcode};
use super::mask::Mask;
use kept::Kept;

mod kept;
#[cfg(test)]
mod tests;

/// Maximum length of a client's frame head: with a long length and a mask.
const HEAD_BYTES: usize = 14;

const MASK_BYTES: usize = 4;

/// Decodes the frames of a client. Keeps less than 200 bytes for any input.
#[derive(Debug, Default)]
pub struct Decoder {
    may_be_bare: bool,
    takes_compressed: bool,
    /// The beginning of an incomplete head.
    head: Kept<HEAD_BYTES>,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The beginning of an incomplete payload of a control frame.
    control: Kept<CONTROL_PAYLOAD_BYTES>,
}

/// The result of [`Decoder::decode`].
#[derive(Debug, Eq, PartialEq)]
pub struct Decoded<'a> {
    /// The number of input bytes consumed.
    pub used: usize,
    /// The event that they complete, if any.
    pub event: Option<Event<'a>>,
}

/// An event in a client's stream.
#[derive(Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// Payload of a message, as far as received.
    Data(Data<'a>),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close frame, to be [answered](super::answer_to_close); nothing follows it.
    Close(&'a [u8]),
}

/// A part of a message's payload. Empty only at the end of the message.
#[derive(Debug, Eq, PartialEq)]
pub struct Data<'a> {
    /// The last of the consumed bytes, unmasked in place.
    pub bytes: &'a mut [u8],
    /// The message claims to be UTF-8, which is not verified.
    pub is_text: bool,
    /// The message is compressed.
    pub is_compressed: bool,
    /// The message ends with these bytes.
    pub is_last: bool,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_last: bool,
    /// Bytes of payload still to come.
    rest: u64,
    mask: Option<Mask>,
}

impl Decoder {
    /// Creates a decoder for a client that masks, as required, and does not compress.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether frames without a mask are accepted.
    #[must_use]
    pub fn allow_bare(mut self, may_be_bare: bool) -> Self {
        self.may_be_bare = may_be_bare;
        self
    }

    /// Sets whether compressed messages are accepted.
    #[must_use]
    pub fn allow_compressed(mut self, takes_compressed: bool) -> Self {
        self.takes_compressed = takes_compressed;
        self
    }

    /// Decodes up to the next event. Without an event, all input is consumed; after one, call again
    /// with the rest, even if it is empty.
    ///
    /// # Errors
    ///
    /// Returns the client's violation. Nothing more can be decoded then.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Decoded<'a>, Fault> {
        let mut used = 0;
        loop {
            let Some(mut frame) = self.frame.take() else {
                let (taken, frame) = self.decode_head(&input[used..])?;
                used += taken;
                self.frame = frame;
                if self.frame.is_none() {
                    return Ok(Decoded { used, event: None });
                }
                continue;
            };
            let left = input.len() - used;
            let len = usize::try_from(frame.rest).unwrap_or(usize::MAX).min(left);
            let is_whole = len as u64 == frame.rest;
            if frame.opcode.is_control() {
                let start = used;
                used += len;
                if !is_whole || self.control.len() > 0 {
                    frame.rest -= len as u64;
                    self.control.fill(&input[start..used], CONTROL_PAYLOAD_BYTES);
                    if !is_whole {
                        self.frame = Some(frame);
                        return Ok(Decoded { used, event: None });
                    }
                    let payload = self.control.take();
                    unmask(&mut frame, payload);
                    return Ok(Decoded { used, event: Some(control(frame.opcode, payload)) });
                }
                let payload = &mut input[start..used];
                unmask(&mut frame, payload);
                return Ok(Decoded { used, event: Some(control(frame.opcode, payload)) });
            }
            let is_last = is_whole && frame.is_last;
            let message = self.message;
            if !is_whole {
                self.frame = Some(Frame { rest: frame.rest - len as u64, ..frame });
            } else if is_last {
                self.message = None;
            }
            let (Some(Message { is_text, is_compressed }), true) = (message, len > 0 || is_last)
            else {
                if is_whole {
                    continue;
                }
                return Ok(Decoded { used, event: None });
            };
            let bytes = &mut input[used..used + len];
            unmask(&mut frame, bytes);
            if let Some(kept) = &mut self.frame {
                kept.mask = frame.mask;
            }
            let data = Data { bytes, is_text, is_compressed, is_last };
            return Ok(Decoded { used: used + len, event: Some(Event::Data(data)) });
        }
    }

    /// Returns the number of bytes consumed, and the next frame if they complete its head.
    fn decode_head(&mut self, input: &[u8]) -> Result<(usize, Option<Frame>), Fault> {
        let mut used = self.head.fill(input, 2);
        let &[first, second, ..] = self.head.bytes() else { return Ok((used, None)) };
        let opcode = self.check(first, second)?;
        let length_bytes = match second & 0x7f {
            126 => size_of::<u16>(),
            127 => size_of::<u64>(),
            _ => 0,
        };
        let is_masked = second & 0x80 != 0;
        let whole = 2 + length_bytes + if is_masked { MASK_BYTES } else { 0 };
        used += self.head.fill(&input[used..], whole);
        if self.head.len() < whole {
            return Ok((used, None));
        }
        let (length, mask) = self.head.take()[2..].split_at(length_bytes);
        let rest = payload_bytes(second & 0x7f, length)?;
        let mask = mask.first_chunk().map(|key| Mask::new(*key));
        let frame = Frame { opcode, is_last: first & 0x80 != 0, rest, mask };
        if matches!(opcode, Opcode::Text | Opcode::Binary) {
            let is_text = opcode == Opcode::Text;
            self.message = Some(Message { is_text, is_compressed: first & 0x40 != 0 });
        }
        Ok((used, Some(frame)))
    }

    /// Validates the first two bytes of a head in the current state.
    // NATS 2.14: websocket.go wsReadLoop, in its order.
    fn check(&self, first: u8, second: u8) -> Result<Opcode, Fault> {
        let is_last = first & 0x80 != 0;
        let is_compressed = first & 0x40 != 0;
        if first & 0x30 != 0 {
            return Err(Fault::ReservedBits);
        }
        if is_compressed && !self.takes_compressed {
            return Err(Fault::NotNegotiated);
        }
        if second & 0x80 == 0 && !self.may_be_bare {
            return Err(Fault::NotMasked);
        }
        let bits = first & 0x0f;
        let opcode = Opcode::from_bits(bits).ok_or(Fault::UnknownOpcode(bits))?;
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if usize::from(second & 0x7f) > CONTROL_PAYLOAD_BYTES {
                    return Err(Fault::ControlTooLong);
                }
                if !is_last {
                    return Err(Fault::ControlInPieces);
                }
                if is_compressed {
                    return Err(Fault::ControlCompressed);
                }
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(Fault::MessageInMessage);
            }
            Opcode::Continuation if self.message.is_none() || is_compressed => {
                return Err(Fault::BadContinuation);
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {}
        }
        Ok(opcode)
    }
}

fn payload_bytes(short: u8, long: &[u8]) -> Result<u64, Fault> {
    if long.is_empty() {
        return Ok(short.into());
    }
    let bytes = long.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
    if bytes >> 63 != 0 {
        return Err(Fault::LengthOverflow);
    }
    let least = if long.len() == size_of::<u16>() { 126 } else { 0x1_0000 };
    if bytes < least {
        return Err(Fault::LengthNotMinimal);
    }
    Ok(bytes)
}

fn unmask(frame: &mut Frame, bytes: &mut [u8]) {
    if let Some(mask) = &mut frame.mask {
        mask.apply(bytes);
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Event<'_> {
    match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(payload),
    }
}
