//! The differences between two sets of options.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use broker_core::sort::sort_by_key;

use crate::config::check::join;
use crate::config::field::Field;
use crate::config::kind::Kind;
use crate::config::table::{Block, Key, Reload, Section as _, Status};
#[cfg(feature = "streams")]
use crate::options::jetstream_limits;
use crate::options::{JetStream, Options, Resolver, Tls, TrustedProxy};

/// The refusal of a resolver that is added or removed.
// NATS 2.14: reload.go diffOptions.
const RESOLVER_MOVED: &str = "config reload does not support moving to or from an account resolver";

/// A changed option. `Display` prints nats-server's log line: `Reloaded: …` if the change can be
/// applied, otherwise the refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its path: `max_payload`, `authorization.timeout`.
    pub path: String,
    /// The old value; secrets are hidden.
    pub old: String,
    /// The new value; secrets are hidden.
    pub new: String,
    /// When the change can take effect.
    pub reload: Reload,
    called: &'static str,
    /// The whole text, if it is not the usual one.
    text: Option<String>,
    /// The value is not logged, because it is secret or long.
    is_bare: bool,
}

/// The order in which nats-server compares options and reports changes.
// NATS 2.14: opts.go, the fields of Options. natsd's own options follow related ones.
const ORDER: &[&str] = &[
    "server_name",
    "host",
    "port",
    "listen_unix",
    "client_advertise",
    "trace",
    "debug",
    "trace_verbose",
    "trace_headers",
    "disable_sublist_cache",
    "no_header_support",
    "logtime",
    "logtime_utc",
    "log_format",
    "max_connections",
    "max_subscriptions",
    "max_subscription_tokens",
    "authorization.users",
    "authorization.default_permissions",
    "accounts",
    "mappings",
    "no_auth_user",
    "default_sentinel",
    "system_account",
    "no_system_account",
    "authorization.user",
    "authorization.password",
    "authorization.proxy_required",
    "proxy_protocol",
    "authorization.token",
    "authorization.auth_callout",
    "ping_interval",
    "ping_max",
    "http_host",
    "http_port",
    "http_base_path",
    "https_port",
    "http_token",
    "http_user",
    "http_password",
    "http_messages",
    "metrics_prefix",
    "metrics_server_id",
    "metrics_subjects",
    "authorization.timeout",
    "max_control_line",
    "max_payload",
    "max_pending",
    "max_pending_total",
    "no_fast_producer_stall",
    "cluster",
    "gateway",
    "leafnodes",
    "jetstream",
    "store_dir",
    "default_js_domain",
    "websocket",
    "mqtt",
    "prof_port",
    "prof_block_rate",
    "pid_file",
    "ports_file_dir",
    "log_file",
    "log_size_limit",
    "log_max_num",
    "syslog",
    "remote_syslog",
    "cluster.routes",
    "tls",
    "allow_non_tls",
    "write_deadline",
    "write_timeout",
    "max_closed_clients",
    "lame_duck_duration",
    "lame_duck_grace_period",
    "max_traced_msg_len",
    "trusted_keys",
    "operator",
    "resolver",
    "resolver_tls",
    "connect_error_reports",
    "reconnect_error_reports",
    "server_tags",
    "server_metadata",
    "feature_flags",
    "ocsp",
    "proxies",
    "ocsp_cache",
];

/// Returns the position of an option, or of its block, in that order; the end if it is not listed.
fn rank(path: &str) -> usize {
    let is_or_is_in = |name: &&str| {
        path.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let exact = ORDER.iter().position(|name| *name == path);
    exact.or_else(|| ORDER.iter().position(is_or_is_in)).unwrap_or(ORDER.len())
}

/// Compares two valid sets of options, in nats-server's order.
///
/// Unimplemented parts are skipped: they are off in both.
pub fn diff(old: &Options, new: &Options) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(Options::block(), old, new, "", &mut changes);
    sort_by_key(&mut changes, |change| rank(&change.path));
    merge_cluster(&mut changes);
    changes
}

