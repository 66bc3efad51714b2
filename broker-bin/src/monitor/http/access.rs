//! Authorization of monitoring requests.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, AUTHORIZATION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_core::auth::Secret;

use crate::monitor::MonitorOptions;

/// The challenge sent if a user is configured; a browser then prompts for a password.
const BASIC: &str = "Basic realm=\"natsd\", charset=\"UTF-8\"";

const BEARER: &str = "Bearer realm=\"natsd\"";

/// The required credentials.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Secret>,
    user: Option<(String, Secret)>,
}

impl Access {
    pub(super) fn new(options: &MonitorOptions) -> Self {
        Self { token: options.token.clone(), user: options.user.clone() }
    }

    /// Returns true if no credentials are required.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none() && self.user.is_none()
    }

    /// Checks the credentials of a request; otherwise returns the challenge.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), &'static [&'static str]> {
        if self.is_open() {
            return Ok(());
        }
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, value) = shown.and_then(|shown| shown.split_once(' ')).unwrap_or_default();
        let value = value.trim();
        let is_known = if scheme.eq_ignore_ascii_case("bearer") {
            self.token.as_ref().is_some_and(|token| *token == Secret::from(value))
        } else if scheme.eq_ignore_ascii_case("basic") {
            self.is_user(value)
        } else {
            false
        };
        match (is_known, &self.user) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(&[BASIC]),
            (false, None) if wants_a_page(headers) => Err(&[BEARER, BASIC]),
            (false, None) => Err(&[BEARER]),
        }
    }

    /// Browsers cannot prompt for a token, so a token is accepted as the password of any user.
    fn is_user(&self, value: &str) -> bool {
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(decoded) = decoded else { return false };
        let (name, shown) = decoded.split_once(':').unwrap_or((&decoded, ""));
        let is_token = self.token.as_ref().is_some_and(|token| *token == Secret::from(shown));
        let Some((user, password)) = &self.user else { return is_token };
        // Always compares everything, so that timing reveals nothing.
        let is_name = Secret::from(name) == Secret::from(&**user);
        let is_password = Secret::from(shown) == *password;
        is_token | (is_name & is_password)
    }
}

/// Returns true for a request by a browser.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_requests_with_valid_credentials_are_allowed() {
        let access =
            Access { token: Some("t0k".into()), user: Some(("admin".into(), "pw:1".into())) };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for good in ["Bearer t0k", "bearer  t0k", &basic("admin:pw:1"), &basic("anybody:t0k")] {
            assert_eq!(access.check(&headers(good)), Ok(()), "{good}");
        }
        for bad in [
            "Bearer t0",
            "Bearer",
            "t0k",
            &basic("admin:pw"),
            &basic("root:pw:1"),
            &basic("t0k"),
            "Basic !",
        ] {
            assert!(access.check(&headers(bad)).is_err(), "{bad}");
        }
        assert_eq!(access.check(&HeaderMap::new()), Err(&[BASIC][..]));
        let token_only = Access { user: None, ..access };
        assert_eq!(token_only.check(&headers(&basic("admin:pw:1"))), Err(&[BEARER][..]));
        assert_eq!(token_only.check(&headers(&basic(":t0k"))), Ok(()));
        let mut browser = HeaderMap::new();
        browser.insert(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8".parse().unwrap());
        assert_eq!(token_only.check(&browser), Err(&[BEARER, BASIC][..]), "people are asked");
        assert_eq!(Access { token: None, user: None }.check(&HeaderMap::new()), Ok(()));
    }
}
