//! Generated sessions get the same responses from natsd as from a real nats-server, named by
//! `NATSD_REFERENCE`.
//!
//! Each session has a handful of operations in all spellings, with any combination of faults.
//! Compared are the client's input in order, the messages that another client receives, the events
//! of traced messages, and whether the connection ends. `SESSIONS=20000` plays more of them,
//! `SEED=7` others. Differences are reduced to the fewest operations that show them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use generator::{Operation, Random, session};
use natsd_stage::Natsd;
use serde_json::Value;
use transcripts::{Dialogue, Reference, Setup};

mod generator;
mod natsd_stage;
mod setup_options;

const PATIENCE: Duration = Duration::from_secs(10);

/// The subject of a message that follows each session.
const FENCE: &str = "end.of.session";

const INVALID_SUBJECT: &str = r"-ERR \'Invalid Publish Subject\'";

/// Configurations of the servers. User `all` has all permissions and subscribes to everything.
const SETUPS: [&str; 4] = [
    "! max_payload 64\n! max_control_line 300",
    "! max_payload 64\n! max_control_line 300\n! max_sub_tokens 4\n! max_subscriptions 3\n\
     ! user all pass\n! user eva secret\n\
     ! publish_allow eva foo foo.> t.ok _INBOX.>\n! publish_deny eva foo.deny.>\n\
     ! subscribe_allow eva foo foo.> \"only q.*\"\n! subscribe_deny eva foo.deny.> \"foo bad\"\n\
     ! allow_responses eva 1 1m",
    "! max_payload 64\n! max_control_line 300\n! no_auth_user eva\n\
     ! user all pass\n! user eva secret\n! publish_deny eva deny.> t.no\n! subscribe_deny eva deny.>",
    "! max_payload 64\n! max_control_line 300\n! no_header_support\n! max_subscriptions 2",
];

#[test]
fn generated_sessions_are_answered_alike() {
    let number = |name: &str, default| match env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    };
    let (sessions, seed): (u64, u64) = (number("SESSIONS", 2000), number("SEED", 1));
    let binary = PathBuf::from(env::var_os("NATSD_REFERENCE").expect("NATSD_REFERENCE"));
    let mut report = String::new();
    let mut differences = 0;
    for (place, text) in (0..).zip(SETUPS) {
        let setup = Dialogue::parse("generated", &format!("# x\n{text}\na> PING\na< PONG\na=\n"));
        let pair = Pair::start(&binary, &setup.unwrap().setup);
        for one in 0..sessions / SETUPS.len() as u64 {
            let mut random = Random::new(seed, place, one);
            let operations = session(&mut random);
            let Some(played) = pair.difference(&operations) else { continue };
            differences += 1;
            // A broken server differs everywhere.
            if differences <= 20 {
                let least = pair.shrink(operations, played);
                report += &format!("\n{text}\n{least}\n");
            }
        }
    }
    assert!(differences == 0, "{differences} of {sessions} sessions differ:\n{report}");
}

/// Attempts at a session until a difference counts.
const ATTEMPTS: usize = 3;

/// Two servers with the same configuration, and an observer at each.
struct Pair {
    ours: SocketAddr,
    theirs: SocketAddr,
    has_users: bool,
    has_headers: bool,
    _natsd: Natsd,
    _reference: Reference,
}

impl Pair {
    fn start(binary: &std::path::Path, setup: &Setup) -> Self {
        let natsd = Natsd::start(setup);
        let reference = Reference::start(binary, setup).unwrap();
        let (ours, theirs) = (natsd.address(), reference.address());
        let has_users = !setup.users.is_empty();
        let has_headers = !setup.no_header_support;
        Self { ours, theirs, has_users, has_headers, _natsd: natsd, _reference: reference }
    }

    /// Returns the answers of both if they differ at each attempt: those of nats-server depend on its threads too.
    fn difference(&self, operations: &[Operation]) -> Option<(Played, Played)> {
        let played: Vec<_> = (0..ATTEMPTS)
            .map(|_| self.play(operations))
            .take_while(|(ours, theirs)| ours != theirs)
            .collect();
        if played.len() == ATTEMPTS { played.into_iter().last() } else { None }
    }

    fn play(&self, operations: &[Operation]) -> (Played, Played) {
        let ours = self.play_at(self.ours, operations);
        let mut theirs = self.play_at(self.theirs, operations);
        // nats-server reports the subject of an incomplete message a second time when the read ends.
        if let [.., one, two] = &theirs.said[..]
            && one == INVALID_SUBJECT
            && one == two
            && theirs.said.len() == ours.said.len() + 1
        {
            theirs.said.pop();
        }
        (ours, theirs)
    }

    /// Removes operations that do not contribute to the difference. Returns the others with the last difference seen.
    fn shrink(&self, mut operations: Vec<Operation>, mut played: (Played, Played)) -> String {
        let mut at = 0;
        while at < operations.len() {
            let mut fewer = operations.clone();
            fewer.remove(at);
            let (ours, theirs) = self.play(&fewer);
            if ours == theirs {
                at += 1;
            } else {
                (operations, played) = (fewer, (ours, theirs));
            }
        }
        let (sent, (ours, theirs)) = (operations.concat(), played);
        format!("sent      {}\nnatsd     {ours:?}\nreference {theirs:?}", sent.escape_ascii())
    }