/// Makes one change of all those of the cluster that can be applied, without that of its routes.
// NATS 2.14: reload.go clusterOption, routesOption.
fn merge_cluster(changes: &mut Vec<Change>) {
    const CLUSTER: &str = "cluster";
    let is_part = |change: &&mut Change| {
        let is_routes = change.path == "cluster.routes";
        change.reload != Reload::Restart && change.path.starts_with("cluster.") && !is_routes
    };
    for change in changes.iter_mut().filter(is_part) {
        *change = Change {
            path: CLUSTER.to_owned(),
            old: String::new(),
            new: String::new(),
            reload: change.reload,
            called: "",
            text: None,
            is_bare: true,
        };
    }
    changes.dedup_by(|one, other| one.path == CLUSTER && other.path == CLUSTER);
}

fn compare(block: &Block, old: &dyn Any, new: &dyn Any, path: &str, changes: &mut Vec<Change>) {
    // Includes fields that cannot be set by name: another option sets them, or the block itself.
    for key in block.keys {
        let (Some(before), Some(after)) = (key.field(old), key.field(new)) else { continue };
        if before.is_same(after) || matches!(key.status, Status::NotYet(_)) {
            continue;
        }
        let path = join(path, key.name);
        if let Some((before, after)) = enabled_streams(before).zip(enabled_streams(after)) {
            compare(JetStream::block(), before, after, &path, changes);
            continue;
        }
        if let Kind::Block(inner) = key.kind
            && path != "jetstream.limits"
        {
            // An optional block is compared as a whole.
            if inner().keys.iter().any(|key| key.field(before).is_some()) {
                compare(inner(), before, after, &path, changes);
                continue;
            }
        }
        // NATS 2.14: reload.go diffOptions and Reload: "any free port" keeps the current port, if there is one.
        let keeps_port = match &*path {
            "port" => after.show() == "0",
            "cluster.port" if before.show() == "0" => false,
            "websocket.port" | "cluster.port" => after.show() == "-1",
            _ => false,
        };
        if keeps_port {
            continue;
        }
        let show = |value: &dyn Field| match &*path {
            // NATS 2.14: stored as a number of seconds.
            "authorization.timeout" => in_seconds(value).unwrap_or_else(|| value.show()),
            _ => value.show(),
        };
        let (shown_before, shown_after) = (show(before), show(after));
        let mut change = Change::new(key, path, shown_before, shown_after);
        if change.path == "websocket.tls" && fixed_of_tls(before) != fixed_of_tls(after) {
            change.reload = Reload::Restart;
        }
        if change.path == "resolver" && is_there(before) != is_there(after) {
            change.text = Some(RESOLVER_MOVED.to_owned());
        }
        #[cfg(feature = "streams")]
        if let Some((reload, text)) =
            jetstream_limits::reload(&change.path, (&change.old, &change.new))
        {
            (change.reload, change.text) = (reload, Some(text));
        }
        if let Some((before, after)) = trusted(before).zip(trusted(after)) {
            changes.extend(proxies(&change, before, after));
            continue;
        }
        changes.push(change);
    }
}

/// Returns JetStream if it is enabled: its options are compared one by one.
fn enabled_streams(value: &dyn Field) -> Option<&JetStream> {
    let jetstream = (value as &dyn Any).downcast_ref::<Option<JetStream>>()?.as_ref()?;
    Some(jetstream).filter(|jetstream| jetstream.enabled)
}

fn trusted(value: &dyn Field) -> Option<&Vec<TrustedProxy>> {
    (value as &dyn Any).downcast_ref()
}

/// Makes a change of the proxies that are no longer trusted, and one of those that now are.
// NATS 2.14: reload.go proxiesReload.
fn proxies(change: &Change, before: &[TrustedProxy], after: &[TrustedProxy]) -> Vec<Change> {
    let missing = |these: &[TrustedProxy], those: &[TrustedProxy]| -> Vec<String> {
        let others = these.iter().filter(|one| !those.contains(one));
        others.filter_map(|one| one.key.as_ref().map(|key| format!("{key:?}"))).collect()
    };
    let changes = [(missing(before, after), "removed"), (missing(after, before), "added")];
    let changes = changes.into_iter().filter(|(keys, _)| !keys.is_empty());
    changes
        .map(|(keys, what)| {
            let keys = keys.join(" ");
            let text = format!("Reloaded: proxies trusted keys [{keys}] were {what}");
            Change { text: Some(text), ..change.clone() }
        })
        .collect()
}

