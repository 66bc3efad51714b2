//! Warnings about valid but suspicious settings.

use std::time::Duration;

use super::{MessageTrace, Options, Permissions, SubjectLists, Tls, User};
use crate::config::path::Path;

/// A setting that is valid but suspicious.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advice {
    /// The option.
    pub path: String,
    /// The warning.
    pub text: String,
}

// NATS 2.14: const.go MAX_PAYLOAD_MAX_SIZE; opts.go parseAuthorization.
const LARGE_PAYLOAD: i64 = 8 << 20;
const LONG_TIMEOUT: Duration = Duration::from_mins(1);

impl Options {
    /// Returns warnings about settings that are valid but suspicious.
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        let mut say = |path: &str, text: &str| {
            advice.push(Advice { path: path.to_owned(), text: format!("{path}: {text}") });
        };
        if self.max_payload > LARGE_PAYLOAD {
            say("max_payload", "above 8MB a message delays all others behind it for long");
        }
        if self.authorization.timeout > LONG_TIMEOUT {
            say(
                "authorization.timeout",
                "clients may stay unauthenticated for more than a minute; a duration of minutes is written \"1m\", with quotes",
            );
        }
        for (path, tls, _) in self.tls_blocks() {
            for key in tls.keys_of_a_store() {
                let text = "it selects from a certificate store, and has no effect here";
                say(&format!("{path}.{key}"), text);
            }
            if tls.insecure && matches!(path, "tls" | "websocket.tls" | "mqtt.tls") {
                let text =
                    "it applies to connections to other servers only, and has no effect here";
                say(&format!("{path}.insecure"), text);
            }
        }
        let is_first = |tls: &Tls| tls.handshake_first != Tls::default().handshake_first;
        if self.websocket.tls.as_ref().is_some_and(is_first) {
            say("websocket.tls.handshake_first", "TLS always comes first here; it has no effect");
        }
        for (name, account) in &self.accounts {
            let is_idle = |trace: &MessageTrace| {
                trace.dest.is_none() && trace.sampling != MessageTrace::default().sampling
            };
            if account.msg_trace.as_ref().is_some_and(is_idle) {
                let path = format!("accounts.{name}.msg_trace.sampling");
                say(&path, "nothing is traced without a destination, `dest`");
            }
        }
        // NATS 2.14: opts.go parseAuthorization.
        let one = &self.authorization;
        if one.default_permissions.is_some() && one.user.is_none() && !self.has_users() {
            let text = "permissions apply to users only, as in nats-server, and there are none";
            say("authorization.default_permissions", text);
        }
        let root = Path::ROOT;
        let block = root.name("authorization");
        look(block.name("default_permissions"), one.default_permissions.as_ref(), &mut say);
        look_at_users(block.name("users"), one.users.as_deref().unwrap_or_default(), &mut say);
        let accounts = root.name("accounts");
        for (name, account) in &self.accounts {
            let block = accounts.name(name);
            let default = account.default_permissions.as_ref();
            look(block.name("default_permissions"), default, &mut say);
            look_at_users(block.name("users"), &account.users, &mut say);
        }
        advice.extend(self.cluster_advice());
        advice
    }
}

fn look_at_users(path: Path<'_>, users: &[User], say: &mut dyn FnMut(&str, &str)) {
    for (index, user) in users.iter().enumerate() {
        look(path.item(index).name("permissions"), user.permissions.as_deref(), say);
    }
}

fn look(path: Path<'_>, permissions: Option<&Permissions>, say: &mut dyn FnMut(&str, &str)) {
    let Some(Permissions { publish, subscribe, allow_responses }) = permissions else { return };
    // With responses allowed, empty lists allow no other publishing.
    let publish = publish.as_ref().filter(|_| allow_responses.is_none());
    for (name, lists) in [("publish", publish), ("subscribe", subscribe.as_ref())] {
        if lists == Some(&SubjectLists::default()) {
            let text = "no subject is listed, so that all are allowed, as in nats-server";
            say(&path.name(name).to_string(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Account, AllowResponses, Authorization};

    #[test]
    fn defaults_need_no_advice() {
        assert!(Options::default().advice().is_empty());
    }

    #[test]
    fn keys_of_a_tls_block_without_effect_are_reported() {
        let tls = || Tls { insecure: true, handshake_first: "true".into(), ..Tls::default() };
        let mut options = Options { tls: Some(tls()), ..Options::default() };
        options.websocket.tls = Some(tls());
        options.cluster.tls = Some(tls());
        options.resolver_tls = Some(Tls {
            cert_match_by: Some("Subject".into()),
            cert_match: Some("a".into()),
            ca_certs_match: vec!["b".into()],
            cert_match_skip_invalid: true,
            ..Tls::default()
        });
        let paths: Vec<_> = options.advice().into_iter().map(|advice| advice.path).collect();
        assert_eq!(
            paths,
            [
                "tls.insecure",
                "websocket.tls.insecure",
                "resolver_tls.cert_match_by",
                "resolver_tls.cert_match",
                "resolver_tls.ca_certs_match",
                "resolver_tls.cert_match_skip_invalid",
                "websocket.tls.handshake_first",
            ]
        );
    }

    #[test]
    fn a_sample_of_traces_that_go_nowhere_is_reported() {
        let account = |dest: Option<&str>, sampling: &str| Account {
            msg_trace: Some(MessageTrace {
                dest: dest.map(str::to_owned),
                sampling: sampling.to_owned(),
            }),
            ..Account::default()
        };
        let accounts = [
            ("A", account(None, "50")),
            ("B", account(Some("t"), "50")),
            ("C", account(None, "100")),
        ];
        let accounts = accounts.map(|(name, account)| (name.to_owned(), account)).into();
        let options = Options { accounts, ..Options::default() };
        let paths: Vec<_> = options.advice().into_iter().map(|advice| advice.path).collect();
        assert_eq!(paths, ["accounts.A.msg_trace.sampling"]);
    }

    #[test]
    fn empty_lists_are_reported_unless_they_deny() {
        let nothing = Permissions { publish: Some(SubjectLists::default()), ..Default::default() };
        let answers = Some(AllowResponses::default());
        let only_answers = Permissions { allow_responses: answers, ..nothing.clone() };
        let users = [nothing, only_answers]
            .map(|permissions| User { permissions: Some(permissions.into()), ..User::default() });
        let authorization = Authorization { users: Some(users.into()), ..Default::default() };
        let options = Options { authorization, ..Options::default() };
        let paths: Vec<_> = options.advice().into_iter().map(|advice| advice.path).collect();
        assert_eq!(paths, ["authorization.users[0].permissions.publish"]);
    }
}
