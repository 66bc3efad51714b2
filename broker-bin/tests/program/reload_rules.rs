//! The reload rules in `docs/config.md` are true, option by option.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use broker_bin::config::kind::{Format, Kind};
use broker_bin::config::table::{Block, Key, Reload, Section as _, Status};
use broker_bin::options::{self, Request};
use broker_bin::options::{AuthCallout, JetStream, Resolver, Tls};
use broker_bin::{Daemon, Options, ReloadError};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_net::testing::{TestAccount, TestOperator};

use crate::clients::Raw;
use crate::file::File;
use crate::running::{Running, until};
use crate::tls::{Files, shows};
use crate::websocket::websocket_port;

/// A server, a client connected before the reload, and the file's initial contents.
struct Tried {
    file: File,
    natsd: Running,
    client: Raw,
}

const CONNECT: &str = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
const USER: &str = "CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\n";
const TOKEN: &str = "CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n";
const REFUSED: &str = "-ERR 'Authorization Violation'\r\n";

impl Tried {
    fn start(before: &str) -> Self {
        Self::start_as(before, CONNECT)
    }

    fn start_as(before: &str, connect: &str) -> Self {
        let file = File::new(before);
        // Thirteen hours ahead of UTC, so that the hours differ.
        let zone = [("TZ", "<+13>-13")];
        let mut natsd = Running::start_in(&zone, &["-c", file.path()]);
        let mut client = Raw::connect(&mut natsd);
        assert_eq!(client.say(&format!("{connect}PING\r\n")), "PONG\r\n");
        Self { file, natsd, client }
    }

    /// Appends `after` to the file and reloads. Returns the last log line.
    fn reload(&mut self, after: &str) -> String {
        self.reload_silently(after);
        self.natsd.line("Reloaded server configuration")
    }

    /// Like [`reload`](Self::reload), when the log moves elsewhere.
    fn reload_silently(&mut self, after: &str) {
        let before = std::fs::read_to_string(self.file.path()).unwrap();
        self.file.write(&format!("{before}\n{after}"));
        self.natsd.signal("HUP");
    }

    fn dir(&self) -> String {
        self.file.dir().to_str().unwrap().to_owned()
    }

    /// Connects a new client, sends `text`, and returns the response.
    fn new_client(&self, text: &str) -> String {
        self.client.again().say(text)
    }

    /// Checks that a new client that does not read is closed and logged.
    fn cuts_a_slow_consumer(&mut self) {
        let mut slow = self.client.again();
        assert_eq!(slow.say(&format!("{CONNECT}SUB big 1\r\nPING\r\n")), "PONG\r\n");
        let message = format!("PUB big 1000000\r\n{}\r\n", "x".repeat(1_000_000));
        for _ in 0..24 {
            assert_eq!(self.client.say(&format!("{message}PING\r\n")), "PONG\r\n");
        }
        self.natsd.line("Slow Consumer Detected");
    }
}

/// Returns a CONNECT of a user of the account who needs no signature.
fn bearer(account: &TestAccount) -> String {
    let user = account.user_with("u", |claims| claims.nats.limits.bearer_token = true);
    format!("CONNECT {{\"verbose\":false,\"jwt\":\"{}\"}}\r\n", user.jwt().expose())
}

/// Declares one test per option, and a list of all of them.
macro_rules! tried {
    ($( $path:literal $name:ident $try:expr; )*) => {
        const TRIED: &[&str] = &[$($path),*];
        mod takes_effect {
            use super::*;
            $(
                #[test]
                fn $name() {
                    let check: fn() = $try;
                    check();
                }
            )*
        }
    };
}