/// Returns true if there is a resolver.
fn is_there(value: &dyn Field) -> bool {
    (value as &dyn Any).downcast_ref::<Option<Resolver>>().is_some_and(Option::is_some)
}

/// Returns the part of WebSocket's TLS that cannot be reloaded although the clients' can, including
/// whether TLS is on.
// NATS 2.14: reload.go diffOptions compares everything of WebSocket except the TLS configuration
// built from the block.
fn fixed_of_tls(value: &dyn Field) -> Option<(&[String], bool)> {
    let tls = (value as &dyn Any).downcast_ref::<Option<Tls>>()?.as_ref()?;
    Some((&tls.pinned_certs, tls.verify_and_map))
}

fn in_seconds(value: &dyn Field) -> Option<String> {
    let duration = (value as &dyn Any).downcast_ref::<Duration>()?;
    Some(duration.as_secs_f64().to_string())
}

impl Change {
    fn new(key: &Key, path: String, old: String, new: String) -> Self {
        let is_map = !matches!(
            key.kind,
            Kind::Bool
                | Kind::Integer { .. }
                | Kind::Size { .. }
                | Kind::Port
                | Kind::Duration { .. }
                | Kind::Text(_)
                | Kind::Choice(_)
        );
        let reload = match key.status {
            // It has no effect, so that any change is possible.
            Status::NoEffect(_) => Reload::AtOnce,
            _ => key.reload,
        };
        let is_bare = is_map || key.kind.is_secret() || path == "authorization.user";
        Self { path, old, new, reload, called: key.called, text: None, is_bare }
    }

    /// Returns true if the option concerns authentication or permissions.
    pub fn is_about_access(&self) -> bool {
        let is_in = |block: &str| self.path.starts_with(block);
        let is_timeout = self.path == "authorization.timeout";
        let by_certificate = is_in("tls.verify_and_map") || self.path == "tls";
        (is_in("authorization.") && !is_timeout)
            || is_in("accounts")
            || is_in("no_auth_user")
            || is_in("proxies")
            || is_in("resolver")
            || is_in("default_sentinel")
            || by_certificate
    }

