//! Starts natsd as the test helpers of the official clients start nats-server: by a link of that
//! name, with the arguments and files that they use. Their fixed ports are replaced by -1.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::clients::Raw;
use crate::running::{NATSD, Running, text, until};

/// A folder with the link, to start in.
struct Helper {
    dir: tempfile::TempDir,
}

impl Helper {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(NATSD, dir.path().join("nats-server")).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path().join("nats-server"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn start(&self, args: &[&str]) -> Running {
        Running::spawn_as_it_is(&mut self.command(args))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

/// Arguments, and the contents of `server.conf` for them.
const STARTS: &[(&[&str], &str)] = &[
    (&["-p", "-1"], ""),
    (&["--port", "-1"], ""),
    (&["-p=-1"], ""),
    (&["--port=-1"], ""),
    (&["-p", "-1", "-a", "127.0.0.1"], ""),
    (&["--port", "-1", "--addr", "127.0.0.1"], ""),
    (&["-p", "-1", "-a", "localhost"], ""),
    (&["-p", "-1", "-n", "name"], ""),
    (&["-p", "-1", "-server_name", "name"], ""),
    (&["-p", "-1", "--server_name", "name"], ""),
    (&["-p", "-1", "-sd", "data"], ""),
    (&["-p", "-1", "-sd=data"], ""),
    (&["-p", "-1", "--store_dir", "data"], ""),
    (&["-p", "-1", "-user", "u", "-pass", "p"], ""),
    (&["-p", "-1", "--user", "u", "--pass", "p"], ""),
    (&["-p", "-1", "-auth", "t"], ""),
    (&["-p", "-1", "--auth", "t"], ""),
    (&["-p", "-1", "-DV"], ""),
    (&["-p", "-1", "--debug"], ""),
    (&["-p", "-1", "-D", "-V"], ""),
    (&["-p", "-1", "-P", "server.pid"], ""),
    (&["-p", "-1", "-cluster_name", "c"], ""),
    (&["-p", "-1", "-cluster", "nats://127.0.0.1:-1"], ""),
    (&["-p", "-1", "--cluster", "nats-route://127.0.0.1:-1", "--cluster_name", "c"], ""),
    (&["-p", "-1", "--cluster_listen", "nats://127.0.0.1:-1"], ""),
    (&["-p", "-1", "--cluster", ""], ""),
    (&["-p", "-1", "--routes", ""], ""),
    (&["-p", "-1", "-routes="], ""),
    (
        &[
            "-p",
            "-1",
            "-cluster",
            "nats://127.0.0.1:-1",
            "-routes",
            "nats://127.0.0.1:1",
            "-routes=",
        ],
        "",
    ),
    (&["-p", "-1", "-cluster", "nats://127.0.0.1:-1", "-routes", "nats://127.0.0.1:1"], ""),
    (&["-p", "-1", "--cluster", "nats://127.0.0.1:-1", "--routes", "nats-route://127.0.0.1:1"], ""),
    (&["-p", "-1", "-m", "-1"], ""),
    (&["-p", "-1", "--http_port", "-1"], ""),
    (&["-c", "server.conf"], "port: -1"),
    (&["-config", "server.conf"], "listen: 127.0.0.1:-1"),
    (&["--config", "server.conf"], "net: 127.0.0.1, port: -1"),
    (&["-p", "-1", "-c", "server.conf"], "port: 1, server_tags: [a]"),
    (&["-c", "server.conf"], "{\"port\": -1, \"authorization\": {\"token\": \"t\"}}"),
    (&["-c", "server.conf"], "port=-1\nno_header_support=true\nmax_payload: 1024"),
    (
        &["-c", "server.conf"],
        "port: -1\nauthorization {\n  users [\n    {user: a, password: b, permissions: {subscribe: 'bar', \
         publish: [foo, '_INBOX.>']}}\n  ]\n}",
    ),
    (
        &["-c", "server.conf"],
        "port: -1\nping_interval: \"100ms\"\nping_max: 5\nmax_connections: 2\nmax_subscriptions: 3\n\
         authorization { user: a, password: b, timeout: 0.001 }",
    ),
    (
        &["-c", "server.conf"],
        "port: -1\nno_auth_user: a\nsystem_account: \"$SYS\"\naccounts {\n  A { users [{user: a, \
         password: a}] }\n  $SYS { users [{user: sys, pass: sys}] }\n}",
    ),
    (&["-c", "server.conf"], "port: -1\nhost: 127.0.0.1\njetstream: disabled\ncluster {}\n"),
    (&["-c", "server.conf"], "port: -1\nleafnodes { listen: \"127.0.0.1:-1\" }\ngateway {}\n"),
    (
        &["-c", "server.conf"],
        "port: -1\nauthorization { token: t, default_permissions { publish: a } }",
    ),
    (&["-p", "-1", "-js", "-sd", "data"], ""),
    (&["-p", "-1", "--jetstream", "-sd", "data"], ""),
];

#[test]
fn each_known_start_command_works() {
    for (args, file) in STARTS {
        let helper = Helper::new();
        helper.write("server.conf", file);
        let mut natsd = helper.start(args);
        let client = Raw::connect(&mut natsd);
        assert_eq!(client.info["version"], "2.14.5", "{args:?} {file}");
        natsd.line("Server is ready");
        natsd.signal("INT");
        assert_eq!(natsd.ended().0.code(), Some(0), "{args:?} {file}");
    }
}

#[test]
fn ipv6_addresses_are_logged_in_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    for (host, begin) in [("::1", "[::1]:"), ("::", "[::]:")] {
        let mut natsd = Helper::new().start(&["-p", "-1", "-a", host]);
        let line = natsd.line("Listening for client connections on ");
        let address = line.rsplit(' ').next().unwrap();
        assert!(address.starts_with(begin), "{line}");
        assert_eq!(Raw::connect_to(address).info["host"], host);
    }
}

/// async-nats: log and pid in files, address from the log.
#[test]
fn the_log_file_contains_the_address() {
    let helper = Helper::new();
    helper.write("server.conf", "server_name: from-the-file");
    let args = ["--store_dir", "data", "-p", "-1", "-l", "nats.log", "-P", "nats.pid"];
    let natsd = helper.start(&[&args[..], &["-c", "server.conf"]].concat());
    // /client connections on\s+(\S+)/
    let address = || {
        let log = helper.read("nats.log");
        let (_, rest) = log.split_once("client connections on")?;
        // An incomplete line has no blank after the address.
        let (address, _) = rest.trim_start().split_once(char::is_whitespace)?;
        Some(address.to_owned())
    };
    until("the address is in the log", || address().is_some());
    assert_eq!(Raw::connect_to(&address().unwrap()).info["server_name"], "from-the-file");
    until("there is a pid file", || helper.read("nats.pid") == natsd.pid().to_string());

    // Another process sends the signal.
    let told = helper.run(&["--signal", &format!("ldm={}", natsd.pid())]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    until("the signal arrived", || {
        helper.read("nats.log").contains("Trapped \"user defined signal 2\" signal")
    });
}

/// nats.js: a configuration file, and the ports from the ports file.
#[test]
fn the_ports_file_exists_within_five_seconds() {
    let helper = Helper::new();
    let dir = helper.path().display().to_string();
    helper.write(
        "server.conf",
        &format!("port: -1\nports_file_dir: {dir:?}\nmax_payload: 1024\nserver_name: js"),
    );
    let started = Instant::now();
    let mut natsd = helper.start(&["-c", "server.conf"]);
    let name = format!("nats-server_{}.ports", natsd.pid());
    until("there is a ports file", || !helper.read(&name).is_empty());
    assert!(started.elapsed() < Duration::from_secs(5));
    let ports: serde_json::Value = serde_json::from_str(&helper.read(&name)).unwrap();
    let address = ports["nats"][0].as_str().unwrap().strip_prefix("nats://").unwrap().to_owned();
    assert_eq!(Raw::connect_to(&address).info["max_payload"], 1024);
    natsd.line("[INF] Server is ready");
    natsd.signal("TERM");
    assert_eq!(natsd.ended().0.code(), Some(0));
    assert_eq!(helper.read(&name), "", "gone");
}

#[test]
fn a_relative_file_may_refer_to_relative_files() {
    let helper = Helper::new();
    helper.write(
        "conf/server.conf",
        "port: -1\ninclude users.conf\nlog_file: \"out/server.log\"\npid_file: out/server.pid",
    );
    helper.write("conf/users.conf", "authorization { token: t }");
    helper.write("out/here", "");
    let natsd = helper.start(&["-c", "conf/server.conf"]);
    until("it is ready", || helper.read("out/server.log").contains("Server is ready"));
    assert_eq!(helper.read("out/server.pid"), natsd.pid().to_string());
    assert!(helper.read("out/server.log").contains("configuration file: conf/server.conf ("));
}

/// nats.js and nats.c search for subscriptions in the trace.
#[test]
fn the_trace_has_the_subscriptions_in_brackets() {
    let helper = Helper::new();
    let natsd = helper.start(&["-p", "-1", "-DV", "-l", "trace.log"]);
    let log = || helper.read("trace.log");
    until("it is ready", || log().contains("Server is ready"));
    let address =
        log().split_once("client connections on ").unwrap().1.lines().next().unwrap().to_owned();
    let mut client = Raw::connect_to(&address);
    let said = client.say("CONNECT {\"verbose\":false}\r\nSUB foo 1\r\nUNSUB 1 2\r\nPING\r\n");
    assert_eq!(said, "PONG\r\n");
    until("PONG is in the trace", || log().contains("->> [PONG]"));
    // /\[SUB (\S+) \d]/
    assert!(log().contains("<<- [SUB foo 1]"), "{}", log());
    assert!(log().contains("<<- [UNSUB 1 2]") && !log().contains("[UNSUB 1 ]"), "{}", log());
    natsd.signal("TERM");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn the_version_is_the_last_word_of_one_line() {
    for flag in ["-v", "--version"] {
        let output = Helper::new().run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stdout), "nats-server: v2.14.5\n");
    }
}

#[test]
fn a_failed_start_logs_the_expected_words_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let helper = Helper::new();
    helper.write("server.conf", "port: -1\nauthorization {\n  user: a\n");
    helper.write("unknown.conf", "prot: -1");
    for (args, words) in [
        (&["-p", "-1", "-a", "999.999.999.999"][..], &["[FTL]", "Error listening on port"][..]),
        (
            &["-a", "127.0.0.1", "-p", &port],
            &["[FTL]", "Error listening on port: 127.0.0.1:", &port],
        ),
        (&["-p", "-1", "-c", "server.conf"], &["nats-server: ", "Parse error"]),
        (&["-c", "unknown.conf"], &["nats-server: unknown.conf:1:1: unknown field \"prot\""]),
        (&["-c", "nowhere.conf"], &["nats-server: ", "nowhere.conf"]),
    ] {
        let output = helper.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?} {said}");
        for word in words {
            assert!(said.contains(word), "{args:?} {said}");
        }
    }
}

#[test]
fn an_unknown_flag_is_named_and_does_not_start_it() {
    let output = Helper::new().run(&["-p", "-1", "--bogus"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("nats-server: flag provided but not defined: -bogus"));
}
