//! First steps of an operators' handbook: flags and a file, users, limits, a reload.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::clients::Raw;
use crate::file::File;
use crate::running::Running;

const CONNECT: &str = "CONNECT {\"verbose\":false}\r\n";
const DEREK: &str = "CONNECT {\"verbose\":false,\"user\":\"derek\",\"pass\":\"T0pS3cr3t\"}\r\n";

/// Returns the log lines of a reload, without process and time, with `…` for the file's digest.
fn said(natsd: &mut Running) -> Vec<String> {
    let before = natsd.seen().len();
    natsd.line("configuration");
    let text = |line: &String| {
        let text = line[line.find(" [").unwrap() + 1..].to_owned();
        text.split("(sha256:").next().unwrap().to_owned()
    };
    let lines = natsd.seen()[before..].iter();
    lines.skip_while(|line| !line.contains("Trapped")).map(text).collect()
}

fn reload(natsd: &mut Running, file: &File, content: &str) -> Vec<String> {
    file.write(content);
    natsd.signal("HUP");
    said(natsd)
}

#[test]
fn a_flag_overrides_the_file_at_the_start_and_at_a_reload() {
    // The command line overrides the port.
    let file = File::new("listen: '0.0.0.0:1', max_payload: 2000, debug: true");
    let mut natsd = Running::start(&["-c", file.path(), "--debug=false"]);
    let client = Raw::connect(&mut natsd);
    assert_eq!(client.info["max_payload"], 2000);
    let lines = reload(&mut natsd, &file, "listen: '0.0.0.0:2', max_payload: 3000, debug: true");
    assert_eq!(
        lines,
        [
            "[INF] Trapped \"hangup\" signal",
            "[INF] Reloaded: max_payload = 3000",
            "[INF] Reloaded server configuration ",
        ]
    );
    assert_eq!(client.again().info["max_payload"], 3000);
}

#[test]
fn a_user_must_present_a_password_within_the_timeout() {
    let authorization = "authorization { user: derek, password: T0pS3cr3t, timeout: 0.05 }";
    let file = File::new(authorization);
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.info["auth_required"], true);
    assert_eq!(client.line(), "-ERR 'Authentication Timeout'\r\n");
    assert_eq!(client.again().say(&format!("{DEREK}PING\r\n")), "PONG\r\n");
    assert_eq!(client.again().say(CONNECT), "-ERR 'Authorization Violation'\r\n");
}

#[test]
fn a_larger_max_payload_is_announced_and_applied_by_a_reload() {
    let file = File::new("max_payload: 1MB");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.info["max_payload"], 1 << 20);
    assert_eq!(client.say(&format!("{CONNECT}SUB big 1\r\nPING\r\n")), "PONG\r\n");
    let lines = reload(&mut natsd, &file, "max_payload: 5MB, write_deadline: '5s'");
    assert_eq!(
        lines,
        [
            "[INF] Trapped \"hangup\" signal",
            "[INF] Reloaded: max_payload = 5242880",
            "[INF] Reloaded: write_deadline = 5s",
            "[INF] Reloaded server configuration ",
        ]
    );
    assert_eq!(client.again().info["max_payload"], 5 << 20);
    let payload = "x".repeat(5 << 20);
    assert_eq!(client.say(&format!("PUB big 5242880\r\n{payload}\r\n")), "MSG big 1 5242880\r\n");
}

#[test]
fn a_client_that_does_not_answer_pings_is_closed() {
    let file = File::new("ping_interval: '50ms', ping_max: 2");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.say(CONNECT), "PING\r\n");
    assert_eq!(client.line(), "PING\r\n");
    assert_eq!(client.line(), "-ERR 'Stale Connection'\r\n");
}

