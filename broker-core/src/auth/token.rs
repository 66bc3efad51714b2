//! Authentication by one token.

use std::sync::Arc;

use super::password::{Form, Password};
use super::{Authenticator, Credentials, Decision, Denied, Grant, Secret};

/// Accepts clients that send one token, which is configured as text or as its bcrypt hash.
///
/// ```
/// use broker_core::auth::{Authenticator, Credentials, Denied, Token};
///
/// let token = Token::new("s3cr3t");
/// let mut credentials = Credentials::default();
/// credentials.token = "s3cr3t".into();
/// assert!(token.authenticate(&credentials).resolve().is_ok());
/// credentials.token = "guess".into();
/// assert_eq!(token.authenticate(&credentials).resolve(), Err(Denied::Credentials));
/// ```
#[derive(Clone, Debug)]
pub struct Token {
    password: Arc<Password>,
    proxy_required: bool,
}

impl Token {
    /// Takes a token or its bcrypt hash. An empty one accepts no client.
    pub fn new(token: impl Into<Secret>) -> Self {
        Self { password: Arc::new(token.into().into()), proxy_required: false }
    }

    /// Requires clients to connect through a [trusted](super::TrustedProxies) proxy.
    #[must_use]
    pub fn proxy_required(mut self, is_required: bool) -> Self {
        self.proxy_required = is_required;
        self
    }

    /// Returns the same token, which also recognises clients that `before` accepted if the token is text in one
    /// and its hash in the other. Takes the time of one check then.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        Arc::make_mut(&mut self.password).succeed(&before.password);
        self
    }
}

impl Authenticator for Token {
    fn is_required(&self) -> bool {
        true
    }

    fn may_name(&self, _: &str) -> bool {
        false
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if self.proxy_required && credentials.proxy.is_none() {
            return Denied::ProxyRequired.into();
        }
        let shown = &credentials.token;
        if shown.is_empty() {
            return Denied::Credentials.into();
        }
        let grant = Grant::shown_as(credentials).with_proof(Arc::clone(&self.password));
        match &self.password.form {
            Form::Plain(token) if token == shown => grant.into(),
            Form::Plain(_) => Denied::Credentials.into(),
            Form::Bcrypt(hash) => {
                let (hash, shown) = (hash.clone(), shown.clone());
                Decision::compute(move || {
                    if hash.verify(&shown) { Ok(grant) } else { Err(Denied::Credentials) }
                })
            }
        }
    }

    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        if !held.proof.is_some() {
            return self.authenticate(credentials);
        }
        if self.proxy_required && credentials.proxy.is_none() {
            return Denied::ProxyRequired.into();
        }
        match held.proof.get::<Password>() {
            Some(token) if self.password.is_known_as(token) => {
                let mut grant = Grant::anonymous().with_proof(Arc::clone(&self.password));
                grant.user.clone_from(&held.user);
                grant.into()
            }
            _ => Denied::Credentials.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(token: &str, shown: &str) -> Decision {
        let credentials = Credentials { token: shown.into(), ..Credentials::default() };
        Token::new(token).authenticate(&credentials)
    }

    #[test]
    fn only_the_token_is_accepted() {
        assert!(decide("abc", "abc").resolve().is_ok());
        for shown in ["", "ab", "abcd", "abd"] {
            assert_eq!(decide("abc", shown).resolve(), Err(Denied::Credentials), "{shown}");
        }
        assert!(decide("", "").resolve().is_err(), "no token is not an empty token");
    }

    #[test]
    fn a_hashed_token_is_computed() {
        let hash = bcrypt::hash("abc", 4).unwrap();
        let decision = decide(&hash, "abc");
        assert!(matches!(decision, Decision::Compute(_)));
        assert_eq!(decision.resolve().unwrap().user.as_deref(), Some("[REDACTED]"));
        assert!(decide(&hash, "abd").resolve().is_err());
        assert!(decide(&hash, &hash).resolve().is_err(), "the hash is not the token");
        assert!(matches!(decide(&hash, ""), Decision::Deny(_)), "nothing to compute");
    }

    #[test]
    fn a_client_stays_while_its_token_is_configured() {
        let credentials = Credentials { token: "abc".into(), ..Credentials::default() };
        let before = Token::new("abc");
        let held = before.authenticate(&credentials).resolve().unwrap();
        let review = |token: &Token| token.review(&held, &Credentials::default()).resolve();
        assert_eq!(review(&Token::new("abc")), Ok(held.clone()));
        assert_eq!(review(&Token::new("abd")), Err(Denied::Credentials));
        let hashed = Token::new(bcrypt::hash("abc", 4).unwrap());
        assert_eq!(
            review(&hashed),
            Err(Denied::Credentials),
            "the two forms have not been compared"
        );
        assert_eq!(review(&hashed.succeeding(&before)), Ok(held.clone()));
    }
}
