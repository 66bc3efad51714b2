//! The options of a cluster.

use broker_core::cluster::{ClusterOptions, CompressionMode, RouteAddress, SubjectPermission};

use super::*;

fn cluster(text: &str) -> ClusterOptions {
    let options = set(&format!("cluster {{ port: 6222, {text} }}"));
    options.cluster_options().unwrap().expect("a cluster")
}

fn refused(text: &str) -> String {
    let errors = wrong(&format!("cluster {{ {text} }}"), &[]);
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    errors.into_iter().next().unwrap_or_default()
}

#[test]
fn the_default_of_a_cluster_is_that_of_the_core() {
    assert_eq!(cluster(""), ClusterOptions::default());
    assert_eq!(Options::default().cluster_options(), Ok(None));
    assert_eq!(set("cluster { name: a }").cluster_options(), Ok(None), "no port");
    let listener = set("cluster { port: -1 }").cluster_listener().unwrap().unwrap();
    assert_eq!((&*listener.host, listener.port), ("0.0.0.0", 0));
    assert_eq!((listener.connect_error_reports, listener.reconnect_error_reports), (3600, 1));
}

#[test]
fn each_option_of_a_cluster_reaches_the_core() {
    let read = cluster(
        "name: a, routes: ['nats://u:p%40@a:1', 'nats://b:2', 'nats://b:2'], pool_size: 7, accounts: [A, B],
         authorization { user: u, password: p, timeout: 3 }, connect_retries: 5, connect_backoff: true,
         no_advertise: true, advertise: 'c', compression { mode: auto, rtt: ['1ms', '0s', '5ms', '0s'] },
         permissions { import: [x, 'y.*'], export { deny: z } },
         ping_interval: '40s', ping_max: 4, write_deadline: '2s'",
    );
    assert_eq!(read.name.as_deref(), Some("a"));
    let address = |host: &str, port| RouteAddress { host: host.into(), port, credentials: None };
    let credentials = Some(("u".to_owned(), "p@".into()));
    let first = RouteAddress { credentials, ..address("a", 1) };
    assert_eq!(read.routes, [first, address("b", 2)], "each once");
    assert_eq!(read.pool_size, Some(7));
    assert_eq!(read.accounts, ["A".into(), "B".into()]);
    assert_eq!(read.credentials, Some(("u".into(), "p".into())));
    assert_eq!(read.auth_timeout, Duration::from_secs(3));
    assert_eq!((read.connect_retries, read.connect_backoff, read.no_advertise), (5, true, true));
    assert_eq!(read.advertise, Some(("c".into(), 6222)), "the listener's port");
    assert_eq!(read.compression.mode, CompressionMode::S2Auto);
    assert_eq!(read.compression.rtt_thresholds, [1, 0, 5].map(Duration::from_millis));
    let permissions = read.permissions.unwrap();
    let lists = |allow: &[&str], deny: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Some(SubjectPermission { allow: own(allow), deny: own(deny) })
    };
    assert_eq!(permissions.import, lists(&["x", "y.*"], &[]));
    assert_eq!(permissions.export, lists(&[], &["z"]));
    assert_eq!(read.ping_interval, Some(Duration::from_secs(30)), "the maximum");
    assert_eq!((read.ping_max, read.write_deadline), (Some(4), Some(Duration::from_secs(2))));
    assert!(!read.is_tls);
}

#[test]
fn zero_is_a_default_and_a_negative_pool_is_none() {
    assert_eq!(cluster("pool_size: 0").pool_size, Some(3));
    assert_eq!(cluster("pool_size: -2").pool_size, None);
    assert_eq!(cluster("pool_size: 1024").pool_size, Some(1024));
    assert_eq!(cluster("connect_retries: -1").connect_retries, 0);
    let zeros = cluster("ping_interval: '0s', ping_max: 0, write_deadline: '0s'");
    assert_eq!((zeros.ping_interval, zeros.ping_max, zeros.write_deadline), (None, None, None));
}

#[test]
fn each_spelling_of_a_compression_has_the_meaning_of_the_reference() {
    use CompressionMode as Mode;
    for (spellings, mode) in [
        ("off disabled false no", Mode::Off),
        ("'not supported' not_supported", Mode::NotSupported),
        ("accept ACCEPT", Mode::Accept),
        ("on enabled true yes s2_fast S2_Fast fast", Mode::S2Fast),
        ("auto s2_auto", Mode::S2Auto),
        ("s2_uncompressed", Mode::S2Uncompressed),
        ("better s2_better", Mode::S2Better),
        ("best s2_best", Mode::S2Best),
    ] {
        let spellings = match spellings.strip_prefix("'not supported' ") {
            Some(rest) => vec!["'not supported'", rest],
            None => spellings.split(' ').collect(),
        };
        for spelling in spellings {
            assert_eq!(
                cluster(&format!("compression: {spelling}")).compression.mode,
                mode,
                "{spelling}"
            );
        }
    }
}

#[test]
fn gateways_may_name_the_cluster() {
    let options = set("cluster { port: 1 }, gateway { name: g, port: 2 }");
    assert_eq!(options.cluster_options().unwrap().unwrap().name.as_deref(), Some("g"));
    let errors = wrong("cluster { port: 1, name: a }, gateway { name: g, port: 2 }", &[]);
    assert!(errors[0].ends_with("cluster name conflicts between cluster and gateway definitions"));
}