/// Returns the monitoring data of a server with `http_port: -1`.
fn seen(natsd: &Running, path: &str) -> serde_json::Value {
    let line = natsd.seen().iter().find(|line| line.contains("Starting http monitor on ")).unwrap();
    let mut stream = TcpStream::connect(line.rsplit(' ').next().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Returns the reasons of all closed connections, in the order of their ids, once there are as many as expected: the
/// peer of a connection reads its end before the server has recorded it.
fn closed_for(natsd: &Running, expected: u64) -> Vec<String> {
    let closed = || seen(natsd, "/connz?state=closed&sort=cid");
    until("all are closed", || closed()["total"] == expected);
    let connz = closed();
    let reason = |one: &serde_json::Value| one["reason"].as_str().unwrap().to_owned();
    connz["connections"].as_array().unwrap().iter().map(reason).collect()
}

tried! {
    "server_tags" server_tags || {
        let mut it = Tried::start("http_port: -1");
        it.reload("server_tags: [a, b]");
        assert_eq!(seen(&it.natsd, "/varz")["tags"], serde_json::json!(["a", "b"]));
    };
    "server_metadata" server_metadata || {
        let mut it = Tried::start("http_port: -1");
        it.reload("server_metadata: { rack: r7 }");
        assert_eq!(seen(&it.natsd, "/varz")["metadata"]["rack"], "r7");
    };
    "max_closed_clients" max_closed_clients || {
        let mut it = Tried::start("http_port: -1");
        for _ in 0..3 {
            assert_eq!(it.new_client("PING\r\n"), "PONG\r\n");
        }
        closed_for(&it.natsd, 3);
        it.reload("max_closed_clients: 2");
        assert_eq!(seen(&it.natsd, "/connz?state=closed")["total"], 2);
    };
    "client_advertise" client_advertise || {
        let mut it = Tried::start("");
        it.reload("client_advertise: 'example.org:99'");
        assert_eq!(it.client.again().info["host"], "example.org");
    };
    "pid_file" pid_file || {
        let mut it = Tried::start("");
        let path = it.dir() + "/pid";
        it.reload(&format!("pid_file: '{path}'"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), it.natsd.pid().to_string());
    };
    "ports_file_dir" ports_file_dir || {
        let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut it = Tried::start(&format!("ports_file_dir: '{}'", before.path().display()));
        it.reload(&format!("ports_file_dir: '{}'", after.path().display()));
        let name = format!("natsd_{}.ports", it.natsd.pid());
        assert!(after.path().join(&name).exists() && !before.path().join(&name).exists());
    };
    "debug" debug || {
        let mut it = Tried::start("");
        it.reload("debug: true");
        it.client.again();
        it.natsd.line("Client connection created");
    };
    "trace" trace || {
        let mut it = Tried::start("");
        it.reload("trace: true");
        it.client.say("SUB hello 90\r\nPING\r\n");
        it.natsd.line("<<- [SUB hello 90]");
    };
    "trace_verbose" trace_verbose || {
        let mut it = Tried::start("");
        it.reload("trace_verbose: true");
        it.client.say("SUB hello 90\r\nPING\r\n");
        it.natsd.line("<<- [SUB hello 90]");
    };
    "trace_headers" trace_headers || {
        let mut it = Tried::start("trace: true");
        it.reload("trace_headers: true");
        it.client.say("HPUB a 18 22\r\nNATS/1.0\r\nA: b\r\n\r\nbody\r\nPING\r\n");
        let line = it.natsd.line("MSG_PAYLOAD");
        assert!(line.contains("A: b") && !line.contains("body"), "{line}");
    };
    "max_traced_msg_len" max_traced_msg_len || {
        let mut it = Tried::start("trace: true");
        it.reload("max_traced_msg_len: 3");
        it.client.say("PUB a 5\r\nhello\r\nPING\r\n");
        it.natsd.line("MSG_PAYLOAD: [\"hel...\"]");
    };
    "logtime" logtime || {
        let mut it = Tried::start("");
        let line = it.reload("logtime: false");
        assert!(line.starts_with(&format!("[{}] [INF] ", it.natsd.pid())), "{line}");
    };
    "logtime_utc" logtime_utc || {
        let mut it = Tried::start("");
        let hour = |line: &str| line.split([' ', ':']).nth(2).unwrap().parse::<u32>().unwrap();
        it.reload_silently("logtime_utc: true");
        let local = hour(&it.natsd.line("Reloaded: logtime_utc = true"));
        let utc = hour(&it.natsd.line("Reloaded server configuration"));
        // The hour may change between the two.
        assert!([12, 13].contains(&((24 + local - utc) % 24)), "{local} {utc}");
    };
    "log_file" log_file || {
        let mut it = Tried::start("");
        let path = it.dir() + "/log";
        it.reload_silently(&format!("log_file: '{path}'"));
        it.natsd.line(&format!("Reloaded: log_file = {path}"));
        let goes_on_there = "Reloaded server configuration (sha256:";
        until("the log continues there", || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.contains(goes_on_there))
        });
    };
    "log_size_limit" log_size_limit || {
        let mut it = Tried::start("");
        it.reload_silently(&format!("log_file: '{}/log', log_size_limit: 100", it.dir()));
        it.natsd.line("Reloaded: log_size_limit = 100");
        let files = |it: &Tried| std::fs::read_dir(it.file.dir()).unwrap().count();
        until("it is rotated", || {
            it.client.again();
            it.natsd.signal("USR1");
            files(&it) > 3
        });
    };
    "log_max_num" log_max_num || {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let before = format!("log_file: '{}', log_size_limit: 10", log.display());
        let file = File::new(&before);
        let natsd = Running::start(&["-c", file.path()]);
        let count = || std::fs::read_dir(dir.path()).unwrap().count();
        until("there are many", || count() > 3);
        file.write(&format!("{before}\nlog_max_num: 2"));
        natsd.signal("HUP");
        until("there are two", || count() == 2);
    };
    "log_format" log_format || {
        let mut it = Tried::start("");
        let line = it.reload("log_format: json");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "info");
    };
    // The machine may have no syslog, in which case the reload changes nothing.
    "syslog" syslog || {
        let mut it = Tried::start("");
        it.reload_silently("syslog: true");
        let line = it.natsd.line("syslog");
        let told = ["Reloaded: syslog = true", "configuration: error connecting to syslog: "];
        assert!(told.iter().any(|told| line.contains(told)), "{line}");
    };
    "remote_syslog" remote_syslog || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut it = Tried::start("");
        let address = format!("udp://{}", socket.local_addr().unwrap());
        it.reload_silently(&format!("remote_syslog: '{address}'"));
        it.natsd.line(&format!("Reloaded: remote_syslog = {address}"));
        let mut buffer = [0; 1024];
        let len = socket.recv(&mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..len]);
        assert!(line.contains("Reloaded server configuration (sha256:"), "{line}");
    };
    "max_control_line" max_control_line || {
        let mut it = Tried::start("");
        it.reload("max_control_line: 100");
        let answer = it.client.say(&format!("SUB {} 1\r\n", "a".repeat(200)));
        assert_eq!(answer, "-ERR 'maximum control line exceeded'\r\n");
    };
    "max_payload" max_payload || {
        let mut it = Tried::start("");
        it.reload("max_payload: 1");
        assert_eq!(it.client.again().info["max_payload"], 1);
        assert_eq!(it.client.say("PUB a 2\r\nhi\r\n"), "-ERR 'Maximum Payload Violation'\r\n");
    };
    "max_pending_total" max_pending_total || {
        let mut it = Tried::start("");
        it.reload("max_pending_total: 2mb");
        it.cuts_a_slow_consumer();
    };
    "max_connections" max_connections || {
        let mut it = Tried::start("");
        it.reload("max_connections: 1");
        assert_eq!(it.new_client(CONNECT), "-ERR 'maximum connections exceeded'\r\n");
    };
    "max_subscriptions" max_subscriptions || {
        let mut it = Tried::start("");
        it.reload("max_subscriptions: 1");
        let answer = it.client.say("SUB a 1\r\nSUB b 2\r\n");
        assert_eq!(answer, "-ERR 'maximum subscriptions exceeded'\r\n");
    };
    "max_subscription_tokens" max_subscription_tokens || {
        let mut it = Tried::start("");
        it.reload("max_sub_tokens: 1");
        let answer = it.client.say("SUB a.b 1\r\n");
        assert_eq!(answer, "-ERR 'Permissions Violation for Subscription to \"a.b\", too many tokens'\r\n");
    };
    "ping_interval" ping_interval || {
        let mut it = Tried::start("");
        it.reload("ping_interval: '50ms'");
        assert_eq!(it.client.line(), "PING\r\n");
    };
    "ping_max" ping_max || {
        let mut it = Tried::start("ping_interval: '20ms', ping_max: 100000");
        it.reload("ping_max: 1");
        let mut line = it.client.line();
        while line == "PING\r\n" {
            line = it.client.line();
        }
        assert_eq!(line, "-ERR 'Stale Connection'\r\n");
    };
    "write_deadline" write_deadline || {
        let mut it = Tried::start("");
        it.reload("write_deadline: '50ms'");
        it.cuts_a_slow_consumer();
    };
    // At most a second between two connections, here a tenth of it.
    "lame_duck_duration" lame_duck_duration || {
        let mut it = Tried::start("lame_duck_duration: '24h', lame_duck_grace_period: '1ms'");
        let mut others: Vec<Raw> = (0..300).map(|_| it.client.again()).collect();
        it.reload("lame_duck_duration: '30s'");
        it.natsd.signal("USR2");
        assert_eq!(it.client.line(), "", "the first client is closed");
        let first = Instant::now();
        for client in &mut others[..8] {
            assert_eq!(client.line(), "");
        }
        assert!(first.elapsed() < Duration::from_secs(4), "{:?}", first.elapsed());
    };
    "lame_duck_grace_period" lame_duck_grace_period || {
        let mut it = Tried::start("lame_duck_duration: '24h', lame_duck_grace_period: '23h'");
        it.reload("lame_duck_grace_period: '1ms'");
        it.natsd.signal("USR2");
        it.natsd.line("Closing existing clients");
    };
    "authorization.user" authorization_user || {
        let mut it = Tried::start("");
        it.reload("authorization { user: u, password: p }");
        assert_eq!(it.client.line(), REFUSED);
        assert_eq!(it.new_client(&format!("{USER}PING\r\n")), "PONG\r\n");
    };
    "authorization.password" authorization_password || {
        let mut it = Tried::start_as("authorization { user: u, password: p }", USER);
        it.reload("authorization { user: u, password: q }");
        assert_eq!(it.client.line(), REFUSED);
        assert_eq!(it.new_client(USER), REFUSED);
    };
    "authorization.token" authorization_token || {
        let mut it = Tried::start_as("authorization { token: t }", TOKEN);
        it.reload("authorization { token: other }");
        assert_eq!(it.client.line(), REFUSED);
        assert_eq!(it.new_client(TOKEN), REFUSED);
    };
    "authorization.timeout" authorization_timeout || {
        let mut it = Tried::start_as("authorization { token: t, timeout: 1000 }", TOKEN);
        it.reload("authorization { token: t, timeout: 0.05 }");
        assert_eq!(it.client.again().line(), "-ERR 'Authentication Timeout'\r\n");
    };
    "authorization.users" authorization_users || {
        let users = "authorization { users: [{user: u, password: p}, {user: v, password: p}] }";
        let mut it = Tried::start_as(users, USER);
        it.reload("authorization { users: [{user: v, password: p}] }");
        assert_eq!(it.client.line(), "", "cut");
        assert_eq!(it.new_client(USER), REFUSED);
    };
    "authorization.default_permissions" authorization_default_permissions || {
        let users = |permissions: &str| {
            format!("authorization {{ users: [{{user: u, password: p}}], {permissions} }}")
        };
        let mut it = Tried::start_as(&users(""), USER);
        it.reload(&users("default_permissions: { publish: { deny: x } }"));
        let answer = it.client.say("PUB x 0\r\n\r\n");
        assert_eq!(answer, "-ERR 'Permissions Violation for Publish to \"x\"'\r\n");
    };
    "accounts" accounts || {
        let mut it = Tried::start("");
        it.reload("accounts { A { users: [{user: u, password: p}] } }");
        assert_eq!(it.new_client(CONNECT), REFUSED);
        assert_eq!(it.new_client(&format!("{USER}PING\r\n")), "PONG\r\n");
    };
    "mappings" mappings || {
        let mut it = Tried::start("mappings { foo: bar }");
        let say = "SUB > 1\r\nPUB foo 0\r\n\r\n";
        assert_eq!(it.new_client(&format!("{CONNECT}{say}")), "MSG bar 1 0\r\n");
        it.reload("mappings { foo: [ { destination: baz, weight: 100% } ] }");
        assert_eq!(it.client.say(say), "MSG baz 1 0\r\n");
    };
    "proxies.trusted" proxies_trusted || {
        let [first, second] = [1, 2].map(|seed| KeyPair::from_random(KeyKind::User, [seed; 32]));
        let trust = |key: &KeyPair| format!("proxies {{ trusted: [ {{ key: {} }} ] }}", key.public());
        let required = "authorization { users: [ {user: u, password: p, proxy_required: true}, {user: v} ] }";
        let before = format!("http_port: -1\n{}\n{required}", trust(&first));
        let direct = "CONNECT {\"verbose\":false,\"user\":\"v\"}\r\n";
        let mut it = Tried::start_as(&before, direct);
        assert_eq!(it.new_client(USER), REFUSED);
        let through = |it: &Tried, proxy: &KeyPair| {
            let mut client = it.client.again();
            let nonce = client.info["nonce"].as_str().unwrap().to_owned();
            let signature = BASE64_URL_SAFE_NO_PAD.encode(proxy.sign(nonce.as_bytes()));
            let connect = USER.replace('}', &format!(",\"proxy_sig\":\"{signature}\"}}"));
            let answer = client.say(&format!("{connect}PING\r\n"));
            (client, answer)
        };
        let (mut client, answer) = through(&it, &first);
        assert_eq!(answer, "PONG\r\n");
        assert_eq!(through(&it, &second).1, REFUSED);
        let key = first.public().to_string();
        let connections = &seen(&it.natsd, "/connz")["connections"];
        assert_eq!(connections[1]["proxy"], serde_json::json!({ "key": key }));
        assert_eq!(closed_for(&it.natsd, 2), ["Proxy Required", "Proxy Not Trusted"]);
        it.reload(&trust(&second));
        assert_eq!((client.line(), client.line()), (REFUSED.to_owned(), String::new()));
        assert_eq!(closed_for(&it.natsd, 3)[1..], ["Proxy Not Trusted"; 2]);
        assert_eq!(through(&it, &second).1, "PONG\r\n");
        let text = format!("Reloaded: proxies trusted keys [\"{key}\"] were removed");
        assert!(it.natsd.seen().iter().any(|line| line.contains(&text)));
    };
    "resolver_preload" resolver_preload || {
        let operator = TestOperator::new();
        let first = bearer(&operator.account("A"));
        let mut it = Tried::start_as(&operator.config(), &first);
        let second = bearer(&operator.account("B"));
        assert_eq!(it.new_client(&second), REFUSED);
        it.file.write(&operator.config());
        it.reload("");
        assert_eq!(it.new_client(&format!("{second}PING\r\n")), "PONG\r\n");
    };
    "resolver_pinned_accounts" resolver_pinned_accounts || {
        let operator = TestOperator::new();
        let (a, b) = (operator.account("A"), operator.account("B"));
        let mut it = Tried::start_as(&operator.config(), &bearer(&a));
        it.reload(&format!("resolver_pinned_accounts: [{}]", b.public_key()));
        assert_eq!(it.new_client(&bearer(&a)), REFUSED);
        assert_eq!(it.new_client(&format!("{}PING\r\n", bearer(&b))), "PONG\r\n");
    };
    "resolver_tls" resolver_tls || {
        let operator = TestOperator::new();
        let (a, b) = (operator.account("A"), operator.account("B"));
        let files = Files::new();
        let url = files.serve_over_https([&a, &b].map(|one| (one.public_key(), one.jwt())));
        let base = format!("operator: {}\nresolver: URL({url})\n", operator.jwt().expose());
        let mut it = Tried::start_as(&format!("{base}resolver_tls {{ insecure: true }}"), &bearer(&a));
        // Nobody on this machine trusts the certificate.
        it.file.write(&base);
        it.reload("");
        assert!(it.new_client(&bearer(&b)).starts_with("-ERR "));
        it.natsd.line("Account fetch failed");
        it.reload(&format!("resolver_tls {{ ca_file: {:?} }}", files.text("cert.pem")));
        assert_eq!(it.new_client(&format!("{}PING\r\n", bearer(&b))), "PONG\r\n");
    };
    "default_sentinel" default_sentinel || {
        let operator = TestOperator::new();
        let a = operator.account("A");
        let mut it = Tried::start_as(&operator.config(), &bearer(&a));
        assert_eq!(it.new_client(CONNECT), REFUSED);
        let user = a.user_with("guest", |claims| claims.nats.limits.bearer_token = true);
        it.reload(&format!("default_sentinel: {}", user.jwt().expose()));
        assert_eq!(it.new_client(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    };
    "tls" tls || {
        let files = Files::new();
        let mut it = Tried::start("");
        it.reload(&format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}",
            files.text("cert.pem"),
            files.text("key.pem")
        ));
        assert_eq!(it.client.again().info["tls_required"], true);
    };
    // The parts that a reload may not change are tested below.
    "websocket.tls" websocket_tls || {
        let files = Files::new();
        let set = format!(
            "websocket {{ listen: '127.0.0.1:-1', tls {{ cert_file: {:?}, key_file: {:?} }} }}",
            files.text("cert.pem"),
            files.text("key.pem")
        );
        let file = File::new(&set);
        let mut natsd = Running::start(&["-c", file.path()]);
        let port = websocket_port(&mut natsd);
        assert!(natsd.seen().last().unwrap().contains(" on wss://127.0.0.1:"));
        assert!(shows(port, &files));
        let files = files.renew();
        natsd.signal("HUP");
        natsd.line("Reloaded server configuration");
        assert!(shows(port, &files));
    };
    "no_auth_user" no_auth_user || {
        let users = "authorization { users: [{user: u, password: p}] }";
        let mut it = Tried::start_as(users, USER);
        it.reload("no_auth_user: u");
        assert_eq!(it.new_client(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    };
}

/// Returns all options that have an effect, with their paths.
fn all() -> Vec<(String, &'static Key)> {
    fn walk(
        block: &Block,
        section: &dyn std::any::Any,
        path: &str,
        all: &mut Vec<(String, &'static Key)>,
    ) {
        for key in block.options() {
            if matches!(key.status, Status::NotYet(_)) {
                continue;
            }
            let path = [path, key.name].concat();
            if let (Kind::Block(inner), Some(field)) = (key.kind, key.field(section)) {
                let count = all.len();
                walk(inner(), field, &format!("{path}."), all);
                if all.len() > count {
                    continue;
                }
            }
            // An option found only through its block is an optional block.
            if path.contains('.') && key.field(section).is_none() {
                continue;
            }
            all.push((path, key));
        }
    }
    let mut all = Vec::new();
    walk(Options::block(), &Options::default(), "", &mut all);
    all
}

#[test]
fn every_reloadable_option_is_tested_here() {
    let can_change = |(path, key): (String, &Key)| {
        (key.status == Status::Supported && key.reload != Reload::Restart).then_some(path)
    };
    let mut expected: Vec<_> = all().into_iter().filter_map(can_change).collect();
    let of_cluster = crate::reload_cluster::TRIED.iter().map(|(option, ..)| *option);
    let mut tried: Vec<_> =
        TRIED.iter().copied().chain(of_cluster).map(ToString::to_string).collect();
    tried.sort();
    tried.dedup();
    expected.sort();
    tried.sort();
    assert_eq!(tried, expected);
}

/// Returns a value that differs from the default.
fn another(key: &Key, path: &str) -> String {
    let default = key.field(&Options::default()).map(|field| field.show());
    match key.kind {
        Kind::Bool => (default.as_deref() != Some("true")).to_string(),
        Kind::Integer { .. } => "7".into(),
        Kind::Size { .. } | Kind::Storage => "70000000".into(),
        Kind::Port => "1".into(),
        Kind::Duration { .. } | Kind::Lifetime => "'45s'".into(),
        Kind::Spelled(Format::FileMode) => "640".into(),
        Kind::Spelled(_) => "7".into(),
        Kind::Text(_) => "'127.0.0.2'".into(),
        Kind::List(_) => "[a]".into(),
        Kind::Listen { .. } => "'127.0.0.2:1'".into(),
        Kind::Texts => "{ a: b }".into(),
        Kind::Switches => "{ a: true }".into(),
        Kind::Choice(words) => words.last().copied().unwrap_or_default().into(),
        _ => panic!("write a test of its own for {path}"),
    }
}

/// Formats the option for a file.
fn written(path: &str, value: &str) -> String {
    match path.split_once('.') {
        // Without these there would be nothing to change.
        Some(("websocket", option)) => {
            format!("websocket {{ {WEBSOCKET}, {} }}", written(option, value))
        }
        Some(("listen_unix", option)) => {
            format!("listen_unix {{ path: here, {} }}", written(option, value))
        }
        Some((block, option)) => format!("{block} {{ {} }}", written(option, value)),
        None => format!("{path}: {value}"),
    }
}

// User and password of monitoring require each other.
const BASE: &str = "host: '127.0.0.1', port: -1, server_name: here, http_user: u, http_password: p\n\
    websocket { host: '127.0.0.1', port: -1, no_tls: true }\n";
const WEBSOCKET: &str = "host: '127.0.0.1', port: -1, no_tls: true";

/// Applies changes that a file could only make together with others.
fn of_a_file_with_more(path: &str, options: &mut Options) -> bool {
    let websocket = &mut options.websocket;
    match path {
        "https_port" | "https" => options.https_port = 1,
        "system_account" => options.system_account = Some("A".into()),
        "operator" => options.operator = vec!["marker".into()],
        "trusted_keys" => options.trusted_keys = vec!["O".into()],
        "resolver" => options.resolver = Some(Resolver::default()),
        "jetstream" => options.jetstream = Some(JetStream::default()),
        "authorization.auth_callout" => {
            options.authorization.auth_callout = Some(AuthCallout::default());
        }
        "websocket.no_tls" => websocket.no_tls = false,
        "websocket.jwt_cookie" => websocket.jwt_cookie = Some("c".into()),
        "websocket.allowed_origins" => websocket.allowed_origins = vec!["https://a".into()],
        "websocket.no_auth_user" => websocket.no_auth_user = Some("a".into()),
        "websocket.authorization.password" => {
            websocket.authorization.password = Some("marker".into());
        }
        _ => return false,
    }
    true
}

async fn daemon(file: &File) -> Daemon {
    let request = Request { file: Some(file.path().into()), ..Request::default() };
    Daemon::start_loaded(options::load(&request).unwrap()).await.unwrap()
}

#[tokio::test]
async fn changes_that_take_a_restart_are_refused_by_name_and_nothing_changes() {
    let file = File::new(BASE);
    let daemon = daemon(&file).await;
    let before = daemon.options();
    let mut count = 0;
    for (path, key) in all() {
        if key.status != Status::Supported || key.reload != Reload::Restart {
            continue;
        }
        let mut after = Options::clone(&before);
        if of_a_file_with_more(&path, &mut after) {
            let changes = options::diff(&before, &after);
            assert_eq!(changes.len(), 1, "{path}");
            assert_eq!(changes[0].reload, Reload::Restart, "{path}");
            assert!(!changes[0].to_string().contains("marker"));
            continue;
        }
        let option = written(&path, &another(key, &path));
        file.write(&format!("{BASE}max_payload: 1000\n{option}"));
        let error = daemon.reload().await.expect_err(&path);
        let ReloadError::NotAtRunTime(changes) = &error else { panic!("{path}: {error}") };
        let names: Vec<&str> = changes.iter().map(|change| &*change.path).collect();
        let expected = match key.kind {
            Kind::Listen { host, port } => {
                let block = path.strip_suffix("listen").unwrap_or_default();
                vec![format!("{block}{host}"), format!("{block}{port}")]
            }
            // Without a path a file declares no socket.
            _ if path.starts_with("listen_unix") => {
                vec![path.clone(), "listen_unix.path".to_owned()]
            }
            _ => vec![path.clone()],
        };
        let is_among = |name: &&str| expected.iter().any(|expected| expected == name);
        assert!(!names.is_empty() && names.iter().all(is_among), "{path}: {names:?}");
        for line in error.to_string().lines() {
            assert!(line.starts_with("config reload not supported for "), "{line}");
        }
        assert_eq!(daemon.options(), before, "{path}");
        assert_eq!(daemon.broker().info().max_payload, 1 << 20, "{path}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
    daemon.stop().await;
}

#[tokio::test]
async fn options_without_effect_are_never_refused() {
    let file = File::new(BASE);
    let daemon = daemon(&file).await;
    for (path, key) in all() {
        if !matches!(key.status, Status::NoEffect(_)) {
            continue;
        }
        file.write(&format!("{BASE}{}", written(&path, &another(key, &path))));
        let reloaded = daemon.reload().await.expect(&path);
        assert!(reloaded.changes.iter().any(|change| change.path == path), "{path}");
    }
    daemon.stop().await;
}

/// Some parts of WebSocket's TLS can be reloaded, others cannot.
#[test]
fn fixed_parts_of_websocket_tls_take_a_restart() {
    let with = |change: fn(&mut Tls)| {
        let mut tls = Tls::default();
        change(&mut tls);
        let mut options = Options::default();
        options.websocket.port = 1;
        options.websocket.tls = Some(tls);
        options
    };
    let before = with(|_| ());
    for (after, expected) in [
        (with(|tls| tls.watch = true), Reload::AtOnce),
        (with(|tls| tls.cert_file = Some("x".into())), Reload::AtOnce),
        (with(|tls| tls.pinned_certs = vec!["x".into()]), Reload::Restart),
        (with(|tls| tls.verify_and_map = true), Reload::Restart),
    ] {
        let changes = options::diff(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].path, "websocket.tls");
        assert_eq!(changes[0].reload, expected);
    }
    let mut without = before.clone();
    without.websocket.tls = None;
    let changes = options::diff(&before, &without);
    assert_eq!(changes[0].reload, Reload::Restart, "{changes:?}");
}

#[test]
fn turning_a_port_off_takes_a_restart_and_any_free_port_stays() {
    let with = |http: i64, websocket: i64| {
        let mut options = Options { http_port: http, ..Options::default() };
        options.websocket.port = websocket;
        options
    };
    let paths = |old, new| {
        let changes = options::diff(&old, &new);
        changes.into_iter().map(|change| change.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(with(8222, 8080), with(0, 0)), ["http_port", "websocket.port"]);
    assert!(paths(with(8222, 8080), with(8222, -1)).is_empty());
}

/// The bound port stays.
#[tokio::test]
async fn a_program_can_apply_options() {
    let daemon = Daemon::start(Options { host: "127.0.0.1".into(), port: 0, ..Options::default() });
    let daemon = daemon.await.unwrap();
    assert!(matches!(daemon.reload().await, Err(ReloadError::NoFile)));
    let mut options = Options::clone(&daemon.options());
    options.max_payload = 1000;
    let reloaded = daemon.apply(options.clone()).await.unwrap();
    assert_eq!(reloaded.changes.len(), 1);
    assert_eq!(daemon.broker().info().max_payload, 1000);

    options.max_payload = 1 << 40;
    assert!(matches!(daemon.apply(options).await, Err(ReloadError::Options(_))));
    assert_eq!(daemon.options().max_payload, 1000);
    assert!(TcpStream::connect(daemon.local_addr()).is_ok());
    daemon.stop().await;
}
