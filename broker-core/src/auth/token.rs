//! One token that lets everybody in who shows it.

use super::password::Password;
use super::{Authenticator, Credentials, Decision, Denied, Grant, Secret};

/// Lets in whoever shows one token; plain, or kept as its bcrypt hash.
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
pub struct Token(Password);

impl Token {
    /// A token, or its bcrypt hash. An empty one lets nobody in.
    pub fn new(token: impl Into<Secret>) -> Self {
        Self(token.into().into())
    }
}

impl Authenticator for Token {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let shown = &credentials.token;
        if shown.is_empty() {
            return Denied::Credentials.into();
        }
        let grant = Grant::shown_as(credentials);
        match &self.0 {
            Password::Plain(token) if token == shown => grant.into(),
            Password::Plain(_) => Denied::Credentials.into(),
            Password::Bcrypt(hash) => {
                let (hash, shown) = (hash.clone(), shown.clone());
                Decision::compute(move || {
                    if hash.verify(&shown) { Ok(grant) } else { Err(Denied::Credentials) }
                })
            }
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
    fn only_the_token_lets_in() {
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
}
