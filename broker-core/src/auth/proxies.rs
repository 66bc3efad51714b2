//! Proxies that connect on behalf of clients, and prove by a signature which they are.

use std::sync::Arc;

use super::nkey::{PublicKey, decode_for_urls};
use super::{Authenticator, Credentials, Decision, Denied, Grant};

/// Lets clients connect through trusted proxies: a proxy adds `proxy_sig` to the CONNECT of its client, its signature of
/// the nonce in INFO. Who then is let in is decided by another authenticator, which may require a proxy of some users:
/// [`User::proxy_required`](super::User::proxy_required).
///
/// A signature of no trusted proxy is refused, unless there is none at all: then signatures have no meaning.
///
/// ```
/// use broker_core::auth::nkey::{KeyKind, KeyPair};
/// use broker_core::auth::{Authenticator, Credentials, Denied, TrustedProxies, User, Users};
///
/// let proxy = KeyPair::from_random(KeyKind::User, [7; 32]);
/// let users = Users::builder().user(User::new("app", "s3cr3t").proxy_required(true)).build()?;
/// let users = TrustedProxies::new(users, [proxy.public()]);
///
/// let mut credentials = Credentials::default();
/// credentials.user = "app".to_owned();
/// credentials.password = "s3cr3t".into();
/// assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::ProxyRequired));
/// # Ok::<(), broker_core::auth::UsersError>(())
/// ```
// NATS 2.14: auth.go proxyCheck.
#[derive(Debug)]
pub struct TrustedProxies<A> {
    inner: Arc<A>,
    keys: Arc<[PublicKey]>,
}

impl<A: Authenticator> TrustedProxies<A> {
    /// Trusts the proxies with these keys.
    pub fn new(inner: A, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { inner: Arc::new(inner), keys: keys.into_iter().collect() }
    }

    fn trusts(&self, proxy: &str) -> bool {
        self.keys.iter().any(|key| key.to_string() == proxy)
    }
}

impl<A: Authenticator> Authenticator for TrustedProxies<A> {
    fn is_required(&self) -> bool {
        self.inner.is_required()
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if credentials.proxy_sig.is_empty() || self.keys.is_empty() {
            return self.inner.authenticate(credentials);
        }
        let (keys, signed) = (Arc::clone(&self.keys), credentials.clone());
        let (inner, mut credentials) = (Arc::clone(&self.inner), credentials.clone());
        let proven = Decision::compute(move || {
            let proxy = signer(&keys, &signed).ok_or(Denied::ProxyNotTrusted)?;
            Ok(Grant { proxy: Some(proxy.to_string().into()), ..Grant::anonymous() })
        });
        proven.and_then(move |result| match result {
            Err(denied) => denied.into(),
            Ok(proven) => {
                credentials.proxy.clone_from(&proven.proxy);
                through(inner.authenticate(&credentials), proven.proxy)
            }
        })
    }

    // NATS 2.14: reload.go proxiesReload.
    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        let Some(proxy) = &held.proxy else { return self.inner.review(held, credentials) };
        if !self.trusts(proxy) {
            return Denied::ProxyNotTrusted.into();
        }
        let credentials = Credentials { proxy: held.proxy.clone(), ..credentials.clone() };
        through(self.inner.review(held, &credentials), held.proxy.clone())
    }

    // NATS 2.14: nkey.go nonceRequired.
    fn nonce_required(&self) -> bool {
        !self.keys.is_empty() || self.inner.nonce_required()
    }

    fn is_connect_optional(&self) -> bool {
        self.inner.is_connect_optional()
    }

    fn may_name(&self, account: &str) -> bool {
        self.inner.may_name(account)
    }

    fn configures_accounts(&self) -> bool {
        self.inner.configures_accounts()
    }

    fn reads_certificates(&self) -> bool {
        self.inner.reads_certificates()
    }
}

/// Notes the proxy in the grant of a decision.
fn through(decision: Decision, proxy: Option<Arc<str>>) -> Decision {
    decision.and_then(move |result| result.map(|grant| Grant { proxy, ..grant }).into())
}

