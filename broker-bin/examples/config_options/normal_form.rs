//! Options as JSON under the names used in files, in the form of
//! `tests/interop/tools/reference-options` for nats-server's options. Unimplemented parts are
//! omitted.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_bin::Options;
use broker_bin::config::field::Show;
use broker_bin::options::{Permissions, SubjectLists, Tls, User, Websocket};
use broker_core::cluster::{ClusterOptions, CompressionMode, RouteAddress, SubjectPermission};
use serde_json::{Map, Value, json};

/// Returns the values that differ from the defaults.
pub(crate) fn difference(options: &Options) -> Value {
    let defaults = of(&Options::default());
    let mut values = of(options);
    if let Some(values) = values.as_object_mut() {
        values.retain(|key, value| Some(&*value) != defaults.get(key));
    }
    values
}

/// Returns all values.
pub(crate) fn of(options: &Options) -> Value {
    let one = &options.authorization;
    let parts = [
        json!({
            "host": options.host,
            "port": options.port,
            "server_name": text(&options.server_name),
            "client_advertise": text(&options.client_advertise),
            "server_tags": options.server_tags,
            "server_metadata": options.server_metadata,
            "feature_flags": options.feature_flags,
            "pid_file": text(&options.pid_file),
            "ports_file_dir": text(&options.ports_file_dir),
            "debug": options.debug,
            "trace": options.trace,
            "trace_verbose": options.trace_verbose,
            "trace_headers": options.trace_headers,
            "max_traced_msg_len": options.max_traced_msg_len.max(0),
            "logtime": options.logtime,
            "logtime_utc": options.logtime_utc,
            "log_file": text(&options.log_file),
            "log_size_limit": options.log_size_limit.max(0),
            "log_max_num": options.log_max_num.max(0),
            "syslog": options.syslog,
            "remote_syslog": text(&options.remote_syslog),
        }),
        json!({
            "max_control_line": options.max_control_line,
            "max_payload": options.max_payload,
            "max_pending": options.max_pending,
            "max_connections": none_of(options.max_connections),
            "max_subscriptions": options.max_subscriptions.max(0),
            "max_subscription_tokens": options.max_subscription_tokens.unwrap_or(0),
            "max_closed_clients": options.max_closed_clients,
            "ping_interval": time(options.ping_interval),
            "ping_max": options.ping_max,
            "write_deadline": time(options.write_deadline),
            "write_timeout": if options.write_timeout == "retry" { "retry" } else { "close" },
            "lame_duck_duration": time(options.lame_duck_duration),
            "lame_duck_grace_period": time(options.lame_duck_grace_period),
            "no_header_support": options.no_header_support,
            "proxy_protocol": options.proxy_protocol,
            "connect_error_reports": options.connect_error_reports,
            "reconnect_error_reports": options.reconnect_error_reports,
            "disable_sublist_cache": options.disable_sublist_cache,
            "no_fast_producer_stall": options.no_fast_producer_stall,
        }),
        json!({
            "no_auth_user": text(&options.no_auth_user),
            "system_account": text(&options.system_account.clone().filter(|name| name != "$SYS")),
            "no_system_account": options.no_system_account,
            "allow_non_tls": options.allow_non_tls,
            "store_dir": text(&options.jetstream.as_ref().and_then(|streams| streams.store_dir.clone())
                .or_else(|| options.store_dir.clone())),
            // NATS 2.14: opts.go setBaselineOptions.
            "http_host": if options.http_host.is_empty() { &options.host } else { &options.http_host },
            "http_port": options.http_port,
            "https_port": options.https_port,
            "http_base_path": text(&options.http_base_path),
            "authorization": {
                "user": text(&one.user),
                "password": one.password.as_ref().map_or("", |password| password.expose()),
                "token": one.token.as_ref().map_or("", |token| token.expose()),
                "timeout": time(one.timeout),
            },
            "anonymous_beside_system_account": options.is_open_beside_system_account(),
            "users": users(options),
            "accounts": options.accounts.keys().filter(|name| *name != "$SYS").collect::<Vec<_>>(),
            "tls": options.tls.as_ref().map(encryption),
            "websocket": websocket(&options.websocket),
            "cluster": cluster(options),
        }),
    ];
    let mut all = Map::new();
    for part in parts {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn users(options: &Options) -> Vec<Value> {
    let one = &options.authorization;
    let mut all = BTreeMap::new();
    let mut add = |account: &str, user: &User, default: Option<&Permissions>| {
        let mut kinds: Vec<_> =
            user.allowed_connection_types.iter().map(|kind| kind.to_uppercase()).collect();
        kinds.sort();
        let mut value = json!({
            "account": account,
            "permissions": user.permissions.as_deref().or(default).map(permissions),
            "allowed_connection_types": kinds,
        });
        match &user.nkey {
            Some(key) => value["nkey"] = json!(key),
            None => {
                value["user"] = json!(text(&user.user));
                value["password"] = json!(user.password.expose());
            }
        }
        // Users with a key follow those with a name.
        all.insert((user.nkey.clone(), user.user.clone()), value);
    };
    for user in one.users.iter().flatten() {
        add("$G", user, one.default_permissions.as_ref());
    }
    for (name, account) in &options.accounts {
        for user in &account.users {
            add(name, user, account.default_permissions.as_ref());
        }
    }
    all.into_values().collect()
}

fn permissions(permissions: &Permissions) -> Value {
    json!({
        "publish": subjects(permissions.publish.as_ref()),
        "subscribe": subjects(permissions.subscribe.as_ref()),
        "allow_responses": permissions.allow_responses.as_ref().map(|answers| json!({
            "max": answers.max.max(-1),
            "expires": answers.expires.map_or("never".into(), time),
        })),
    })
}

fn subjects(lists: Option<&SubjectLists>) -> Value {
    let lists = lists.cloned().unwrap_or_default();
    json!({ "allow": lists.allow, "deny": lists.deny })
}

fn encryption(tls: &Tls) -> Value {
    // NATS 2.14: opts.go parseTLS.
    let first = match tls.handshake_first.to_lowercase().as_str() {
        "true" | "on" => "true",
        "false" | "off" => "false",
        "auto" | "auto_fallback" => "50ms",
        _ => &tls.handshake_first,
    };
    let mut of = certificates(tls);
    of["timeout"] = json!(time(tls.timeout));
    of["connection_rate_limit"] = json!(tls.connection_rate_limit);
    of["handshake_first"] = json!(first);
    of
}

fn certificates(tls: &Tls) -> Value {
    let mut fingerprints: Vec<_> =
        tls.pinned_certs.iter().map(|fingerprint| fingerprint.to_lowercase()).collect();
    fingerprints.sort();
    json!({
        "verify": tls.verify,
        "verify_and_map": tls.verify_and_map,
        "pinned_certs": fingerprints,
        "min_version": format!("TLS {}", tls.min_version),
    })
}

fn websocket(websocket: &Websocket) -> Option<Value> {
    let one = &websocket.authorization;
    (websocket.port != 0).then(|| {
        json!({
            "host": websocket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("0.0.0.0"),
            "port": websocket.port,
            "advertise": text(&websocket.advertise),
            "no_tls": websocket.no_tls,
            "same_origin": websocket.same_origin,
            "allowed_origins": websocket.allowed_origins,
            "compression": websocket.compression,
            "handshake_timeout": time(websocket.handshake_timeout),
            "no_auth_user": text(&websocket.no_auth_user),
            "jwt_cookie": text(&websocket.jwt_cookie),
            "user_cookie": text(&websocket.user_cookie),
            "pass_cookie": text(&websocket.pass_cookie),
            "token_cookie": text(&websocket.token_cookie),
            "headers": websocket.headers,
            "ping_interval": time(websocket.ping_interval.unwrap_or_default()),
            "tls": websocket.tls.as_ref().map(certificates),
            "authorization": {
                "user": text(&one.user),
                "password": one.password.as_ref().map_or("", |password| password.expose()),
                "token": one.token.as_ref().map_or("", |token| token.expose()),
                "timeout": time(one.timeout.unwrap_or_default()),
            },
        })
    })
}

fn cluster(options: &Options) -> Option<Value> {
    let set = &options.cluster;
    let built = options.cluster_options().ok()??;
    let thresholds: Vec<_> = match built.compression.mode {
        CompressionMode::S2Auto => {
            built.compression.rtt_thresholds.iter().map(|threshold| time(*threshold)).collect()
        }
        _ => Vec::new(),
    };
    let ClusterOptions { name, routes, pool_size, accounts, credentials, permissions, .. } = built;
    let (user, password) = credentials.unwrap_or_default();
    // NATS 2.14: opts.go getTLSConfig.
    let tls = set.tls.as_ref().map(|tls| certificates(&Tls { verify: true, ..tls.clone() }));
    let lists = |lists: Option<SubjectPermission>| {
        let SubjectPermission { allow, deny } = lists.unwrap_or_default();
        json!({ "allow": allow, "deny": deny })
    };
    Some(json!({
        "name": text(&name),
        "host": set.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("0.0.0.0"),
        "port": set.port,
        "routes": routes.iter().map(route).collect::<Vec<_>>(),
        "advertise": text(&set.advertise),
        "no_advertise": built.no_advertise,
        "connect_retries": set.connect_retries,
        "connect_backoff": built.connect_backoff,
        "pool_size": pool_size.map_or(-1, i64::from),
        "accounts": accounts.iter().map(|name| &**name).filter(|name| *name != "$SYS").collect::<Vec<_>>(),
        "compression": { "mode": built.compression.mode.name(), "rtt_thresholds": thresholds },
        "ping_interval": time(set.ping_interval.unwrap_or_default()),
        "ping_max": set.ping_max,
        "write_deadline": time(set.write_deadline.unwrap_or_default()),
        "permissions": permissions.map(|permissions| json!({
            "import": lists(permissions.import), "export": lists(permissions.export),
        })),
        "tls": tls,
        "authorization": {
            "user": user, "password": password.expose(), "timeout": time(built.auth_timeout),
        },
    }))
}

fn route(address: &RouteAddress) -> String {
    let credentials = address.credentials.as_ref();
    let before = credentials.map(|(user, password)| format!("{user}:{}@", password.expose()));
    format!("{}{address}", before.unwrap_or_default())
}

/// Formats a duration as Go does.
fn time(duration: Duration) -> String {
    Show::show(&duration)
}

fn text<T: Show>(value: &Option<T>) -> String {
    Show::show(value)
}

/// Maps zero and negative numbers, which refuse all clients, to one value.
fn none_of(number: i64) -> i64 {
    if number > 0 { number } else { -1 }
}