#[test]
fn a_connection_beyond_the_maximum_gets_an_error() {
    let file = File::new("max_connections: 1");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut first = Raw::connect(&mut natsd);
    assert_eq!(first.say(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    assert_eq!(first.again().say(CONNECT), "-ERR 'maximum connections exceeded'\r\n");
    assert_eq!(first.say("PING\r\n"), "PONG\r\n");
}

#[test]
fn a_lowered_limit_closes_the_newest_connections_and_logs_their_number() {
    let file = File::new("max_connections: 10");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut first = Raw::connect(&mut natsd);
    let mut others = [first.again(), first.again()];
    for client in [&mut first].into_iter().chain(&mut others) {
        assert_eq!(client.say(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    }
    let lines = reload(&mut natsd, &file, "max_connections: 1");
    let lines: Vec<_> = lines.iter().filter(|line| line.starts_with("[INF]")).collect();
    assert_eq!(
        lines,
        [
            "[INF] Trapped \"hangup\" signal",
            "[INF] Closed 2 connections to fall within max_connections",
            "[INF] Reloaded: max_connections = 1",
            "[INF] Reloaded server configuration ",
        ]
    );
    for mut client in others {
        assert_eq!(client.line(), "-ERR 'maximum connections exceeded'\r\n");
    }
    assert_eq!(first.say("PING\r\n"), "PONG\r\n");
}

#[test]
fn tracing_is_turned_on_and_off_by_a_reload() {
    let file = File::new("trace: false");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.say("CONNECT {\"verbose\":true}\r\n"), "+OK\r\n");
    let lines = reload(&mut natsd, &file, "trace: true, debug: true");
    assert_eq!(lines[1..3], ["[INF] Reloaded: trace = true", "[INF] Reloaded: debug = true"]);
    assert_eq!(client.say("SUB hello 90\r\n"), "+OK\r\n");
    // NATS 2.14: the arrow shows the direction; the handbook's server had it reversed.
    natsd.line("<<- [SUB hello 90]");
    natsd.line("->> [OK]");
    assert_eq!(client.say("PUB hello 5\r\nworld\r\n"), "+OK\r\n");
    natsd.line("<<- [PUB hello 5]");
    natsd.line("<<- MSG_PAYLOAD: [\"world\"]");
    natsd.line("->> [MSG hello 90 5]");

    reload(&mut natsd, &file, "");
    let quiet = natsd.seen().len();
    assert_eq!(client.line(), "MSG hello 90 5\r\n");
    assert_eq!(client.line(), "world\r\n");
    assert_eq!(client.say("UNSUB 90\r\n"), "+OK\r\n");
    natsd.signal("TERM");
    let (_, lines) = natsd.ended();
    let after = &lines[quiet..];
    assert!(
        !after.iter().any(|line| line.contains("[TRC]") || line.contains("[DBG]")),
        "{after:?}"
    );
}

#[test]
fn an_http_request_to_the_client_port_is_logged_as_such() {
    let mut natsd = Running::start(&[]);
    let line = natsd.line("Listening for client connections on ");
    let mut browser = TcpStream::connect(line.rsplit(' ').next().unwrap()).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("-ERR 'Unknown Protocol Operation'\r\n"), "{answer}");
    let line = natsd.line("[ERR] 127.0.0.1:");
    assert!(line.contains(" - Client parser ERROR, ") && line.contains("GET"), "{line}");
}

#[test]
fn a_refused_reload_changes_nothing() {
    let file = File::new("max_payload: 2000");
    let mut natsd = Running::start(&["-c", file.path()]);
    let client = Raw::connect(&mut natsd);
    let refused = "[ERR] Failed to reload server configuration: ";
    for (content, reason) in [
        (
            "max_payload: 10, server_name: other",
            "config reload not supported for ServerName: old=, new=other",
        ),
        ("max_payload: 10, listn: 1", "natsd.conf:1:18: unknown field \"listn\""),
        (
            "max_payload: 10, log_file: '/nonexistent/log'",
            "error opening log file /nonexistent/log: ",
        ),
        ("max_payload: 10, remote_syslog: 'foo://x'", "error invalid network type: \"foo\""),
        (
            "max_payload: 10, pid_file: '/nonexistent/pid'",
            "Could not write pidfile: /nonexistent/pid: ",
        ),
        ("max_payload: 10, authorization { token: a, user: b }", "natsd.conf:1:"),
    ] {
        let lines = reload(&mut natsd, &file, content);
        let last = lines.last().unwrap();
        assert!(last.starts_with(refused) && last.contains(reason), "{last}");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(client.again().info["max_payload"], 2000);
    }
    // The file may be missing for a moment, as when a tool replaces it by remove and create.
    std::fs::remove_file(file.path()).unwrap();
    natsd.signal("HUP");
    assert!(said(&mut natsd)[1].starts_with(refused));
    assert_eq!(client.again().info["max_payload"], 2000);
}
