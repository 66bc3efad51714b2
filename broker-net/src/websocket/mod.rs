//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), the server's side: bytes in, events and
//! bytes out, without I/O.
//!
//! A NATS client over WebSocket sends the same protocol in the payloads of binary messages. The
//! boundaries of messages have no meaning, so that [`Decoder`] returns payloads as they arrive and never
//! assembles a message.
//!
//! ```
//! use broker_net::websocket::{Decoder, Event};
//!
//! // A final text frame, masked: "Hello", as RFC 6455 shows it.
//! let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let mut decoder = Decoder::new();
//! let decoded = decoder.decode(&mut bytes)?;
//! let Some(Event::Data(data)) = decoded.event else { panic!("that is what it is") };
//! assert_eq!(data.bytes, b"Hello");
//! assert!(data.is_text && data.is_last);
//! # Ok::<(), broker_net::websocket::Fault>(())
//! ```

mod accept_key;
mod close;
mod decode;
mod deflate;
mod fault;
mod frame;
mod inflate;
mod mask;
mod origin;
mod request;
mod response;
mod transport;

pub use accept_key::accept_key;
pub use close::{CloseFrame, answer_to_close, status_of};
pub use decode::{Data, Decoded, Decoder, Event};
pub use deflate::Deflate;
pub use fault::Fault;
pub use frame::{CONTROL_PAYLOAD_BYTES, Head, Opcode};
pub use inflate::{Inflate, InflateError, WAITING_BYTES};
pub use origin::{AllowedOrigins, BadOrigin};
pub use request::{Client, CookieNames, HEAD_BYTES, Parsed, Refusal, Rules, parse};
pub use response::{BadHeader, ExtraHeaders, accept, refuse};
pub(crate) use transport::WebSocketTransport;
