//! Allowed origins.

use std::fmt;
use std::str::FromStr;

/// The origins of pages that may connect. Without entries every origin is allowed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedOrigins(Vec<Origin>);

impl AllowedOrigins {
    /// Adds an origin: `https://example.com` or `http://example.com:8080`.
    ///
    /// # Errors
    ///
    /// Returns [`BadOrigin`] if the text is not an origin.
    pub fn add(&mut self, origin: &str) -> Result<(), BadOrigin> {
        let parsed: Origin = origin.parse()?;
        // NATS 2.14: websocket.go validateWebsocketOptions.
        if !matches!(parsed.scheme.as_str(), "http" | "https") {
            return Err(BadOrigin::Scheme(origin.to_owned()));
        }
        if parsed.host.is_empty() {
            return Err(BadOrigin::NoHost(origin.to_owned()));
        }
        self.0.push(parsed);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn allow(&self, origin: &Origin) -> bool {
        self.0.contains(origin)
    }
}

/// A text is not an origin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOrigin {
    /// It is not a URL.
    #[error("unable to parse allowed origin: invalid URI for request {0:?}")]
    NoUrl(String),
    /// The scheme is neither `http` nor `https`.
    #[error(
        "unable to parse allowed origin {0:?}: allowed origins must be absolute URLs with http or https scheme"
    )]
    Scheme(String),
    /// The host is missing.
    #[error("unable to parse allowed origin {0:?}: host is required")]
    NoHost(String),
    /// The port is invalid.
    #[error("unable to parse allowed origin: invalid port in {0:?}")]
    Port(String),
}

/// Scheme, host and port, in lower case and with the default port filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: String,
}

impl Origin {
    /// Returns the origin of pages of this server, derived from the `Host` header of the request.
    pub(super) fn of_host(host: &str, is_tls: bool) -> Option<Self> {
        let scheme = if is_tls { "https" } else { "http" };
        let (host, port) = host_and_port(host, is_tls)?;
        Some(Self { scheme: scheme.to_owned(), host, port })
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(origin: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin::NoUrl(origin.to_owned());
        let (scheme, rest) = origin.split_once("://").ok_or_else(bad)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || rest.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(bad());
        }
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = host_and_port(authority, scheme == "https")
            .ok_or_else(|| BadOrigin::Port(origin.to_owned()))?;
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// Splits an authority; returns `None` if the port is invalid.
// NATS 2.14: websocket.go wsGetHostAndPort.
fn host_and_port(authority: &str, is_tls: bool) -> Option<(String, String)> {
    let default = if is_tls { "443" } else { "80" };
    // A colon within brackets belongs to the address.
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[end..].rfind(':') {
        Some(at) => (&authority[..end + at], &authority[end + at + 1..]),
        None => (authority, default),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_ascii_lowercase(), port.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
        assert_eq!(origin("https://Example.com/x").unwrap(), "https://example.com:443");
        assert_eq!(origin("HTTP://example.com").unwrap(), "http://example.com:80");
        assert_eq!(origin("http://[::1]:8080").unwrap(), "http://::1:8080");
        assert_eq!(origin("http://user@host:1").unwrap(), "http://host:1");
        assert!(origin("null").is_err());
        assert!(origin("http://host:port").is_err());
        assert!(origin("://host").is_err());
        assert!(origin("http://a b").is_err());
    }

    #[test]
    fn only_pages_can_be_allowed() {
        let mut origins = AllowedOrigins::default();
        assert_eq!(origins.add("https://example.com"), Ok(()));
        assert_eq!(
            origins.add("ftp://example.com"),
            Err(BadOrigin::Scheme("ftp://example.com".into()))
        );
        assert_eq!(origins.add("http://:80"), Err(BadOrigin::NoHost("http://:80".into())));
        assert!(origins.allow(&"https://EXAMPLE.com:443".parse().unwrap()));
        assert!(!origins.allow(&"http://example.com:443".parse().unwrap()));
        assert!(!origins.allow(&"https://example.com.evil.org".parse().unwrap()));
    }
}
