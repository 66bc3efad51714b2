//! The request by which HTTP ends and WebSocket begins.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker_core::transport::Cookies;
use httparse::{EMPTY_HEADER, Header, Request, Status};

use super::accept_key::accept_key;
use super::origin::{AllowedOrigins, Origin};

/// The most that a request may take.
// NATS 2.14 has no limit of its own; Go's is 1 MiB, which anybody can make the server hold.
pub const HEAD_BYTES: usize = 8 << 10;

/// Who may connect, and how.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// A page must come from the host that it connects to.
    pub same_origin: bool,
    /// A page must come from one of these, if there are any.
    pub allowed_origins: AllowedOrigins,
    /// Messages may be compressed if the client offers it.
    pub compression: bool,
    /// The connection is encrypted, as far as the client can tell.
    pub is_tls: bool,
    /// The names of cookies that may hold credentials.
    pub cookies: CookieNames,
}

/// The names of cookies that may hold credentials; empty for none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CookieNames {
    /// Of a user's JWT.
    pub jwt: String,
    /// Of a user's name.
    pub user: String,
    /// Of a password.
    pub password: String,
    /// Of a token.
    pub token: String,
}

/// A request that can be [accepted](super::accept).
#[derive(Clone, Debug)]
pub struct Client {
    /// What proves that the server has understood.
    pub accept_key: String,
    /// Messages may be compressed.
    pub is_compressed: bool,
    /// How far back what the server compresses may refer, as a power of two.
    pub window_bits: u8,
    /// It sends frames without a mask.
    pub is_bare: bool,
    /// It is a browser, which works better with small frames.
    pub is_browser: bool,
    /// It is Safari, which does not understand compressed messages in more than one frame.
    pub is_safari: bool,
    /// Whom a proxy says that it connects for.
    pub forwarded_for: Option<IpAddr>,
    /// Credentials.
    pub cookies: Cookies,
}

/// A whole request.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its bytes.
    pub used: usize,
    /// Who sent it.
    pub client: Client,
}

/// Why a request is refused. It prints as the operator reads it; the client gets no more than
/// [a status](Self::status).
// NATS 2.14: websocket.go wsUpgrade.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no HTTP.
    #[error("malformed HTTP request")]
    Malformed,
    /// It is longer than [`HEAD_BYTES`].
    #[error("request headers too large")]
    TooLarge,
    /// It did not come in time.
    #[error("timeout")]
    Timeout,
    /// There is nothing behind the path: no MQTT, no leaf nodes.
    #[error("websocket endpoint not enabled")]
    NoSuchPath,
    /// Only GET can be upgraded.
    #[error("request method must be GET")]
    Method,
    /// A field is missing that it must have.
    #[error("'Host' missing in request")]
    NoHost,
    /// It asks for no upgrade to WebSocket.
    #[error("invalid value for header 'Upgrade'")]
    Upgrade,
    /// It asks for no upgrade at all.
    #[error("invalid value for header 'Connection'")]
    Connection,
    /// There is no key.
    #[error("key missing")]
    NoKey,
    /// The key is no 16 bytes in Base64.
    #[error("invalid websocket key")]
    Key,
    /// Only version 13 is there.
    #[error("invalid version")]
    Version,
    /// The page must not connect.
    #[error("origin not allowed: {0}")]
    Origin(&'static str),
    /// More came with the request, which nobody can have been sure to be understood.
    #[error("client sent data before handshake is complete")]
    Early,
}

impl Refusal {
    /// Its status in HTTP, with the text that goes with it; `None` if the client is not answered.
    pub fn status(&self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Timeout | Self::Early => return None,
            Self::TooLarge => (431, "Request Header Fields Too Large"),
            Self::NoSuchPath => (404, "Not Found"),
            Self::Method => (405, "Method Not Allowed"),
            Self::Origin(_) => (403, "Forbidden"),
            Self::Malformed
            | Self::NoHost
            | Self::Upgrade
            | Self::Connection
            | Self::NoKey
            | Self::Key
            | Self::Version => (400, "Bad Request"),
        })
    }
}

