//! Faults of WebSocket peers.

/// A violation of the frame protocol. It prints as the text of the close frame.
// NATS 2.14: websocket.go wsReadLoop, wsHandleControlFrame; the texts are what clients log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A reserved bit without a negotiated extension.
    #[error("RSV2 and RSV3 must be clear")]
    ReservedBits,
    /// A compressed frame without the extension.
    #[error("compressed frame received without negotiated permessage-deflate")]
    NotNegotiated,
    /// A client's frame without a mask.
    #[error("mask bit missing")]
    NotMasked,
    /// A ping, pong or close of more than 125 bytes.
    #[error("control frame length bigger than maximum allowed of 125 bytes")]
    ControlTooLong,
    /// A fragmented ping, pong or close.
    #[error("control frame does not have final bit set")]
    ControlInPieces,
    /// A compressed ping, pong or close.
    #[error("control frame must not be compressed")]
    ControlCompressed,
    /// A message within another.
    #[error("new message started before final frame for previous message was received")]
    MessageInMessage,
    /// A continuation without a message, or a compressed one.
    #[error("invalid continuation frame")]
    BadContinuation,
    /// An unknown opcode.
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    /// A length with its first bit set.
    #[error("invalid 64-bit payload length")]
    LengthOverflow,
    /// A length in more bytes than necessary, which RFC 6455 forbids.
    // NATS 2.14 accepts it; no known client sends it.
    #[error("payload length not in its shortest form")]
    LengthNotMinimal,
    /// An incomplete status.
    #[error("close frame payload cannot be 1 byte")]
    CloseTooShort,
    /// A status that must not be sent.
    #[error("invalid close status code {0}")]
    BadCloseStatus(u16),
}