/// The texts are those of nats-server 2.14.5, where it refuses them.
#[test]
fn contradictions_are_refused() {
    for (text, expected) in [
        ("name: 'a b'", "cluster.name: expected a string without blanks, found another string"),
        (
            "routes: ['nats://u:secret@a']",
            "cluster.routes[0]: expected an address with a port, such as \"nats://host:6222\"",
        ),
        ("authorization { password: p }", "cluster.authorization: a password needs a user"),
        (
            "permissions { import: a, allow_responses: true }",
            "Cluster permissions do not support dynamic responses",
        ),
        (
            "permissions { export: 'a b' }",
            "cluster export allow: subject \"a b\" is not a valid subject",
        ),
        (
            "authorization { user: u, permissions { import { deny: 'a b' } } }",
            "cluster import deny: subject \"a b\" is not a valid subject",
        ),
        (
            "pool_size: -1, accounts: [A]",
            "pool_size cannot be negative if pinned accounts are specified",
        ),
        (
            "accounts: [A, B, A]",
            "found duplicate account name \"A\" in pinned accounts list [\"A\" \"B\" \"A\"]",
        ),
        (
            "compression { mode: s2_auto, rtt: ['2ms', '1ms'] }",
            "RTT threshold values [2ms 1ms] should be in ascending order",
        ),
        (
            "compression { mode: auto, rtt: ['1ms', '2ms', '3ms', '4ms', '5ms'] }",
            "compression mode \"auto\" should have no more than 4 RTT thresholds: [1ms 2ms 3ms 4ms 5ms]",
        ),
        (
            "compression { mode: s2_auto, rtt: ['0s', '0s'] }",
            "compression mode \"s2_auto\" requires at least one RTT threshold",
        ),
        (
            "port: -1, advertise: a",
            "cluster.advertise: \"a\" needs a port, because cluster.port is any free one",
        ),
        (
            "pool_size: 1025",
            "cluster.pool_size: expected a whole number of at most 1024, found another integer",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with("x.conf:1:") && error.ends_with(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn routes_try_again_after_a_missed_deadline_unless_they_are_to_be_closed() {
    use broker_core::limits::WriteTimeout::{Close, Retry};
    for (text, of_routes, of_clients) in
        [("default", Retry, Close), ("close", Close, Close), ("retry", Retry, Retry)]
    {
        let routes = cluster(&format!("write_timeout: {text}")).write_timeout;
        let clients = set(&format!("write_timeout: {text}")).limits().write_timeout;
        assert_eq!((routes, clients), (of_routes, of_clients), "{text}");
    }
}

#[test]
fn suspicious_settings_are_reported() {
    for (text, expected) in [
        (
            "routes: ['nats://u:p@a:1', 'nats://u:p@a:1']",
            "cluster.routes[1]: Duplicate route entry detected",
        ),
        (
            "ping_interval: '31s'",
            "cluster.ping_interval: it is reset to 30s, which is the maximum for routes",
        ),
        (
            "authorization { user: u, permissions { import: a } }",
            "cluster.authorization.permissions: deprecated: the block belongs into `cluster`",
        ),
    ] {
        assert_eq!(warned(&format!("cluster {{ {text} }}"), &[]), [expected]);
    }
}

#[test]
fn the_time_to_authenticate_follows_that_of_tls() {
    let timeout = |text: &str| read::<Cluster>(text).auth_timeout();
    assert_eq!(timeout(""), Duration::from_secs(2));
    assert_eq!(timeout("tls {}"), Duration::from_secs(3));
    assert_eq!(timeout("tls { timeout: 4 }"), Duration::from_secs(5));
    assert_eq!(timeout("tls { timeout: 4 }, authorization { timeout: 1 }"), Duration::from_secs(1));
}

#[test]
fn changes_are_reported_as_the_reference_does() {
    let said = |before: &str, after: &str| -> Vec<String> {
        let read = |text: &str| set(&format!("cluster {{ {text} }}"));
        diff(&read(before), &read(after)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        said("port: 1", "port: 1, pool_size: 5, no_advertise: true, authorization { user: u }"),
        ["Reloaded: cluster"]
    );
    assert_eq!(said("port: 1, name: a", "port: 1, name: b, pool_size: 2"), ["Reloaded: cluster"]);
    assert_eq!(
        said("port: 1, routes: ['nats://u:secret@a:1']", "port: 1, advertise: 'x:1'"),
        ["Reloaded: cluster", "Reloaded: cluster routes"]
    );
    for (before, after, text) in [
        ("port: 1", "port: 2", "config reload not supported for cluster port: old=1, new=2"),
        ("port: 0", "port: -1", "config reload not supported for cluster port: old=0, new=-1"),
        ("port: 0", "port: 2", "config reload not supported for cluster port: old=0, new=2"),
        (
            "port: 1, host: a",
            "port: 1, host: b",
            "config reload not supported for cluster host: old=a, new=b",
        ),
    ] {
        assert!(said(before, after).contains(&text.to_owned()), "{text}");
    }
    assert!(said("port: 1", "port: -1").is_empty(), "any free port keeps the current one");
}