    /// Sends a session and half-closes, so that the server's complete output precedes its own end.
    fn play_at(&self, address: SocketAddr, operations: &[Operation]) -> Played {
        let login = if self.has_users { r#","user":"all","pass":"pass""# } else { "" };
        let mut listener = Raw::connect(address);
        listener.send(
            format!("CONNECT {{\"verbose\":false,\"headers\":true{login}}}\r\nSUB > 1\r\nPING\r\n")
                .as_bytes(),
        );
        listener.until_pong();
        let mut client = Raw::connect(address);
        let mut session = operations.concat();
        session.extend_from_slice(b"PING\r\n");
        client.send(&session);
        // The connection may be closed already.
        let _ = client.stream.shutdown(Shutdown::Write);
        let (mut said, mut got) = split(&client.rest());
        // nats-server sends events when they are due, or not at all to a client that has gone.
        got.retain(|message| event(message).is_none());
        got.sort();
        // Only natsd states the reason of the close.
        if said.last().is_some_and(|line| line == r"-ERR \'Parser Error\'") {
            said.pop();
        }
        let (_, mut overheard) = split(&listener.until_all(self.has_headers));
        // The system events of nats-server reach `>`; those of natsd need its program.
        overheard.retain(|message| !message.contains(FENCE) && !message.starts_with("MSG $SYS."));
        for message in &mut overheard {
            if let Some(event) = event(message) {
                *message = event;
            }
        }
        overheard.sort();
        Played { said, got, overheard }
    }
}

/// Returns the event of a traced message without what differs between servers and runs.
fn event(message: &str) -> Option<String> {
    let (line, event) = message.split_once(" {")?;
    // Undoes `escape_ascii`, apart from the bytes that are no ASCII, which JSON is not to interpret.
    let escaped = format!("{{{event}").replace("\\r\\n", "");
    let text = escaped.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
    let mut event: Value = serde_json::from_str(&text.replace("\\x", "\\\\x")).ok()?;
    event.as_object_mut()?.remove("server")?;
    let hops = event.get_mut("events")?.as_array_mut()?;
    for hop in &mut *hops {
        let hop = hop.as_object_mut()?;
        hop.remove("ts");
        hop.remove("cid");
    }
    // The order of receivers is undefined.
    hops.sort_by_key(Value::to_string);
    let destination = line.split_ascii_whitespace().nth(1)?;
    Some(format!("event at {destination}: {event}"))
}

#[derive(Debug, Eq, PartialEq)]
struct Played {
    /// Lines received.
    said: Vec<String>,
    /// Messages received. The order among subscriptions is undefined.
    got: Vec<String>,
    /// Messages received by the observer.
    overheard: Vec<String>,
}

/// Splits a server's output into lines, and messages with their payloads.
fn split(mut bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut messages) = (Vec::new(), Vec::new());
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = bytes[..=end].escape_ascii().to_string();
        let line = line.trim_end_matches("\\n").trim_end_matches("\\r").to_owned();
        bytes = &bytes[end + 1..];
        if line.starts_with("MSG ") || line.starts_with("HMSG ") {
            let len: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
            let end = bytes.len().min(len + 2);
            messages.push(format!("{line} {}", bytes[..end].escape_ascii()));
            bytes = &bytes[end..];
        } else if line.starts_with("INFO ") {
            lines.push("INFO".to_owned());
        } else {
            lines.push(line);
        }
    }
    if !bytes.is_empty() {
        lines.push(bytes.escape_ascii().to_string());
    }
    (lines, messages)
}

struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects and reads INFO.
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream };
        raw.until(|bytes| bytes.ends_with(b"\r\n"));
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        // The connection may be closed; its earlier output is read all the same.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads everything that was sent before this call. Events of traces have a queue of their own
    /// in nats-server: the event of one more traced message is behind them.
    fn until_all(&mut self, has_headers: bool) -> Vec<u8> {
        if !has_headers {
            self.send(b"PING\r\n");
            return self.until_pong();
        }
        let block = format!("NATS/1.0\r\nNats-Trace-Dest: {FENCE}.event\r\n\r\n");
        let len = block.len();
        self.send(format!("HPUB {FENCE} {len} {len}\r\n{block}\r\n").as_bytes());
        let begin = format!("MSG {FENCE}.event ");
        self.until(|bytes| {
            let last = bytes.windows(begin.len()).position(|line| line == begin.as_bytes());
            last.is_some_and(|at| bytes.ends_with(b"}\r\n") && bytes[at..].len() > begin.len())
        })
    }

    fn until_pong(&mut self) -> Vec<u8> {
        self.until(|bytes| bytes.windows(6).any(|line| line == b"PONG\r\n"))
    }

    fn until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        while !is_enough(&all) {
            let len = self.stream.read(&mut some).expect("an answer in time");
            assert!(len > 0, "closed: {}", all.escape_ascii());
            all.extend_from_slice(&some[..len]);
        }
        all
    }

    /// Reads to the end or to a reset.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        while let Ok(len @ 1..) = self.stream.read(&mut some) {
            all.extend_from_slice(&some[..len]);
        }
        all
    }
}
