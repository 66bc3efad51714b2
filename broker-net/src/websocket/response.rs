//! Responses to upgrade requests.

use super::request::{Client, Refusal};

/// Configured headers of each accepting response.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExtraHeaders(String);

/// A header cannot be configured.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHeader {
    /// The server sets it, or it would be misleading.
    #[error("websocket: invalid header {0:?} not allowed")]
    Name(String),
    /// It belongs to the protocol.
    #[error("websocket: invalid header {0:?}, \"Sec-WebSocket-\" prefix not allowed")]
    Protocol(String),
    /// The name or the value is not allowed in a header line.
    #[error("websocket: header {0:?} is not one line of text")]
    Text(String),
}

impl ExtraHeaders {
    /// Adds a header.
    ///
    /// # Errors
    ///
    /// Returns [`BadHeader`].
    // NATS 2.14: websocket.go validateWebsocketOptions.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), BadHeader> {
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "host" | "content-length" | "connection" | "upgrade" | "nats-no-masking" => {
                return Err(BadHeader::Name(name.to_owned()));
            }
            _ if lower.starts_with("sec-websocket-") => {
                return Err(BadHeader::Protocol(name.to_owned()));
            }
            _ => {}
        }
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_text = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
            return Err(BadHeader::Text(name.to_owned()));
        }
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
        Ok(())
    }
}

/// Writes the accepting response.
// NATS 2.14: websocket.go wsUpgrade, byte for byte.
pub fn accept(client: &Client, extra: &ExtraHeaders) -> Vec<u8> {
    let mut answer = String::from(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    for part in ["Sec-WebSocket-Accept: ", &client.accept_key, "\r\n"] {
        answer.push_str(part);
    }
    if client.is_compressed {
        answer.push_str("Sec-WebSocket-Extensions: permessage-deflate");
        answer.push_str("; server_no_context_takeover; client_no_context_takeover");
        if client.window_bits < 15 {
            answer.push_str(&format!("; server_max_window_bits={}", client.window_bits));
        }
        answer.push_str("\r\n");
    }
    if client.is_bare {
        answer.push_str("Nats-No-Masking: true\r\n");
    }
    answer.push_str(&extra.0);
    answer.push_str("\r\n");
    answer.into_bytes()
}

/// Writes the refusing response, after which the connection is closed.
// NATS 2.14: the same status and text; Go keeps the connection for another request.
pub fn refuse(refusal: &Refusal) -> Vec<u8> {
    let Some((status, text)) = refusal.status() else { return Vec::new() };
    if matches!(refusal, Refusal::Malformed | Refusal::TooLarge | Refusal::NoHost) {
        // The text that Go's HTTP server writes before a handler runs.
        let line = match refusal {
            Refusal::NoHost => format!("{status} {text}: missing required Host header"),
            _ => format!("{status} {text}"),
        };
        let plain = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
        return format!("HTTP/1.1 {line}\r\n{plain}\r\n\r\n{line}").into_bytes();
    }
    let len = text.len() + 1;
    format!(
        "HTTP/1.1 {status} {text}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Sec-Websocket-Version: 13\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Content-Length: {len}\r\n\
         Connection: close\r\n\r\n\
         {text}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misleading_headers_are_refused() {
        let mut headers = ExtraHeaders::default();
        assert_eq!(headers.add("X-Served-By", "natsd"), Ok(()));
        assert_eq!(headers.add("Upgrade", "h2c"), Err(BadHeader::Name("Upgrade".into())));
        let protocol = "sec-websocket-accept";
        assert_eq!(headers.add(protocol, "x"), Err(BadHeader::Protocol(protocol.into())));
        assert_eq!(headers.add("X", "a\r\nY: b"), Err(BadHeader::Text("X".into())));
        assert_eq!(headers.add("X Y", "a"), Err(BadHeader::Text("X Y".into())));
        assert_eq!(headers.0, "X-Served-By: natsd\r\n");
    }

    #[test]
    fn a_refusal_contains_only_its_status() {
        let answer = String::from_utf8(refuse(&Refusal::Origin("not same origin"))).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nForbidden\n"), "{answer}");
        assert!(refuse(&Refusal::Timeout).is_empty());
    }
}