/// Reads a request, if it is whole.
///
/// # Errors
///
/// Why it cannot be accepted.
pub fn parse(head: &[u8], rules: &Rules) -> Result<Option<Parsed>, Refusal> {
    let bounded = &head[..head.len().min(HEAD_BYTES)];
    // Only bytes are bounded: meshes and proxies add dozens of lines.
    let lines = bounded.iter().filter(|byte| **byte == b'\n').count();
    let mut headers = vec![EMPTY_HEADER; lines];
    let mut request = Request::new(&mut headers);
    let used = match request.parse(bounded) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) if head.len() >= HEAD_BYTES => return Err(Refusal::TooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(Refusal::Malformed),
    };
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    if path.ends_with("/mqtt") || path.ends_with("/leafnode") {
        return Err(Refusal::NoSuchPath);
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let fields = Fields(request.headers);
    let host = fields.first("Host").filter(|host| !host.is_empty()).ok_or(Refusal::NoHost)?;
    if !fields.has_token("Upgrade", "websocket") {
        return Err(Refusal::Upgrade);
    }
    if !fields.has_token("Connection", "Upgrade") {
        return Err(Refusal::Connection);
    }
    let key = fields.first("Sec-WebSocket-Key").filter(|key| !key.is_empty());
    let key = key.ok_or(Refusal::NoKey)?;
    if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        check_origin(&fields, host, rules)?;
    } else {
        return Err(Refusal::Key);
    }
    if !fields.has_token("Sec-WebSocket-Version", "13") {
        return Err(Refusal::Version);
    }
    let compression = if rules.compression { fields.compression() } else { None };
    let agent = fields.first("User-Agent").unwrap_or_default();
    let is_browser = agent.starts_with("Mozilla/");
    let forwarded_for = fields.first("X-Forwarded-For").and_then(|ip| ip.parse().ok());
    let client = Client {
        accept_key: accept_key(key),
        is_compressed: compression.is_some(),
        window_bits: compression.unwrap_or(15),
        // A page that leaves out the mask could make a proxy believe anything.
        is_bare: !is_browser && fields.first("Nats-No-Masking") == Some("true"),
        is_browser,
        // NATS 2.14: other browsers call themselves Safari, but without a version of it.
        is_safari: is_browser && agent.contains("Version/") && agent.contains("Safari/"),
        forwarded_for,
        cookies: fields.cookies(&rules.cookies),
    };
    Ok(Some(Parsed { used, client }))
}

// NATS 2.14: websocket.go checkOrigin. What is no page sends none, or what it likes.
fn check_origin(fields: &Fields<'_>, host: &str, rules: &Rules) -> Result<(), Refusal> {
    if !rules.same_origin && rules.allowed_origins.is_empty() {
        return Ok(());
    }
    let given = |name| fields.first(name).filter(|origin| !origin.is_empty());
    let Some(origin) = given("Origin").or_else(|| given("Sec-WebSocket-Origin")) else {
        return Ok(());
    };
    let origin: Origin = origin.parse().map_err(|_| Refusal::Origin("invalid URI for request"))?;
    if rules.same_origin && Origin::of_host(host, rules.is_tls).as_ref() != Some(&origin) {
        return Err(Refusal::Origin("not same origin"));
    }
    if !rules.allowed_origins.is_empty() && !rules.allowed_origins.allow(&origin) {
        return Err(Refusal::Origin("not in the allowed list"));
    }
    Ok(())
}

/// The lines of a request behind the first.
struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
    }

    fn first(&self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn tokens(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    fn has_token(&self, name: &'a str, wanted: &str) -> bool {
        self.tokens(name).any(|token| token.eq_ignore_ascii_case(wanted))
    }

    /// The window that the client can follow, if it offers compression.
    // NATS 2.14 does not read the parameters, and so may refer too far back.
    fn compression(&self) -> Option<u8> {
        self.tokens("Sec-WebSocket-Extensions").find_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
                return None;
            }
            let bits = parts.find_map(|half_close| {
                let (name, value) = half_close.split_once('=')?;
                let bits = value.trim().trim_matches('"').parse().ok()?;
                name.trim().eq_ignore_ascii_case("server_max_window_bits").then_some(bits)
            });
            let bits = bits.unwrap_or(15);
            (8..=15).contains(&bits).then_some(bits)
        })
    }

    fn cookies(&self, names: &CookieNames) -> Cookies {
        let mut cookies = Cookies::default();
        let pairs = self.all("Cookie").flat_map(|value| value.split(';'));
        for (name, value) in pairs.filter_map(|pair| pair.trim().split_once('=')) {
            let Some(value) = cookie_value(value).filter(|_| !name.is_empty()) else { continue };
            // NATS 2.14: in this order, should two have one name.
            if name == names.jwt {
                cookies.jwt = value.into();
            } else if name == names.user {
                cookies.user = value.to_owned();
            } else if name == names.password {
                cookies.password = value.into();
            } else if name == names.token {
                cookies.token = value.into();
            }
        }
        cookies
    }
}

/// Without its quotes; `None` if there is in it what may not be.
// As Go's net/http reads it.
fn cookie_value(value: &str) -> Option<&str> {
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = quoted.unwrap_or(value);
    let is_allowed = |byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b';' | b'\\');
    value.bytes().all(is_allowed).then_some(value)
}

#[cfg(test)]
mod tests;
