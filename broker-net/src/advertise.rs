//! Advertised addresses.

use std::str::FromStr;

/// An advertised host, with a port if it differs from that of the listener: `nats.example:4222`,
/// `[::1]:4222`, `nats.example`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertise {
    /// The host name or address, without brackets.
    pub host: String,
    /// The port; `None` for that of the listener.
    pub port: Option<u16>,
}

/// The text is not a host with an optional port.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT")]
pub struct InvalidAdvertise(String);

impl FromStr for Advertise {
    type Err = InvalidAdvertise;

    // NATS 2.14: util.go parseHostPort; port 0 or -1 means none.
    fn from_str(text: &str) -> Result<Self, InvalidAdvertise> {
        let invalid = || InvalidAdvertise(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or_else(invalid)?;
                let port = match behind {
                    "" => None,
                    _ => Some(behind.strip_prefix(':').ok_or_else(invalid)?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(invalid()),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let host = host.trim();
        if host.is_empty() {
            return Err(invalid());
        }
        let port = match port.map(str::trim) {
            None | Some("0" | "-1") => None,
            Some(port) => Some(port.parse().map_err(|_| invalid())?),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        for (text, host, port) in [
            ("nats.example:4333", "nats.example", Some(4333)),
            ("nats.example", "nats.example", None),
            ("1.2.3.4:0", "1.2.3.4", None),
            ("1.2.3.4:-1", "1.2.3.4", None),
            ("[::1]:99", "::1", Some(99)),
            ("[::1]", "::1", None),
            (" a : 1 ", "a", Some(1)),
        ] {
            let expected = Advertise { host: host.to_owned(), port };
            assert_eq!(text.parse::<Advertise>(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn invalid_text_is_refused() {
        for text in ["", ":1", "a:b", "a:65536", "::1", "[::1", "[::1]1", "a:1:2", "a:"] {
            assert!(text.parse::<Advertise>().is_err(), "{text}");
        }
    }
}
