//! The head of a frame.

/// The largest payload of a ping, pong or close frame.
pub const CONTROL_PAYLOAD_BYTES: usize = 125;

/// The type of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// A continuation of the message before.
    Continuation,
    /// The first frame of a text message.
    Text,
    /// The first frame of a binary message.
    Binary,
    /// The last frame of a connection.
    Close,
    /// Requests a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    /// Returns the opcode; `None` for unassigned ones.
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a server's frame, without a mask.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; Self::MAX_BYTES],
    len: usize,
}

impl Head {
    /// The maximum length of a head.
    pub const MAX_BYTES: usize = 10;

    /// Creates the head of the only or last frame of a message, or of a control frame.
    pub fn last(opcode: Opcode, payload_bytes: usize) -> Self {
        Self::new(opcode, true, false, payload_bytes)
    }

    /// Creates the head of any frame. `is_compressed` applies to the first frame of a message only.
    pub fn new(opcode: Opcode, is_last: bool, is_compressed: bool, payload_bytes: usize) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[0] = opcode.bits() | u8::from(is_last) << 7 | u8::from(is_compressed) << 6;
        let long = (payload_bytes as u64).to_be_bytes();
        let len = match payload_bytes {
            0..=125 => {
                bytes[1] = long[7];
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&long[6..]);
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&long);
                10
            }
        };
        Self { bytes, len }
    }

    /// Returns the encoded head.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_encoded_in_the_fewest_bytes() {
        for (len, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (0xffff, &[0x82, 126, 0xff, 0xff]),
            (0x1_0000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(Head::last(Opcode::Binary, len).as_bytes(), head);
        }
    }

    #[test]
    fn the_first_byte_encodes_opcode_and_flags() {
        assert_eq!(Head::new(Opcode::Text, false, true, 1).as_bytes(), [0x41, 1]);
        assert_eq!(Head::new(Opcode::Continuation, true, false, 1).as_bytes(), [0x80, 1]);
        assert_eq!(Head::last(Opcode::Pong, 0).as_bytes(), [0x8a, 0]);
    }
}
