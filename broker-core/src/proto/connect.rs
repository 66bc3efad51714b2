//! The options of a client: `CONNECT {json}`.

use super::info::check_permission;
use super::json::{self, NotJson, Value};
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
    /// Send a reply to requests that have no responders.
    pub no_responders: bool,
    /// The client has switched, or wants to switch, to TLS.
    pub tls_required: bool,
    /// 1: INFO may be sent again at any time.
    pub protocol: i64,
    /// The name of the client.
    pub name: String,
    /// The language of the client library.
    pub lang: String,
    /// The version of the client library.
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
    /// The nonce, signed by the proxy that the client comes through.
    pub proxy_sig: Secret,
    /// A user's claims, signed.
    pub jwt: Secret,
    /// The requested account: refused, whatever it is.
    // NATS 2.14: left over from an abandoned feature.
    pub account: String,
    /// There was a token, which was forgotten after its check.
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
            proxy_sig: Secret::default(),
            jwt: Secret::default(),
            account: String::new(),
            is_token_forgotten: false,
        }
    }
}

impl ConnectOptions {
    /// Forgets all secrets.
    pub(crate) fn forget_secrets(&mut self) {
        self.is_token_forgotten |= !self.auth_token.is_empty();
        self.proxy_sig = Secret::default();
        for secret in [&mut self.pass, &mut self.auth_token, &mut self.sig, &mut self.jwt] {
            *secret = Secret::default();
        }
    }

    pub(crate) fn has_secrets(&self) -> bool {
        [&self.pass, &self.auth_token, &self.sig, &self.jwt].iter().any(|secret| !secret.is_empty())
    }

    /// Returns true if there is or was a token.
    pub(crate) fn has_token(&self) -> bool {
        self.is_token_forgotten || !self.auth_token.is_empty()
    }

    /// Applies the fields in `json`; absent fields stay as they are.
    ///
    /// As in Go's decoder, keys match in any case, the last of several wins, `null` changes nothing, and unknown
    /// keys are skipped.
    ///
    /// # Errors
    ///
    /// [`NotConnectOptions`] if the JSON, or the type of a value, is wrong.
    // NATS 2.14: measured.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), NotConnectOptions> {
        let mut new_account = false;
        json::for_each_member(json, |key, value| {
            if value.is_null() {
                return Ok(());
            }
            match key {
                "new_account" => new_account = value.bool()?,
                // The fields of servers are checked too.
                "import" | "export" => check_permission(value)?,
                "remote_account" => _ = value.string()?,
                _ => self.set(key, value)?,
            }
            Ok(())
        })
        .map_err(|NotJson| NotConnectOptions)?;
        if new_account && self.account.is_empty() {
            self.account = String::from("new_account");
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value<'_>) -> Result<(), NotJson> {
        match key {
            "verbose" => self.verbose = value.bool()?,
            "pedantic" => self.pedantic = value.bool()?,
            "echo" => self.echo = value.bool()?,
            "headers" => self.headers = value.bool()?,
            "no_responders" => self.no_responders = value.bool()?,
            "tls_required" => self.tls_required = value.bool()?,
            "protocol" => self.protocol = value.integer()?,
            "name" => self.name = value.string()?,
            "lang" => self.lang = value.string()?,
            "version" => self.version = value.string()?,
            "user" => self.user = value.string()?,
            "pass" => self.pass = Secret::from(value.string()?),
            "auth_token" => self.auth_token = Secret::from(value.string()?),
            "nkey" => self.nkey = value.string()?,
            "sig" => self.sig = Secret::from(value.string()?),
            "proxy_sig" => self.proxy_sig = Secret::from(value.string()?),
            "jwt" => self.jwt = Secret::from(value.string()?),
            "account" => self.account = value.string()?,
            _ => {}
        }
        Ok(())
    }
}

/// CONNECT carried something else than an object with values of the right types.
///
/// Does not contain the offending text, which could be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the options of a client")]
pub struct NotConnectOptions;

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(json: &str) -> Result<ConnectOptions, NotConnectOptions> {
        let mut options = ConnectOptions::default();
        options.apply(json.as_bytes()).map(|()| options)
    }

    #[test]
    fn json_is_decoded_as_in_the_reference() {
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
    fn invalid_options_are_refused() {
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
            r#"{"protocol":1.0}"#,
            r#"{"pass":1}"#,
            r#"{"remote_account":1}"#,
            r#"{"import":1}"#,
            r#"{"export":{"allow":[1]}}"#,
            r#"{"export":{"DENY":"a"}}"#,
            r#"{"user":1,"user":"a"}"#,
            "\u{feff}{}",
        ] {
            assert!(apply(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_second_connect_keeps_absent_fields() {
        let mut options = ConnectOptions::default();
        options.apply(br#"{"verbose":false,"name":"a"}"#).unwrap();
        options.apply(br#"{"pedantic":true}"#).unwrap();
        assert!(!options.verbose && options.pedantic);
        assert_eq!(options.name, "a");
    }

    #[test]
    fn deep_nesting_and_invalid_text_are_accepted() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(1500), "]".repeat(1500));
        assert!(apply(&deep).is_ok(), "as in the reference");
        let mut options = ConnectOptions::default();
        options.apply(b"{\"name\":\"a\xff\"}").unwrap();
        assert_eq!(options.name, "a\u{fffd}");
    }

    /// The text is cut within a surrogate pair, as JavaScript can do.
    #[test]
    fn half_a_surrogate_pair_is_a_replacement_character_in_every_field() {
        for key in ["name", "lang", "version", "user", "nkey", "account"] {
            let options = apply(&format!(r#"{{"{key}":"svc-\ud83d"}}"#)).unwrap();
            let ConnectOptions { name, lang, version, user, nkey, account, .. } = options;
            let set = [name, lang, version, user, nkey, account];
            assert_eq!(set.concat(), "svc-\u{fffd}", "{key}");
        }
        for key in ["pass", "auth_token", "sig", "jwt"] {
            let options = apply(&format!(r#"{{"{key}":"x\ude00"}}"#)).unwrap();
            let ConnectOptions { pass, auth_token, sig, jwt, .. } = options;
            let set = [pass, auth_token, sig, jwt];
            let set: String = set.iter().map(|secret| secret.expose()).collect();
            assert_eq!(set, "x\u{fffd}", "{key}");
        }
    }

    #[test]
    fn unknown_fields_are_skipped() {
        for json in [
            r#"{"import":{"allow":["a",null],"Deny":null,"other":1},"export":null}"#,
            r#"{"remote_account":"a","proxy_sig":null,"unknown":1e99999}"#,
            r#"{"protocol":-0,"u\u017fer":"a"}"#,
        ] {
            assert!(apply(json).is_ok(), "{json}");
        }
        assert_eq!(apply("{\"u\u{17f}er\":\"a\"}").unwrap().user, "a");
    }
}
