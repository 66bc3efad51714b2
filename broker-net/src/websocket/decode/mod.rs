//! From bytes to payloads and control frames, in pieces of any size.

use super::fault::Fault;
use super::frame::{CONTROL_PAYLOAD_BYTES, Opcode};
use super::mask::Mask;
use kept::Kept;

mod kept;
#[cfg(test)]
mod tests;

/// The longest head of a client's frame: with a long length and a mask.
const HEAD_BYTES: usize = 14;

const MASK_BYTES: usize = 4;

/// Decodes the frames of a client. It keeps less than 200 bytes whatever comes.
#[derive(Debug, Default)]
pub struct Decoder {
    may_be_bare: bool,
    takes_compressed: bool,
    /// The beginning of a head that has not come whole.
    head: Kept<HEAD_BYTES>,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The beginning of a control frame's payload that has not come whole.
    control: Kept<CONTROL_PAYLOAD_BYTES>,
}

/// What one call of [`Decoder::decode`] came to.
#[derive(Debug, Eq, PartialEq)]
pub struct Decoded<'a> {
    /// So many bytes of the input are used up.
    pub used: usize,
    /// What they made, if anything yet.
    pub event: Option<Event<'a>>,
}

/// What a client sent.
#[derive(Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// Payload of a message, as much as there is.
    Data(Data<'a>),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong(&'a [u8]),
    /// To be [answered](super::answer_to_close); nothing follows it.
    Close(&'a [u8]),
}

/// Some payload of a message. Empty only if that ends the message.
#[derive(Debug, Eq, PartialEq)]
pub struct Data<'a> {
    /// The last of the bytes that were used, unmasked where they stand.
    pub bytes: &'a mut [u8],
    /// The message says it is UTF-8; whether it is, has not been looked at.
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
    /// Bytes of payload that have not come.
    rest: u64,
    mask: Option<Mask>,
}

impl Decoder {
    /// For a client that masks, as it must, and does not compress.
    pub fn new() -> Self {
        Self::default()
    }

    /// Frames may come without a mask.
    #[must_use]
    pub fn allow_bare(mut self, may_be_bare: bool) -> Self {
        self.may_be_bare = may_be_bare;
        self
    }

    /// Messages may come compressed.
    #[must_use]
    pub fn allow_compressed(mut self, takes_compressed: bool) -> Self {
        self.takes_compressed = takes_compressed;
        self
    }

    /// Decodes up to the next event. If there is none yet, all of the input is used up; if there is one,
    /// call again with the rest, even if it is empty.
    ///
    /// # Errors
    ///
    /// What the client did wrong. Nothing more can be decoded then.
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

    /// How many bytes were used, and the next frame if its head is whole by them.
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

    /// Is it a frame that may come now?
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
