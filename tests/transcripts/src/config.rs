//! Formats a setup as a configuration file.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::setup::{Cluster, Import, Mapped, Rules, Setup, User};

/// Returns the `cluster` block, with any free port for routes. `dialled` is the address of parties that the server
/// dials.
pub(crate) fn cluster(cluster: &Cluster, dialled: Option<SocketAddr>) -> String {
    let mut block = "listen: \"127.0.0.1:-1\"\n".to_owned();
    line(&mut block, "name", cluster.name.as_deref().map(quote));
    line(&mut block, "pool_size", Some(cluster.pool_size.unwrap_or(-1)));
    line(&mut block, "compression", cluster.compression.as_deref().map(quote));
    line(&mut block, "accounts", list(&cluster.accounts));
    let user = |(name, password): &(String, String)| {
        format!("{{ user: {}, password: {}, timeout: 2 }}", quote(name), quote(password))
    };
    line(&mut block, "authorization", cluster.user.as_ref().map(user));
    line(&mut block, "no_advertise", cluster.no_advertise.then_some(true));
    line(&mut block, "cluster_advertise", cluster.advertise.as_deref().map(quote));
    line(&mut block, "ping_interval", cluster.ping_interval.map(time));
    let mut permissions = String::new();
    line(&mut permissions, "import", rules(&cluster.import));
    line(&mut permissions, "export", rules(&cluster.export));
    let permissions = (!permissions.is_empty()).then(|| format!("{{\n{permissions}}}"));
    line(&mut block, "permissions", permissions);
    let login = cluster.user.as_ref().map(|(name, password)| format!("{name}:{password}@"));
    let login = login.unwrap_or_default();
    line(&mut block, "routes", dialled.map(|to| format!("[\"nats-route://{login}{to}\"]")));
    format!("no_system_account: true\nserver_name: one\ncluster: {{\n{block}}}\n")
}

/// Returns the setup in the NATS configuration language, without addresses and the cluster.
pub fn config(setup: &Setup) -> String {
    let mut out = String::new();
    line(&mut out, "max_payload", setup.max_payload);
    line(&mut out, "max_control_line", setup.max_control_line);
    line(&mut out, "max_connections", setup.max_connections);
    line(&mut out, "max_subscriptions", setup.max_subscriptions);
    line(&mut out, "max_subscription_tokens", setup.max_sub_tokens);
    line(&mut out, "ping_interval", setup.ping_interval.map(time));
    line(&mut out, "ping_max", setup.ping_max);
    line(&mut out, "no_header_support", setup.no_header_support.then_some(true));
    line(&mut out, "no_auth_user", setup.no_auth_user.as_deref().map(quote));
    line(&mut out, "mappings", mappings(&setup.mappings));
    let mut block = String::new();
    line(&mut block, "timeout", setup.auth_timeout.map(time));
    line(&mut block, "token", setup.token.as_deref().map(quote));
    let listed: String = setup.users.iter().filter(|one| one.account.is_none()).map(user).collect();
    if !listed.is_empty() {
        line(&mut block, "users", Some(format!("[\n{listed}]")));
    }
    if !block.is_empty() {
        line(&mut out, "authorization", Some(format!("{{\n{block}}}")));
    }
    let accounts: String = setup.accounts().into_iter().map(|name| account(setup, name)).collect();
    if !accounts.is_empty() {
        line(&mut out, "accounts", Some(format!("{{\n{accounts}}}")));
    }
    out
}

fn mappings(all: &[Mapped]) -> Option<String> {
    let mut sources: Vec<_> = all.iter().map(|one| &one.source).collect();
    sources.dedup();
    let mut block = String::new();
    for source in sources {
        let destinations = all.iter().filter(|one| one.source == *source).map(|one| {
            let weight = one.weight.unwrap_or(100);
            format!("{{ destination: {}, weight: {weight} }}", quote(&one.destination))
        });
        let list = destinations.collect::<Vec<_>>().join(", ");
        line(&mut block, &quote(source), Some(format!("[{list}]")));
    }
    (!block.is_empty()).then(|| format!("{{\n{block}}}"))
}

fn account(setup: &Setup, name: &str) -> String {
    let users = setup.users.iter().filter(|one| one.account.as_deref() == Some(name));
    let users: String = users.map(user).collect();
    let exports = setup.exports.iter().filter(|one| one.account == name);
    let exports: String =
        exports.map(|one| format!("{{ {}: {} }}\n", one.kind, quote(&one.subject))).collect();
    let import = |one: &Import| {
        let (from, subject) = (quote(&one.from), quote(&one.subject));
        let local = one.local.as_ref();
        let local = local.map(|(how, local)| format!(", {how}: {}", quote(local)));
        let local = local.unwrap_or_default();
        format!("{{ {}: {{ account: {from}, subject: {subject} }}{local} }}\n", one.kind)
    };
    let imports = setup.imports.iter().filter(|one| one.account == name);
    let imports: String = imports.map(import).collect();
    format!("{name} {{\nusers: [\n{users}]\nexports: [\n{exports}]\nimports: [\n{imports}]\n}}\n")
}

fn user(user: &User) -> String {
    let mut permissions = String::new();
    line(&mut permissions, "publish", rules(&user.publish));
    line(&mut permissions, "subscribe", rules(&user.subscribe));
    let responses = user.allow_responses.as_ref();
    let responses =
        responses.map(|r| format!("{{ max: {}, expires: {} }}", r.max, time(r.expires)));
    line(&mut permissions, "allow_responses", responses);
    let mut out = String::from("{\n");
    line(&mut out, "user", Some(quote(&user.name)));
    line(&mut out, "password", Some(quote(&user.password)));
    let permissions = (!permissions.is_empty()).then(|| format!("{{\n{permissions}}}"));
    line(&mut out, "permissions", permissions);
    out + "}\n"
}

fn rules(rules: &Rules) -> Option<String> {
    let mut out = String::new();
    line(&mut out, "allow", list(&rules.allow));
    line(&mut out, "deny", list(&rules.deny));
    (!out.is_empty()).then(|| format!("{{\n{out}}}"))
}

fn list(entries: &[String]) -> Option<String> {
    let entries: Vec<_> = entries.iter().map(|entry| quote(entry)).collect();
    (!entries.is_empty()).then(|| format!("[{}]", entries.join(", ")))
}

fn line(out: &mut String, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{key}: {}", value.to_string());
    }
}

fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

fn time(time: Duration) -> String {
    format!("\"{}ms\"", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_setup_is_an_empty_file() {
        assert_eq!(config(&Setup::default()), "");
    }

    #[test]
    fn users_and_their_permissions_are_nested() {
        let mut setup = Setup::default();
        for directive in [
            "max_sub_tokens 4",
            "mapping a.* b.$1 40",
            "mapping a.* c",
            "mapping d e",
            "auth_timeout 2s",
            "user eva secret",
            "publish_allow eva a.> b",
            "allow_responses eva 1 2m",
        ] {
            setup.read(directive).unwrap();
        }
        let expected = r#"max_subscription_tokens: 4
mappings: {
"a.*": [{ destination: "b.$1", weight: 40 }, { destination: "c", weight: 100 }]
"d": [{ destination: "e", weight: 100 }]
}
authorization: {
timeout: "2000ms"
users: [
{
user: "eva"
password: "secret"
permissions: {
publish: {
allow: ["a.>", "b"]
}
allow_responses: { max: 1, expires: "120000ms" }
}
}
]
}
"#;
        assert_eq!(config(&setup), expected);
    }
}
