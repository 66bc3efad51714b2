//! Unimplemented parts: values that are refused, ignored, or that leave a part off.

use super::*;
use crate::config::table::Status;

#[test]
fn an_unimplemented_part_is_refused_by_name() {
    for (text, part) in [
        ("gateway { name: a }", "gateway: natsd has no gateways yet"),
        (
            "gateway { name: a, port: 1, gateways: [{name: b}] }",
            "gateway: natsd has no gateways yet",
        ),
        ("leaf { remotes: [ { url: 'nats://h' } ] }", "leafnodes: natsd has no leaf nodes yet"),
        ("jetstream { tpm { pcr: 1 } }", "jetstream.tpm: natsd has no keys in a TPM yet"),
        ("ocsp: true", "ocsp: natsd has no OCSP yet"),
    ] {
        let errors = wrong(text, &[]);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].starts_with("x.conf:1:") && errors[0].ends_with(part), "{errors:?}");
    }
}

#[test]
fn harmless_parts_are_ignored_with_a_warning() {
    for (text, warning) in [
        (
            "gateway { name: a, port: 7222, gateways: [] }",
            "gateway: natsd has no gateways yet: nothing listens for other clusters",
        ),
        (
            "leafnodes { listen: '0.0.0.0:7422' }",
            "leafnodes: natsd has no leaf nodes yet: nothing listens for them",
        ),
        (
            "leaf { port: 7422, remotes: [ { url: 'nats://h', disabled: true } ] }",
            "leafnodes: natsd has no leaf nodes yet: nothing listens for them",
        ),
        ("mqtt { port: 1883 }", "mqtt: natsd has no MQTT yet: nothing listens for its clients"),
        ("prof_port: 1", "prof_port: natsd has no profiler yet: nothing listens there"),
        ("prof_block_rate: 1", "prof_block_rate: natsd has no profiler yet: it looks at nothing"),
        (
            "ocsp_cache: true",
            "ocsp_cache: natsd has no OCSP yet: nothing is asked that could be remembered",
        ),
        (
            "default_js_domain { A: hub }",
            "default_js_domain: natsd has no leaf nodes yet: there are none to name a domain for",
        ),
    ] {
        assert_eq!(warned(text, &[]), [warning]);
    }
}

/// Returns a text that leaves `key` off, as an empty template or a switch would; `None` if there is
/// none.
fn off(key: &Key, name: &str) -> Option<String> {
    let value = match key.kind {
        Kind::Bool => "false",
        Kind::Integer { .. } | Kind::Size { .. } | Kind::Storage | Kind::Port => "0",
        Kind::Duration { .. } => "'0s'",
        // nats-server reads this as a list of one empty text.
        Kind::List(_) | Kind::Choices(_) | Kind::Blocks(_) => "[]",
        Kind::Choice(words) => words.first().copied()?,
        // An empty key is invalid.
        Kind::Text(Format::Nkey(..)) => return None,
        Kind::Block(block) => match (block().short, key.name) {
            (_, "resolver") => "MEM",
            (_, "msg_trace") => "{}",
            (Some(_), _) => "false",
            // Any contents enable the service.
            (None, "auth_callout") => return None,
            (None, _) => "{}",
        },
        Kind::Texts | Kind::Switches | Kind::Named { .. } | Kind::NamedLists { .. } => "{}",
        _ => "''",
    };
    Some(format!("{name}: {value}"))
}

#[test]
fn every_unimplemented_part_can_be_turned_off_explicitly() {
    let mut seen = 0;
    let mut check = |block: &'static Block, before: &str, after: &str| {
        let keys = block.options().filter(|key| matches!(key.status, Status::NotYet(_)));
        for text in keys.flat_map(|key| key.names().filter_map(move |name| off(key, name))) {
            seen += 1;
            let text = format!("{before}{text}{after}");
            // The missing certificates are reported last.
            let error =
                load_text(&text, &[]).map_or_else(|error| error.to_string(), |_| String::new());
            let is_well = error.is_empty() || error.contains("cannot read the certificate a");
            assert!(is_well, "{text}: {error}");
        }
    };
    check(Options::block(), "", "");
    check(Account::block(), "accounts { A { ", " } }");
    check(Authorization::block(), "authorization { ", " }");
    check(Tls::block(), "tls { cert_file: a, key_file: b, ", " }");
    check(Websocket::block(), "websocket { no_tls: true, port: 1, ", " }");
    check(User::block(), "authorization { users: [ { user: a, ", " } ] }");
    assert!(seen > 9, "{seen}");
}

#[test]
fn a_file_that_turns_a_part_off_is_valid() {
    for text in [
        "cluster {}",
        "cluster { name: a, routes: [ 'nats://h:1' ] }",
        "cluster { port: 0 }",
        "gateway {}",
        "leafnodes { remotes: [] }",
        "leafnodes { remotes: [ { url: 'nats://h', disabled: true } ] }",
        "websocket { no_tls: true }",
        "mqtt { listen: 0 }",
        "jetstream: false",
        "jetstream: disabled",
        "jetstream { enabled: false, max_mem: 1G }",
        "http_port: 0",
        "accounts {}",
        "accounts [A, B]",
        "accounts { A { jetstream: disabled, imports: [], users: [ { user: a } ] } }",
        "mappings {}",
        "ocsp: false, ocsp_cache: false",
        "proxies {}",
        "operator: []",
        "resolver: MEM",
        "resolver_preload {}",
        "system_account: '$SYS'",
        "write_timeout: close",
        "proxy_protocol: false, prof_port: 0, https_port: 0",
    ] {
        set(text);
    }
}

#[test]
fn a_typing_error_in_an_unimplemented_part_is_reported() {
    let errors =
        wrong("leaf { remotes: [ { url: 'nats://h' } ], remots: [], compression: s3 }", &[]);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors[0].ends_with("unknown field \"remots\"; did you mean \"remotes\"?"),
        "{errors:?}"
    );
    assert!(errors[1].contains("leafnodes.compression.mode: expected \"off\", "), "{errors:?}");
    assert!(errors[2].ends_with("leafnodes: natsd has no leaf nodes yet"), "{errors:?}");
}

#[test]
fn only_listed_parts_are_unimplemented() {
    let mut parts: Vec<_> = Options::block()
        .options()
        .filter_map(|key| match key.status {
            Status::NotYet(part) => Some(part),
            _ => None,
        })
        .collect();
    parts.sort_unstable();
    parts.dedup();
    assert_eq!(parts, ["MQTT", "OCSP", "gateways", "leaf nodes", "profiler"]);
}