    /// Returns nats-server's name in a refusal: `max_payload` is `MaxPayload`.
    fn field(&self) -> String {
        if !self.called.is_empty() {
            return self.called.to_owned();
        }
        let words = self.path.split(['_', '.']);
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
        };
        words.filter_map(capital).collect()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.reload == Reload::Restart {
            let Self { old, new, .. } = self;
            return write!(
                f,
                "config reload not supported for {}: old={old}, new={new}",
                self.field()
            );
        }
        let name = match (self.path.rsplit_once('.'), self.called) {
            (Some((block, _)), called) if !called.is_empty() => format!("{block} {called}"),
            (None, called) if !called.is_empty() && self.is_bare => called.to_owned(),
            _ => self.path.replace('.', " "),
        };
        match &*self.path {
            "client_advertise" => write!(f, "Reload: {name}")?,
            "no_fast_producer_stall" => {
                let not = if self.new == "true" { "not " } else { "" };
                return write!(f, "Reloaded: fast producers will {not}be stalled");
            }
            _ => write!(f, "Reloaded: {name}")?,
        }
        if self.is_bare { Ok(()) } else { write!(f, " = {}", self.new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Authorization, User};

    fn said(change: impl Fn(&mut Options)) -> Vec<String> {
        let mut new = Options::default();
        change(&mut new);
        diff(&Options::default(), &new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_are_logged_in_the_words_of_nats_server() {
        type Edit = fn(&mut Options);
        for (change, text) in [
            ((|o| o.max_payload = 2_097_152) as Edit, "Reloaded: max_payload = 2097152"),
            (|o| o.ping_interval = Duration::from_secs(30), "Reloaded: ping_interval = 30s"),
            (|o| o.debug = true, "Reloaded: debug = true"),
            (|o| o.log_file = Some("x.log".into()), "Reloaded: log_file = x.log"),
            (|o| o.server_tags = vec!["a".into()], "Reloaded: tags"),
            (
                |o| o.authorization.timeout = Duration::from_secs(3),
                "Reloaded: authorization timeout = 3",
            ),
            (
                |o| o.authorization.timeout = Duration::from_millis(2500),
                "Reloaded: authorization timeout = 2.5",
            ),
            (|o| o.client_advertise = Some("a.b:1".into()), "Reload: client_advertise = a.b:1"),
            (|o| o.no_fast_producer_stall = true, "Reloaded: fast producers will not be stalled"),
            (|o| o.authorization.user = Some("u".into()), "Reloaded: authorization username"),
            (
                |o| o.authorization.password = Some("marker".into()),
                "Reloaded: authorization password",
            ),
            (
                |o| o.authorization.users = Some(vec![User::default()]),
                "Reloaded: authorization users",
            ),
            (|o| drop(o.accounts.insert("A".into(), Default::default())), "Reloaded: accounts"),
            (
                |o| o.host = "127.0.0.1".into(),
                "config reload not supported for Host: old=0.0.0.0, new=127.0.0.1",
            ),
            (
                |o| o.server_name = Some("a".into()),
                "config reload not supported for ServerName: old=, new=a",
            ),
            (|o| o.port = 1, "config reload not supported for Port: old=4222, new=1"),
            #[cfg(feature = "jwt")]
            (
                |o| o.resolver = Some(Resolver::default()),
                "config reload does not support moving to or from an account resolver",
            ),
        ] {
            assert_eq!(said(change), [text]);
        }
    }

    #[test]
    fn changes_are_logged_in_the_order_of_nats_server() {
        let said = said(|o| {
            o.max_payload = 1;
            o.debug = true;
            o.server_tags = vec!["a".into()];
            o.client_advertise = Some("a.b:1".into());
            o.authorization.user = Some("u".into());
            o.max_connections = 10;
            drop(o.accounts.insert("A".into(), Default::default()));
            o.write_deadline = Duration::from_secs(5);
            o.log_file = Some("x.log".into());
            o.trace = true;
        });
        assert_eq!(
            said,
            [
                "Reload: client_advertise = a.b:1",
                "Reloaded: trace = true",
                "Reloaded: debug = true",
                "Reloaded: max_connections = 10",
                "Reloaded: accounts",
                "Reloaded: authorization username",
                "Reloaded: max_payload = 1",
                "Reloaded: log_file = x.log",
                "Reloaded: write_deadline = 5s",
                "Reloaded: tags",
            ]
        );
    }

    #[test]
    fn every_option_has_a_place_in_that_order() {
        let is_known = |path: &str| rank(path) < ORDER.len();
        for key in Options::block().options() {
            let listens = matches!(key.kind, Kind::Listen { .. });
            let is_parts = key.name == "authorization"
                || key.name.starts_with("resolver_p")
                || key.name == "mappings";
            assert!(listens || is_parts || is_known(key.name), "{}", key.name);
        }
        for key in Authorization::block().options() {
            assert!(is_known(&format!("authorization.{}", key.name)), "{}", key.name);
        }
    }

    #[test]
    fn the_same_options_and_any_free_port_are_no_change() {
        assert!(said(|_| ()).is_empty());
        assert!(said(|o| o.port = 0).is_empty());
    }

    #[test]
    fn options_without_effect_are_never_refused() {
        assert_eq!(said(|o| o.disable_sublist_cache = true).len(), 1);
        let new = Options { disable_sublist_cache: true, ..Options::default() };
        assert_eq!(diff(&Options::default(), &new)[0].reload, Reload::AtOnce);
    }

    #[test]
    fn no_change_shows_a_secret() {
        let with = |secret: &str| {
            let user = User { password: secret.into(), ..User::default() };
            let authorization = Authorization {
                token: Some(secret.into()),
                password: Some(secret.into()),
                users: Some(vec![user]),
                ..Authorization::default()
            };
            Options { authorization, ..Options::default() }
        };
        let changes = diff(&with("marker-1"), &with("marker-2"));
        assert_eq!(changes.len(), 3);
        for change in changes {
            assert!(!format!("{change} {change:?}").contains("marker"), "{change:?}");
        }
    }
}
