//! The upgrade request.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker_core::transport::Cookies;
use httparse::{EMPTY_HEADER, Header, Request, Status};

use super::accept_key::accept_key;
use super::origin::{AllowedOrigins, Origin};

/// Maximum size of a request.
// NATS 2.14 has no limit of its own; Go's is 1 MiB, which any client can make the server hold.
pub const HEAD_BYTES: usize = 8 << 10;

/// The conditions for accepting a request.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Accepts only pages of the host that they connect to.
    pub same_origin: bool,
    /// Accepts only pages of these origins, if there are any.
    pub allowed_origins: AllowedOrigins,
    /// Accepts compression if the client offers it.
    pub compression: bool,
    /// The connection is encrypted from the client's view.
    pub is_tls: bool,
    /// The names of cookies that contain credentials.
    pub cookies: CookieNames,
}

/// The names of cookies that contain credentials; empty for none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CookieNames {
    /// The cookie with a user's JWT.
    pub jwt: String,
    /// The cookie with a user's name.
    pub user: String,
    /// The cookie with a password.
    pub password: String,
    /// The cookie with a token.
    pub token: String,
}

/// The parameters of a request that can be [accepted](super::accept).
#[derive(Clone, Debug)]
pub struct Client {
    /// The accept key, which proves that the server implements WebSocket.
    pub accept_key: String,
    /// Messages may be compressed.
    pub is_compressed: bool,
    /// The maximum distance of references in the server's compression, as a power of two.
    pub window_bits: u8,
    /// The client sends frames without a mask.
    pub is_bare: bool,
    /// The client is a browser, which performs better with small frames.
    pub is_browser: bool,
    /// The client is Safari, which does not support compressed messages in several frames.
    pub is_safari: bool,
    /// The client's address as a proxy states it.
    pub forwarded_for: Option<IpAddr>,
    /// Credentials.
    pub cookies: Cookies,
}

/// A complete request.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its length in bytes.
    pub used: usize,
    /// Its parameters.
    pub client: Client,
}

/// A request is refused. Prints the reason for operators; the client gets [a status](Self::status)
/// only.
// NATS 2.14: websocket.go wsUpgrade.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not HTTP.
    #[error("malformed HTTP request")]
    Malformed,
    /// It is longer than [`HEAD_BYTES`].
    #[error("request headers too large")]
    TooLarge,
    /// It was not complete in time.
    #[error("timeout")]
    Timeout,
    /// The path is unknown: there is no MQTT or leaf node endpoint.
    #[error("websocket endpoint not enabled")]
    NoSuchPath,
    /// Only GET can be upgraded.
    #[error("request method must be GET")]
    Method,
    /// The `Host` header is missing.
    #[error("'Host' missing in request")]
    NoHost,
    /// It does not request an upgrade to WebSocket.
    #[error("invalid value for header 'Upgrade'")]
    Upgrade,
    /// It does not request an upgrade.
    #[error("invalid value for header 'Connection'")]
    Connection,
    /// The key is missing.
    #[error("key missing")]
    NoKey,
    /// The key is not 16 bytes in Base64.
    #[error("invalid websocket key")]
    Key,
    /// The version is not 13.
    #[error("invalid version")]
    Version,
    /// The origin is not allowed.
    #[error("origin not allowed: {0}")]
    Origin(&'static str),
    /// Further input came with the request, before the client could know that it is accepted.
    #[error("client sent data before handshake is complete")]
    Early,
}

impl Refusal {
    /// Returns the HTTP status and its text; `None` if the client gets no response.
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

/// Parses a request; returns `None` if it is incomplete.
///
/// # Errors
///
/// Returns the reason why it cannot be accepted.
pub fn parse(head: &[u8], rules: &Rules) -> Result<Option<Parsed>, Refusal> {
    let bounded = &head[..head.len().min(HEAD_BYTES)];
    // Only the size is limited: meshes and proxies add dozens of headers.
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
        // Without a mask a page could send a proxy bytes that it takes for HTTP.
        is_bare: !is_browser && fields.first("Nats-No-Masking") == Some("true"),
        is_browser,
        // NATS 2.14: other browsers contain "Safari" too, but without a version.
        is_safari: is_browser && agent.contains("Version/") && agent.contains("Safari/"),
        forwarded_for,
        cookies: fields.cookies(&rules.cookies),
    };
    Ok(Some(Parsed { used, client }))
}

// NATS 2.14: websocket.go checkOrigin. Clients other than browsers send no origin, or any.
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

/// The headers of a request.
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

    /// Returns the window that the client supports, if it offers compression.
    // NATS 2.14 ignores the parameters, and so may refer too far back.
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
            // NATS 2.14: in this order, if two names are equal.
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

/// Removes quotes; returns `None` for invalid characters.
// As Go's net/http does.
fn cookie_value(value: &str) -> Option<&str> {
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = quoted.unwrap_or(value);
    let is_allowed = |byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b';' | b'\\');
    value.bytes().all(is_allowed).then_some(value)
}

#[cfg(test)]
mod tests;
