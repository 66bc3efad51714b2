//! Who may look.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_core::auth::Secret;

use crate::monitor::MonitorOptions;

/// What must be shown.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Secret>,
    user: Option<(String, Secret)>,
}

impl Access {
    pub(super) fn new(options: &MonitorOptions) -> Self {
        Self { token: options.token.clone(), user: options.user.clone() }
    }

    /// May anybody look?
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none() && self.user.is_none()
    }

    /// May somebody look who shows this? If not: what to ask for.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
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
            // What a browser asks its user for.
            (false, Some(_)) => Err("Basic realm=\"natsd\", charset=\"UTF-8\""),
            (false, None) => Err("Bearer realm=\"natsd\""),
        }
    }

    fn is_user(&self, value: &str) -> bool {
        let Some((user, password)) = &self.user else { return false };
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(decoded) = decoded else { return false };
        let (name, shown) = decoded.split_once(':').unwrap_or((&decoded, ""));
        // Both in any case, so that time tells nothing of either.
        let is_name = Secret::from(name) == Secret::from(&**user);
        let is_password = Secret::from(shown) == *password;
        is_name & is_password
    }
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
    fn who_shows_what_is_asked_for_may_look_and_nobody_else() {
        let access =
            Access { token: Some("t0k".into()), user: Some(("admin".into(), "pw:1".into())) };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for good in ["Bearer t0k", "bearer  t0k", &basic("admin:pw:1")] {
            assert_eq!(access.check(&headers(good)), Ok(()), "{good}");
        }
        for bad in
            ["Bearer t0", "Bearer", "t0k", &basic("admin:pw"), &basic("root:pw:1"), "Basic !"]
        {
            assert!(access.check(&headers(bad)).is_err(), "{bad}");
        }
        assert!(access.check(&HeaderMap::new()).unwrap_err().starts_with("Basic"));
        let token_only = Access { user: None, ..access };
        assert!(
            token_only.check(&headers(&basic("admin:pw:1"))).unwrap_err().starts_with("Bearer")
        );
        assert_eq!(Access { token: None, user: None }.check(&HeaderMap::new()), Ok(()));
    }
}
