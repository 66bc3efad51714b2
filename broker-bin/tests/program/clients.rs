//! Effects of the flags on clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::running::Running;

/// A connection whose INFO has been read.
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
    pub(crate) info: serde_json::Value,
    /// PINGs of the server are answered and skipped.
    pub(crate) answers_pings: bool,
}

impl Raw {
    pub(crate) fn connect(natsd: &mut Running) -> Self {
        let line = natsd.line("Listening for client connections on ");
        Self::connect_to(line.rsplit(' ').next().unwrap())
    }

    pub(crate) fn connect_to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let info = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        Self { stream, info, answers_pings: false }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends `text` and returns the first line of the response.
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.send(text);
        self.line()
    }

    /// Returns the next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        if self.answers_pings && line == "PING\r\n" {
            return self.say("PONG\r\n");
        }
        line
    }

    pub(crate) fn again(&self) -> Self {
        Self::connect_to(&self.stream.get_ref().peer_addr().unwrap().to_string())
    }
}

#[test]
fn info_has_the_name_and_the_version_that_clients_expect() {
    let mut natsd = Running::start(&["--server_name", "one"]);
    let client = Raw::connect(&mut natsd);
    assert_eq!(client.info["server_name"], "one");
    assert_eq!(client.info["version"], "2.14.5");
    assert_eq!(client.info.get("auth_required"), None);
}

#[test]
fn a_user_needs_the_password() {
    let mut natsd = Running::start(&["--user", "derek", "--pass", "s3cret"]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.info["auth_required"], true);
    let mut other = client.again();

    let right = r#"CONNECT {"verbose":false,"user":"derek","pass":"s3cret"}"#;
    assert_eq!(client.say(&format!("{right}\r\nPING\r\n")), "PONG\r\n");
    let wrong = right.replace("s3cret", "secret");
    assert_eq!(other.say(&format!("{wrong}\r\nPING\r\n")), "-ERR 'Authorization Violation'\r\n");
}

#[test]
fn a_configured_token_is_required() {
    let mut natsd = Running::start(&["--auth", "s3cret"]);
    let mut client = Raw::connect(&mut natsd);
    let mut other = client.again();
    let right = r#"CONNECT {"verbose":false,"auth_token":"s3cret"}"#;
    assert_eq!(client.say(&format!("{right}\r\nPING\r\n")), "PONG\r\n");
    let none = r#"CONNECT {"verbose":false}"#;
    assert_eq!(other.say(&format!("{none}\r\nPING\r\n")), "-ERR 'Authorization Violation'\r\n");
}

#[test]
fn a_trace_has_the_format_of_the_reference() {
    let mut natsd = Running::start(&["-DV", "--max_traced_msg_len", "3"]);
    let mut client = Raw::connect(&mut natsd);
    let created = natsd.line("Client connection created");
    let local = client.stream.get_ref().local_addr().unwrap();
    assert!(created.contains(&format!("[DBG] {local} - cid:")), "{created}");

    let connect = r#"CONNECT {"verbose":false}"#;
    assert_eq!(
        client.say(&format!("{connect}\r\nSUB foo 1\r\nPUB foo 5\r\nhello\r\n")),
        "MSG foo 1 5\r\n"
    );
    // Tools search for the brackets and their contents.
    let line = natsd.line("<<- [SUB foo 1]");
    assert!(line.contains(&format!("[TRC] {local} - cid:")), "{line}");
    natsd.line("<<- [PUB foo 5]");
    natsd.line("<<- MSG_PAYLOAD: [\"hel...\"]");
}

#[test]
fn a_connected_client_does_not_prevent_the_end() {
    let mut natsd = Running::start(&[]);
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.say("CONNECT {\"verbose\":false}\r\nPING\r\n"), "PONG\r\n");
    natsd.signal("TERM");
    let mut said = String::new();
    client.stream.read_to_string(&mut said).unwrap();
    // NATS 2.14: the connection is closed without an error message.
    assert_eq!(said, "");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_low_soft_limit_of_open_files_does_not_limit_clients() {
    let script = r#"ulimit -Sn 64 && exec "$0" "$@""#;
    let sh = std::path::Path::new("sh");
    let mut natsd = Running::start_as(sh, &["-c", script, crate::running::NATSD]);
    let mut clients = vec![Raw::connect(&mut natsd)];
    while clients.len() < 200 {
        let next = clients[0].again();
        clients.push(next);
    }
    for client in &mut clients {
        assert_eq!(client.say("PING\r\n"), "PONG\r\n");
    }
}

/// More clients connect than the process has descriptors for, and write before they read.
#[cfg(unix)]
#[test]
fn without_descriptors_new_clients_get_an_error_at_once_and_disconnects_free_descriptors() {
    const DESCRIPTORS: usize = 64;
    let script = format!(r#"ulimit -n {DESCRIPTORS} && exec "$0" "$@""#);
    let sh = std::path::Path::new("sh");
    let mut natsd = Running::start_as(sh, &["-c", &script, crate::running::NATSD]);
    let first = Raw::connect(&mut natsd);
    let address = first.stream.get_ref().peer_addr().unwrap();
    let mut all: Vec<TcpStream> = (0..2 * DESCRIPTORS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(b"CONNECT {\"verbose\":false}\r\n").unwrap();
            stream
        })
        .collect();
    let mut served = Vec::new();
    for mut stream in all.drain(..) {
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        if said == *b"INFO " {
            served.push(stream);
            continue;
        }
        let mut rest = String::new();
        // The connection is not reset either.
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "'maximum connections exceeded'\r\n", "after {}", said.escape_ascii());
    }
    assert!((20..DESCRIPTORS).contains(&served.len()), "{} are served", served.len());
    natsd.line("refused");
    drop(served);
    // Once this succeeds, each disconnect has been noticed, or is soon after.
    let is_served = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        said == *b"INFO "
    };
    crate::running::until("a new client is served", is_served);
}
