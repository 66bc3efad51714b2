//! What a client says of itself: `CONNECT {json}`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::auth::Secret;

/// The options of a client.
///
/// A client that never sends CONNECT has the default ones: it is verbose.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Answer each accepted operation with `+OK`.
    pub verbose: bool,
    /// Check subjects that are published to.
    pub pedantic: bool,
    /// Deliver the client's own messages to its own subscriptions.
    pub echo: bool,
    /// The client knows headers.
    pub headers: bool,
    /// Tell the client when nobody listens for its requests.
    pub no_responders: bool,
    /// The client has gone, or wants to go, over to TLS.
    pub tls_required: bool,
    /// 1: INFO may come again at any time.
    pub protocol: i64,
    /// What the client calls itself.
    pub name: String,
    /// The language of its library.
    pub lang: String,
    /// The version of its library.
    pub version: String,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub pass: Secret,
    /// A token in place of user and password.
    pub auth_token: Secret,
    /// A public key in place of a user.
    pub nkey: String,
    /// The server's nonce, signed with that key.
    pub sig: Secret,
    /// A user's claims, signed.
    pub jwt: Secret,
    /// An account to be put into: refused, whatever it is.
    // NATS 2.14: what is left of an abandoned feature.
    pub account: String,
    /// There was a token, which has served its purpose.
    pub(crate) is_token_forgotten: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            tls_required: false,
            protocol: 0,
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            user: String::new(),
            pass: Secret::default(),
            auth_token: Secret::default(),
            nkey: String::new(),
            sig: Secret::default(),
            jwt: Secret::default(),
            account: String::new(),
            is_token_forgotten: false,
        }
    }
}

impl ConnectOptions {
    /// Forgets all that could let somebody else in.
    pub(crate) fn forget_secrets(&mut self) {
        self.is_token_forgotten |= !self.auth_token.is_empty();
        for secret in [&mut self.pass, &mut self.auth_token, &mut self.sig, &mut self.jwt] {
            *secret = Secret::default();
        }
    }

    pub(crate) fn has_secrets(&self) -> bool {
        [&self.pass, &self.auth_token, &self.sig, &self.jwt].iter().any(|secret| !secret.is_empty())
    }

    /// Did it show a token?
    pub(crate) fn has_token(&self) -> bool {
        self.is_token_forgotten || !self.auth_token.is_empty()
    }

    /// Takes over what `json` says; what it does not mention stays as it is.
    ///
    /// Keys count in any case, the last of several wins, `null` says nothing, unknown keys are
    /// skipped: as Go's decoder does it.
    ///
    /// # Errors
    ///
    /// [`NotConnectOptions`] if the JSON, or the type of a value, is wrong.
    // NATS 2.14: measured.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), NotConnectOptions> {
        // Go replaces what is not UTF-8 in strings; outside of strings it is no JSON either way.
        let text = String::from_utf8_lossy(json);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        Fields(self).deserialize(&mut deserializer).map_err(|_| NotConnectOptions)?;
        deserializer.end().map_err(|_| NotConnectOptions)
    }
}

/// CONNECT carried something else than an object with values of the right types.
///
/// It does not say what: that could be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the options of a client")]
pub struct NotConnectOptions;

struct Fields<'a>(&'a mut ConnectOptions);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        fn set<'de, A: MapAccess<'de>, T: serde::Deserialize<'de>>(
            map: &mut A,
            field: &mut T,
        ) -> Result<(), A::Error> {
            if let Some(value) = map.next_value::<Option<T>>()? {
                *field = value;
            }
            Ok(())
        }
        fn secret<'de, A: MapAccess<'de>>(map: &mut A, field: &mut Secret) -> Result<(), A::Error> {
            if let Some(value) = map.next_value::<Option<String>>()? {
                *field = Secret::from(value);
            }
            Ok(())
        }
        let options = self.0;
        let mut new_account = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "verbose" => set(&mut map, &mut options.verbose)?,
                "pedantic" => set(&mut map, &mut options.pedantic)?,
                "echo" => set(&mut map, &mut options.echo)?,
                "headers" => set(&mut map, &mut options.headers)?,
                "no_responders" => set(&mut map, &mut options.no_responders)?,
                "tls_required" => set(&mut map, &mut options.tls_required)?,
                "protocol" => set(&mut map, &mut options.protocol)?,
                "name" => set(&mut map, &mut options.name)?,
                "lang" => set(&mut map, &mut options.lang)?,
                "version" => set(&mut map, &mut options.version)?,
                "user" => set(&mut map, &mut options.user)?,
                "pass" => secret(&mut map, &mut options.pass)?,
                "auth_token" => secret(&mut map, &mut options.auth_token)?,
                "nkey" => set(&mut map, &mut options.nkey)?,
                "sig" => secret(&mut map, &mut options.sig)?,
                "jwt" => secret(&mut map, &mut options.jwt)?,
                "account" => set(&mut map, &mut options.account)?,
                "new_account" => set(&mut map, &mut new_account)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if new_account && options.account.is_empty() {
            options.account = String::from("new_account");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(json: &str) -> Result<ConnectOptions, NotConnectOptions> {
        let mut options = ConnectOptions::default();
        options.apply(json.as_bytes()).map(|()| options)
    }

    #[test]
    fn json_is_taken_as_the_reference_takes_it() {
        let options = apply(
            r#"{"VERBOSE":false,"User":"x","user":"a","pass":"b","echo":null,"protocol":1,
                "unknown":{"deep":[[[[{}]]]]},"headers":true}"#,
        )
        .unwrap();
        assert!(!options.verbose && options.echo && options.headers);
        assert_eq!(options.user, "a", "the last of several wins");
        assert_eq!(options.protocol, 1);
        assert!(apply("null").is_ok_and(|options| options.verbose));
        assert!(apply("{}").is_ok());
        assert!(apply("\t{ } ").is_ok());
    }

    #[test]
    fn what_is_not_right_is_refused() {
        for bad in [
            "",
            "{",
            "[]",
            "1",
            "{}x",
            r#"{"protocol":1e0}"#,
            r#"{"protocol":12345678901234567890}"#,
            r#"{"protocol":"1"}"#,
            r#"{"verbose":"true"}"#,
            r#"{"user":1}"#,
            r#"{"a":}"#,
        ] {
            assert!(apply(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_second_connect_keeps_what_it_does_not_mention() {
        let mut options = ConnectOptions::default();
        options.apply(br#"{"verbose":false,"name":"a"}"#).unwrap();
        options.apply(br#"{"pedantic":true}"#).unwrap();
        assert!(!options.verbose && options.pedantic);
        assert_eq!(options.name, "a");
    }

    #[test]
    fn deep_nesting_and_broken_text_do_no_harm() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(1500), "]".repeat(1500));
        assert!(apply(&deep).is_ok(), "as the reference");
        let mut options = ConnectOptions::default();
        options.apply(b"{\"name\":\"a\xff\"}").unwrap();
        assert_eq!(options.name, "a\u{fffd}");
    }
}
