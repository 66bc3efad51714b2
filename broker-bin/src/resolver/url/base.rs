//! The URL of a server with accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_core::auth::Secret;
use hyper::Uri;

/// The URL to which keys are appended.
pub(super) struct Base {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as in the URL.
    pub(super) authority: String,
    /// With a slash at its end.
    path: String,
    /// The value of the header `authorization`.
    pub(super) credentials: Option<Secret>,
}

/// Not the URL of a web server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("account resolver: not an http or https URL")]
pub(crate) struct BadUrl;

impl Base {
    pub(super) fn parse(url: &str) -> Result<Self, BadUrl> {
        let uri: Uri = url.parse().map_err(|_| BadUrl)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadUrl),
        };
        let authority = uri.authority().ok_or(BadUrl)?;
        let (user, shown) = match authority.as_str().rsplit_once('@') {
            Some((user, shown)) => (Some(user), shown),
            None => (None, authority.as_str()),
        };
        let credentials = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            Secret::from(format!("Basic {}", STANDARD.encode(user)))
        });
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(BadUrl);
        }
        let mut path = uri.path().to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: shown.to_owned(),
            path,
            credentials,
        })
    }

    /// Returns the path of an account.
    pub(super) fn path_of(&self, account: &str) -> String {
        format!("{}{account}", self.path)
    }

    /// Returns the URL of an account without user and password.
    pub(super) fn shown(&self, account: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path_of(account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_appended_to_the_path() {
        for (url, shown, port) in [
            ("http://host", "http://host/K", 80),
            ("http://host:9090/jwt/v1/accounts/", "http://host:9090/jwt/v1/accounts/K", 9090),
            ("https://user:marker@host/a", "https://host/a/K", 443),
            ("http://[::1]:1/", "http://[::1]:1/K", 1),
        ] {
            let base = Base::parse(url).ok().unwrap();
            assert_eq!((&*base.shown("K"), base.port), (shown, port), "{url}");
        }
        let base = Base::parse("http://a:b@[::1]").ok().unwrap();
        assert_eq!((&*base.host, &*base.authority), ("::1", "[::1]"));
        assert_eq!(base.credentials.unwrap().expose(), "Basic YTpi");
    }

    #[test]
    fn only_urls_of_web_servers_are_accepted() {
        for url in ["", "host", "nats://host", "file:///etc/passwd", "http://", "http:// a"] {
            assert!(Base::parse(url).is_err(), "{url}");
        }
    }
}
