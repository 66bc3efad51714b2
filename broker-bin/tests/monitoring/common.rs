//! A server with monitoring, and clients of both.

use std::time::Duration;

use broker_bin::{Daemon, Options};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for a busy machine; reached only if a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn options() -> Options {
    Options {
        host: "127.0.0.1".into(),
        port: 0,
        http_port: -1,
        // Only clients have subscriptions.
        no_system_account: true,
        ..Options::default()
    }
}

pub(crate) async fn start() -> Daemon {
    Daemon::start(options()).await.unwrap()
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns all headers of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let values =
            self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.collect()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends the request and reads until the server closes the connection.
pub(crate) async fn ask(daemon: &Daemon, request: &str) -> Answer {
    let asking = async {
        let address = daemon.monitoring_addr().unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Answer::of(&text)
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap()
}

pub(crate) async fn get(daemon: &Daemon, path: &str) -> Answer {
    ask(daemon, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

pub(crate) async fn json(daemon: &Daemon, path: &str) -> Value {
    get(daemon, path).await.json()
}

/// A client of the wire protocol.
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) cid: u64,
    pub(crate) port: u16,
}

impl Client {
    /// Connects with these fields in CONNECT, given as JSON without braces.
    pub(crate) async fn connect(daemon: &Daemon, more: &str) -> Self {
        let mut client = Self::arrive(daemon).await;
        let more = if more.is_empty() { String::new() } else { format!(",{more}") };
        client.say(&format!("CONNECT {{\"verbose\":false,\"pedantic\":false{more}}}\r\n")).await;
        client
    }

    /// Connects and reads INFO only.
    pub(crate) async fn arrive(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(daemon.local_addr()).await.unwrap();
        let port = stream.local_addr().unwrap().port();
        let info = read_until(&mut stream, "\r\n").await;
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        Self { stream, cid: info["client_id"].as_u64().unwrap(), port }
    }

    /// Sends `text`, waits until the server has processed it, and returns what was received until
    /// then.
    pub(crate) async fn say(&mut self, text: &str) -> String {
        self.send(&format!("{text}PING\r\n")).await;
        read_until(&mut self.stream, "PONG\r\n").await
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Disconnects and waits until the server has noticed.
    pub(crate) async fn leave(self, daemon: &Daemon) {
        let Self { stream, cid, .. } = self;
        drop(stream);
        until(|| daemon.broker().connection(cid).is_none()).await;
    }
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let reading = async {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
        text
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap()
}

/// Waits until `is_so` returns true.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}

/// Returns the keys of an object in their order.
pub(crate) fn keys(body: &str) -> Vec<String> {
    let indent = |line: &&str| line.starts_with("  \"");
    body.lines().filter(indent).map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}
