//! The options of a cluster that a reload changes, each with what other servers and operators see of it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::time::Duration;

use broker_bin::options::{Request, load_text};
use broker_bin::{Daemon, Options};
use serde_json::{Value, json};

/// The values that are checked after the reload.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// A member of the INFO that other servers get, as JSON.
    Info(&'static str, &'static str),
    /// A member of `cluster` in `/varz`, as JSON.
    Varz(&'static str, &'static str),
    /// Nothing: it concerns how connections are made or kept. The reload is accepted.
    Nothing,
}

/// The options, their values, and what is seen of them.
pub(crate) const TRIED: &[(&str, &str, Seen)] = &[
    ("cluster.accounts", "accounts: ['$G']", Seen::Nothing),
    ("cluster.advertise", "advertise: 'a.example:1'", Seen::Info("host", "\"a.example\"")),
    (
        "cluster.authorization.user",
        "authorization { user: u }",
        Seen::Info("auth_required", "true"),
    ),
    (
        "cluster.authorization.password",
        "authorization { user: u, password: p }",
        Seen::Info("auth_required", "true"),
    ),
    (
        "cluster.authorization.permissions",
        "authorization { user: u, permissions { import: x } }",
        Seen::Info("import", r#"{"allow":["x"]}"#),
    ),
    (
        "cluster.authorization.timeout",
        "authorization { timeout: 7 }",
        Seen::Varz("auth_timeout", "7.0"),
    ),
    ("cluster.compression.mode", "compression: off", Seen::Info("compression", "\"off\"")),
    (
        "cluster.compression.rtt_thresholds",
        "compression { mode: s2_auto, rtt: '7ms' }",
        Seen::Info("compression", "\"s2_auto\""),
    ),
    ("cluster.connect_backoff", "connect_backoff: true", Seen::Nothing),
    ("cluster.connect_retries", "connect_retries: 7", Seen::Nothing),
    ("cluster.name", "name: D", Seen::Info("cluster", "\"D\"")),
    ("cluster.no_advertise", "no_advertise: true", Seen::Info("connect_urls", "null")),
    (
        "cluster.permissions",
        "permissions { export { deny: y } }",
        Seen::Info("export", r#"{"deny":["y"]}"#),
    ),
    ("cluster.ping_interval", "ping_interval: '7s'", Seen::Nothing),
    ("cluster.ping_max", "ping_max: 7", Seen::Nothing),
    ("cluster.pool_size", "pool_size: 7", Seen::Info("route_pool_size", "7")),
    ("cluster.routes", "routes: 'nats://127.0.0.1:1'", Seen::Varz("urls", r#"["127.0.0.1:1"]"#)),
    // Tested with certificates in broker-net.
    ("cluster.tls", "", Seen::Nothing),
    ("cluster.write_timeout", "write_timeout: retry", Seen::Varz("write_timeout", "\"retry\"")),
    ("cluster.write_deadline", "write_deadline: '7s'", Seen::Varz("write_deadline", "7000000000")),
    ("connect_error_reports", "", Seen::Nothing),
    ("reconnect_error_reports", "", Seen::Nothing),
];

fn options(more: &str) -> Options {
    let text =
        format!("listen: '127.0.0.1:-1', cluster {{ name: C, listen: '127.0.0.1:-1', {more} }}");
    load_text(&text, "natsd.conf", &Request::default()).unwrap().options
}

/// Returns the INFO that another server gets.
fn info(daemon: &Daemon) -> Value {
    let port = daemon.varz().cluster.cluster_port;
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_option_of_a_cluster_takes_effect_when_it_is_reloaded() {
    for (option, text, seen) in TRIED.iter().filter(|(_, text, _)| !text.is_empty()) {
        let daemon = Daemon::start(options("")).await.unwrap();
        let look = |daemon: &Daemon| match *seen {
            Seen::Info(name, expected) => (info(daemon)[name].clone(), expected),
            Seen::Varz(name, expected) => {
                let varz = serde_json::to_value(daemon.varz().cluster).unwrap();
                (varz[name].clone(), expected)
            }
            Seen::Nothing => (json!(true), "true"),
        };
        let changes = daemon.apply(options(text)).await.unwrap().changes;
        let said: Vec<_> = changes.iter().map(ToString::to_string).collect();
        let expected = match *option {
            "cluster.routes" => "Reloaded: cluster routes",
            _ => "Reloaded: cluster",
        };
        assert_eq!(said, [expected], "{option}");
        let (found, expected) = look(&daemon);
        assert_eq!(found, serde_json::from_str::<Value>(expected).unwrap(), "{option}");
        daemon.stop().await;
    }
}
