//! The PROXY header at the beginning of a connection, without I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The number of bytes that is always enough to decide.
pub const PEEK_BYTES: usize = V1_LINE_BYTES;

const V1_PREFIX: &[u8] = b"PROXY ";

/// The longest line of version 1, with its end.
const V1_LINE_BYTES: usize = 107;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part: signature, version and command, family and protocol, length of the rest.
const V2_HEAD_BYTES: usize = 16;

/// The bytes that distinguish a header from other input.
// NATS 2.14: client_proxyproto.go: the first six bytes decide; connections without a header are served.
const TELLING_BYTES: usize = 6;

/// The beginning of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// No header: input of the client.
    Nothing,
    /// A header.
    Header {
        /// Its length in bytes, possibly beyond the bytes seen.
        used: usize,
        /// The address of the client; `None` if the proxy connects for itself, as in health checks.
        source: Option<SocketAddr>,
    },
}

/// A malformed header.
// NATS 2.14: the same texts in the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The line is not terminated within the limit.
    #[error("invalid PROXY protocol header: v1 line too long")]
    LineTooLong,
    /// The number of fields is wrong.
    #[error("invalid PROXY protocol header: invalid v1 format")]
    Words,
    /// An invalid address.
    #[error("invalid PROXY protocol header: invalid address")]
    Address,
    /// An invalid port.
    #[error("invalid PROXY protocol header: invalid {0} port")]
    Port(&'static str),
    /// The protocol is neither TCP4 nor TCP6.
    #[error("invalid PROXY protocol header: invalid protocol")]
    Protocol,
    /// The addresses belong to the other family.
    #[error("invalid PROXY protocol header: {0}")]
    Mixed(&'static str),
    /// The signature of version 2 is incomplete.
    #[error("invalid PROXY protocol header: invalid signature")]
    Signature,
    /// An unknown version.
    #[error("invalid PROXY protocol header: invalid version 0x{0:02x}")]
    Version(u8),
    /// An unknown command.
    #[error("unknown PROXY protocol command: 0x{0:02x}")]
    Command(u8),
    /// The connection is not a stream.
    #[error("unsupported PROXY protocol feature: only STREAM protocol supported")]
    NoStream,
    /// The family is neither IPv4 nor IPv6.
    #[error("unsupported PROXY protocol feature: unsupported address family 0x{0:02x}")]
    Family(u8),
    /// The header ends before its addresses.
    #[error("{0} address data too short: {1} bytes")]
    TooShort(&'static str, u16),
}

/// Classifies the first bytes of a connection; returns `None` if there are too few.
///
/// ```
/// use broker_net::proxy::{Found, parse};
///
/// let found = parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 4222\r\nCONNECT {}\r\n")?;
/// let source = Some("192.0.2.1:56324".parse().unwrap());
/// assert_eq!(found, Some(Found::Header { used: 43, source }));
/// assert_eq!(parse(b"PROX")?, None);
/// assert_eq!(parse(b"PING\r\n")?, Some(Found::Nothing));
/// # Ok::<(), broker_net::proxy::Fault>(())
/// ```
///
/// # Errors
///
/// Returns [`Fault`] if the header is malformed.
pub fn parse(bytes: &[u8]) -> Result<Option<Found>, Fault> {
    let telling = &bytes[..bytes.len().min(TELLING_BYTES)];
    let is_known = V1_PREFIX.starts_with(telling) || V2_SIGNATURE.starts_with(telling);
    if !is_known {
        return Ok(Some(Found::Nothing));
    }
    if telling.len() < TELLING_BYTES {
        return Ok(None);
    }
    if telling == V1_PREFIX { parse_v1(bytes) } else { parse_v2(bytes) }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Found>, Fault> {
    let seen = &bytes[..bytes.len().min(V1_LINE_BYTES)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        let is_endless = seen.len() == V1_LINE_BYTES;
        return if is_endless { Err(Fault::LineTooLong) } else { Ok(None) };
    };
    // Invalid UTF-8 contains no address either.
    let line = std::str::from_utf8(&seen[V1_PREFIX.len()..end]).map_err(|_| Fault::Words)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let found = |source| Ok(Some(Found::Header { used: end + 2, source }));
    let [protocol, source, destination, source_port, destination_port] = words[..] else {
        return if words.first() == Some(&"UNKNOWN") { found(None) } else { Err(Fault::Words) };
    };
    if protocol == "UNKNOWN" {
        return found(None);
    }
    let address = |word: &str| word.parse::<IpAddr>().map_err(|_| Fault::Address);
    let (source, destination) = (address(source)?, address(destination)?);
    let source_port = port(source_port).ok_or(Fault::Port("source"))?;
    port(destination_port).ok_or(Fault::Port("destination"))?;
    match protocol {
        "TCP4" if source.is_ipv6() || destination.is_ipv6() => {
            Err(Fault::Mixed("TCP4 with IPv6 address"))
        }
        "TCP6" if source.is_ipv4() || destination.is_ipv4() => {
            Err(Fault::Mixed("TCP6 with IPv4 address"))
        }
        "TCP4" | "TCP6" => found(Some(SocketAddr::new(source.to_canonical(), source_port))),
        _ => Err(Fault::Protocol),
    }
}

/// Parses digits only, unlike Rust, which accepts a sign.
fn port(word: &str) -> Option<u16> {
    if word.starts_with('+') { None } else { word.parse().ok() }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Found>, Fault> {
    let signature = &bytes[..bytes.len().min(V2_SIGNATURE.len())];
    if !V2_SIGNATURE.starts_with(signature) {
        return Err(Fault::Signature);
    }
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD_BYTES>() else { return Ok(None) };
    let [.., version_and_command, family_and_protocol, high, low] = *head;
    let len = u16::from_be_bytes([high, low]);
    let found = |source| Ok(Some(Found::Header { used: V2_HEAD_BYTES + usize::from(len), source }));
    if version_and_command >> 4 != 2 {
        return Err(Fault::Version(version_and_command & 0xf0));
    }
    match version_and_command & 0x0f {
        0 => return found(None),
        1 => {}
        command => return Err(Fault::Command(command)),
    }
    if family_and_protocol & 0x0f != 1 {
        return Err(Fault::NoStream);
    }
    match family_and_protocol >> 4 {
        0 => found(None),
        1 if len < 12 => Err(Fault::TooShort("IPv4", len)),
        2 if len < 36 => Err(Fault::TooShort("IPv6", len)),
        1 => match rest {
            [a, b, c, d, _, _, _, _, high, low, ..] => {
                let address = Ipv4Addr::new(*a, *b, *c, *d).into();
                found(Some(SocketAddr::new(address, u16::from_be_bytes([*high, *low]))))
            }
            _ => Ok(None),
        },
        2 => match (rest.first_chunk::<16>(), rest.get(32..34)) {
            (Some(address), Some(&[high, low])) => {
                let address = IpAddr::from(Ipv6Addr::from(*address)).to_canonical();
                found(Some(SocketAddr::new(address, u16::from_be_bytes([high, low]))))
            }
            _ => Ok(None),
        },
        _ => Err(Fault::Family(family_and_protocol & 0xf0)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(used: usize, source: Option<&str>) -> Result<Option<Found>, Fault> {
        let source = source.map(|source| source.parse().unwrap());
        Ok(Some(Found::Header { used, source }))
    }

    fn v2(command: u8, family: u8, addresses: &[u8], len: u16) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(addresses);
        bytes
    }

    #[test]
    fn a_v1_line_states_the_client() {
        let four = b"PROXY TCP4 192.168.1.50 10.0.0.1 12345 4222\r\nrest";
        assert_eq!(parse(four), header(45, Some("192.168.1.50:12345")));
        let six = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
        assert_eq!(parse(six), header(six.len(), Some("[2001:db8::1]:1")));
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n";
        assert_eq!(parse(mapped), header(mapped.len(), Some("192.0.2.1:1")));
    }

    #[test]
    fn health_checks_of_a_proxy_have_no_client() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), header(15, None));
        assert_eq!(parse(b"PROXY UNKNOWN ::1 ::1 1 2\r\n"), header(27, None));
        assert_eq!(parse(b"PROXY UNKNOWN a b c\r\n"), header(21, None));
        assert_eq!(parse(&v2(0x20, 0x00, &[], 0)), header(16, None));
        assert_eq!(parse(&v2(0x20, 0x11, &[], 300)), header(316, None));
        assert_eq!(parse(&v2(0x21, 0x01, &[], 5)), header(21, None));
    }

    #[test]
    fn a_v2_header_states_the_client() {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x10, 0x7e];
        assert_eq!(parse(&v2(0x21, 0x11, &four, 12)), header(28, Some("192.0.2.1:12345")));
        // The part after the addresses is skipped, received or not.
        assert_eq!(parse(&v2(0x21, 0x11, &four, 65535)), header(65551, Some("192.0.2.1:12345")));
        let mut six = [0; 36];
        six[15] = 1;
        six[33] = 80;
        assert_eq!(parse(&v2(0x21, 0x21, &six, 36)), header(52, Some("[::1]:80")));
    }

    #[test]
    fn input_that_is_no_header_is_left_alone() {
        for bytes in
            [&b"CONNECT {}"[..], b"PING\r\n", b"proxy TCP4", b"\r\n\r\nPING", b"\x16\x03\x01"]
        {
            assert_eq!(parse(bytes), Ok(Some(Found::Nothing)));
        }
    }

    #[test]
    fn an_invalid_header_is_refused() {
        for (bytes, fault) in [
            ("PROXY \r\n", Fault::Words),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Fault::Words),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Fault::Words),
            ("PROXY TCP4 1.1.1.1 nobody 1 2\r\n", Fault::Address),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", Fault::Port("source")),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 +2\r\n", Fault::Port("destination")),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Fault::Mixed("TCP4 with IPv6 address")),
            ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", Fault::Mixed("TCP6 with IPv4 address")),
            ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Fault::Protocol),
        ] {
            assert_eq!(parse(bytes.as_bytes()), Err(fault), "{bytes}");
        }
        for (bytes, fault) in [
            (b"\r\n\r\n\0\r\nQUIZ\n".to_vec(), Fault::Signature),
            (v2(0x11, 0x11, &[], 12), Fault::Version(0x10)),
            (v2(0x22, 0x11, &[], 12), Fault::Command(2)),
            (v2(0x21, 0x12, &[], 12), Fault::NoStream),
            (v2(0x21, 0x31, &[], 216), Fault::Family(0x30)),
            (v2(0x21, 0x11, &[], 11), Fault::TooShort("IPv4", 11)),
            (v2(0x21, 0x21, &[], 35), Fault::TooShort("IPv6", 35)),
        ] {
            assert_eq!(parse(&bytes), Err(fault));
        }
    }

    #[test]
    fn a_v1_line_has_107_bytes_at_most() {
        let line = |pad: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(pad));
        let longest = V1_LINE_BYTES - line(0).len();
        assert_eq!(parse(line(longest).as_bytes()), header(V1_LINE_BYTES, None));
        assert_eq!(parse(line(longest + 1).as_bytes()), Err(Fault::LineTooLong));
    }

    /// Beginnings of headers, some of them invalid.
    fn any_start() -> impl Strategy<Value = Vec<u8>> {
        let text =
            "PROXY (TCP4|TCP6|UNKNOWN|X) [0-9.:]{0,20} [0-9.:]{0,20} [0-9]{0,6} [0-9]{0,6}\r\n";
        let bytes = proptest::collection::vec(any::<u8>(), 0..60);
        let binary = (0x1fu8..0x23, any::<u8>(), bytes.clone(), 0u16..100)
            .prop_map(|(command, family, addresses, len)| v2(command, family, &addresses, len));
        prop_oneof![text.prop_map(String::into_bytes), binary, bytes]
    }

    proptest! {
        #[test]
        fn further_bytes_do_not_change_a_decision(bytes in any_start()) {
            let whole = parse(&bytes);
            for end in 0..bytes.len() {
                let half_close = parse(&bytes[..end]);
                prop_assert!(half_close == Ok(None) || half_close == whole, "{:?} then {:?}", half_close, whole);
            }
            if bytes.len() >= PEEK_BYTES {
                prop_assert!(whole != Ok(None));
            }
        }
    }
}