/// Returns the key by which the nonce was signed.
fn signer<'k>(keys: &'k [PublicKey], credentials: &Credentials) -> Option<&'k PublicKey> {
    let signature = decode_for_urls(credentials.proxy_sig.expose())?;
    let nonce = credentials.nonce.as_bytes();
    let mut keys = keys.iter().filter(|_| !nonce.is_empty());
    keys.find(|key| key.verify(nonce, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::auth::nkey::{KeyKind, KeyPair};
    use crate::auth::{Token, User, Users};

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_random(KeyKind::User, [seed; 32])
    }

    fn signed(user: &str, by: Option<&KeyPair>) -> Credentials {
        let mut credentials = Credentials {
            user: user.to_owned(),
            password: "p".into(),
            nonce: "abc".into(),
            ..Credentials::default()
        };
        if let Some(pair) = by {
            let signature = BASE64_URL_SAFE_NO_PAD.encode(pair.sign(b"abc"));
            credentials.proxy_sig = signature.as_str().into();
        }
        credentials
    }

    fn users(required: bool) -> Users {
        let needing = User::new("needing", "p").proxy_required(required);
        Users::builder().user(needing).user(User::new("free", "p")).build().unwrap()
    }

    #[test]
    fn a_user_may_need_a_trusted_proxy_and_no_other_proxy_is_accepted() {
        let (trusted, other) = (pair(1), pair(2));
        let proxies = TrustedProxies::new(users(true), [pair(3).public(), trusted.public()]);
        assert!(proxies.nonce_required() && proxies.is_required());
        let decide = |credentials: &Credentials| proxies.authenticate(credentials).resolve();
        let key: Arc<str> = trusted.public().to_string().into();
        for (user, by, expected) in [
            ("needing", None, Err(Denied::ProxyRequired)),
            ("needing", Some(&trusted), Ok(Some(Arc::clone(&key)))),
            ("needing", Some(&other), Err(Denied::ProxyNotTrusted)),
            ("free", None, Ok(None)),
            ("free", Some(&trusted), Ok(Some(key))),
            ("free", Some(&other), Err(Denied::ProxyNotTrusted)),
            ("nobody", Some(&trusted), Err(Denied::Credentials)),
        ] {
            let granted = decide(&signed(user, by)).map(|grant| grant.proxy);
            assert_eq!(granted, expected, "{user}");
        }
        let mut bad = signed("free", Some(&trusted));
        bad.proxy_sig = "*".into();
        assert_eq!(decide(&bad), Err(Denied::ProxyNotTrusted));
        bad = signed("free", Some(&trusted));
        bad.nonce = String::new();
        assert_eq!(decide(&bad), Err(Denied::ProxyNotTrusted), "without a nonce nothing is signed");
    }

    #[test]
    fn a_reload_closes_the_clients_of_a_proxy_that_is_no_longer_trusted() {
        let trusted = pair(1);
        let before = TrustedProxies::new(users(true), [trusted.public()]);
        let credentials = signed("needing", Some(&trusted));
        let held = before.authenticate(&credentials).resolve().unwrap();
        // The signature is forgotten, as all secrets are.
        let forgotten = signed("needing", None);
        let review = |keys: &[PublicKey], held: &Grant| {
            let now = TrustedProxies::new(users(true), keys.iter().copied());
            now.review(held, &forgotten).resolve().map(|grant| grant.proxy)
        };
        assert_eq!(review(&[trusted.public()], &held), Ok(held.proxy.clone()));
        assert_eq!(review(&[pair(2).public()], &held), Err(Denied::ProxyNotTrusted));
        assert_eq!(review(&[], &held), Err(Denied::ProxyNotTrusted));
        let direct = TrustedProxies::new(users(false), [trusted.public()]);
        let direct = direct.authenticate(&forgotten).resolve().unwrap();
        assert_eq!(review(&[trusted.public()], &direct), Err(Denied::ProxyRequired));
    }

    #[test]
    fn a_token_may_need_a_proxy_too() {
        let trusted = pair(1);
        let token = Token::new("t").proxy_required(true);
        let proxies = TrustedProxies::new(token, [trusted.public()]);
        let mut credentials = signed("", None);
        credentials.token = "t".into();
        assert_eq!(proxies.authenticate(&credentials).resolve(), Err(Denied::ProxyRequired));
        credentials.proxy_sig = signed("", Some(&trusted)).proxy_sig;
        assert!(proxies.authenticate(&credentials).resolve().is_ok());
    }
}
