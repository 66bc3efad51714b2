//! Close frames.

use broker_core::CloseReason;

use super::fault::Fault;
use super::frame::{CONTROL_PAYLOAD_BYTES, Head, Opcode};

/// A close frame of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CloseFrame {
    /// The status of RFC 6455; `None` for an empty frame.
    pub status: Option<u16>,
    /// The reason, for the client's log.
    pub text: String,
}

impl CloseFrame {
    /// Returns the close frame for a close reason.
    // NATS 2.14: websocket.go wsEnqueueCloseMessage.
    pub fn for_reason(reason: CloseReason) -> Self {
        Self { status: Some(status_of(reason)), text: reason.to_string() }
    }

    /// Returns the close frame for a fault of the peer.
    pub fn for_fault(fault: &Fault) -> Self {
        Self { status: Some(1002), text: fault.to_string() }
    }

    /// Appends the payload. A text that does not fit is truncated with dots.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Some(status) = self.status else {
            out.extend_from_slice(Head::last(Opcode::Close, 0).as_bytes());
            return;
        };
        let room = CONTROL_PAYLOAD_BYTES - size_of::<u16>();
        let (text, dots) = if self.text.len() <= room {
            (self.text.as_str(), "")
        } else {
            (&self.text[..self.text.floor_char_boundary(room - 3)], "...")
        };
        let head = Head::last(Opcode::Close, size_of::<u16>() + text.len() + dots.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&status.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(dots.as_bytes());
    }
}

/// Returns the status for a close reason.
// NATS 2.14: websocket.go wsEnqueueCloseMessage.
pub fn status_of(reason: CloseReason) -> u16 {
    use CloseReason as Reason;
    match reason {
        Reason::ClientClosed => 1000,
        Reason::WriteError
        | Reason::ReadError
        | Reason::StaleConnection
        | Reason::ServerShutdown => 1001,
        Reason::ParseError | Reason::ProtocolViolation | Reason::BadClientProtocolVersion => 1002,
        Reason::AuthenticationTimeout
        | Reason::AuthenticationExpired
        | Reason::CredentialsRevoked
        | Reason::AuthenticationViolation
        | Reason::SlowConsumerPendingBytes
        | Reason::SlowConsumerWriteDeadline
        | Reason::MaxConnectionsExceeded
        | Reason::MaxAccountConnectionsExceeded
        | Reason::MaxControlLineExceeded => 1008,
        Reason::MaxPayloadExceeded => 1009,
        _ => 1011,
    }
}

/// Returns the answer to a close frame with this payload.
///
/// # Errors
///
/// Returns [`Fault::CloseTooShort`] or [`Fault::BadCloseStatus`].
// NATS 2.14: websocket.go wsHandleControlFrame.
pub fn answer_to_close(payload: &[u8]) -> Result<CloseFrame, Fault> {
    let (status, text) = match payload {
        [] => return Ok(CloseFrame { status: None, text: String::new() }),
        [_] => return Err(Fault::CloseTooShort),
        [high, low, text @ ..] => (u16::from_be_bytes([*high, *low]), text),
    };
    if !may_be_sent(status) {
        return Err(Fault::BadCloseStatus(status));
    }
    Ok(match std::str::from_utf8(text) {
        Ok(text) => CloseFrame { status: Some(status), text: text.to_owned() },
        Err(_) => {
            let text = String::from("invalid utf8 body in close frame");
            CloseFrame { status: Some(1007), text }
        }
    })
}

/// Excludes statuses that represent closes without a frame, and unassigned ones.
fn may_be_sent(status: u16) -> bool {
    matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(frame: &CloseFrame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.encode(&mut out);
        out
    }

    #[test]
    fn a_close_frame_states_the_reason() {
        let frame = CloseFrame::for_reason(CloseReason::MaxPayloadExceeded);
        assert_eq!(encoded(&frame), b"\x88\x22\x03\xf1Maximum Message Payload Exceeded");
    }

    #[test]
    fn a_long_text_is_truncated_with_dots_and_stays_utf8() {
        let frame = CloseFrame { status: Some(1000), text: format!("a{}", "é".repeat(100)) };
        let bytes = encoded(&frame);
        assert_eq!(bytes[1], 124);
        let text = std::str::from_utf8(&bytes[4..]).unwrap();
        assert_eq!(text, format!("a{}...", "é".repeat(59)));
        let frame = CloseFrame { status: Some(1000), text: "a".repeat(123) };
        assert_eq!(encoded(&frame)[1], 125);
    }

    #[test]
    fn a_close_is_answered_with_its_own_status() {
        assert_eq!(encoded(&answer_to_close(b"").unwrap()), b"\x88\x00");
        let answer = answer_to_close(b"\x03\xe8bye").unwrap();
        assert_eq!(encoded(&answer), b"\x88\x05\x03\xe8bye");
        assert_eq!(answer_to_close(b"\x03\xe8\xff").unwrap().status, Some(1007));
    }

    #[test]
    fn a_reserved_status_is_a_fault() {
        assert_eq!(answer_to_close(b"\x03"), Err(Fault::CloseTooShort));
        for status in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            let answer = answer_to_close(&status.to_be_bytes());
            assert_eq!(answer, Err(Fault::BadCloseStatus(status)));
        }
        for status in [1000u16, 1003, 1007, 1014, 3000, 4999] {
            assert_eq!(answer_to_close(&status.to_be_bytes()).unwrap().status, Some(status));
        }
    }
}
