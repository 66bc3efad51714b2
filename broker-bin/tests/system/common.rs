//! A server with three accounts, and clients of them.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use broker_bin::options::{Request, load};
use broker_bin::{Daemon, Options};
use futures_util::StreamExt as _;
use serde_json::Value;

/// Long enough for a busy machine; reached only if a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
    listen: "127.0.0.1:-1"
    server_name: one
    server_tags: [eu, "rack:7"]
    server_metadata: { owner: ops }
    accounts {
      $SYS { users: [ { user: sys, password: s } ] }
      A { users: [
        { user: a, password: a }
        { user: limited, password: l, permissions: {
            publish: { allow: ["$SYS.REQ.USER.INFO", "out"], deny: "bar" }
            subscribe: { allow: ["_INBOX.>", "x q"] }
            allow_responses: { max: 3, expires: "1m" } } }
      ] }
      B { users: [ { user: b, password: b } ] }
    }
"#;

/// A server whose configuration file can be changed.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts it with more lines in its configuration.
    pub(crate) async fn start_with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("natsd.conf");
        std::fs::write(&file, format!("{CONFIG}{more}")).unwrap();
        let request = Request { file: Some(file.clone()), ..Request::default() };
        let daemon = Daemon::start_loaded(load(&request).unwrap()).await.unwrap();
        Self { daemon, file, _dir: dir }
    }

    pub(crate) fn write_config(&self, change: impl Fn(&str) -> String) {
        std::fs::write(&self.file, change(CONFIG)).unwrap();
    }

    fn url(&self) -> String {
        format!("nats://{}", self.daemon.local_addr())
    }

    pub(crate) fn id(&self) -> String {
        self.daemon.broker().info().server_id
    }

    pub(crate) async fn connect(&self, user: &str, password: &str) -> Client {
        let options = ConnectOptions::with_user_and_password(user.into(), password.into());
        options.name(format!("{user} test")).connect(self.url()).await.unwrap()
    }

    pub(crate) async fn operator(&self) -> Client {
        self.connect("sys", "s").await
    }

    /// Tries to log in, in vain.
    pub(crate) async fn is_refused(&self, user: &str, password: &str) -> bool {
        let options = ConnectOptions::with_user_and_password(user.into(), password.into());
        options.connect(self.url()).await.is_err()
    }
}

pub(crate) async fn plain() -> Daemon {
    let options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
    Daemon::start(options).await.unwrap()
}

/// Subscribes, and waits until the server has processed it.
pub(crate) async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    // The answer to this request proves it.
    let _ = client.request("nobody", "".into()).await;
    subscriber
}

pub(crate) async fn next(subscriber: &mut Subscriber) -> Message {
    tokio::time::timeout(DEADLINE, subscriber.next()).await.unwrap().unwrap()
}

/// Returns the subject and the JSON of the next event.
pub(crate) async fn event(subscriber: &mut Subscriber) -> (String, Value) {
    let message = next(subscriber).await;
    (message.subject.to_string(), serde_json::from_slice(&message.payload).unwrap())
}

pub(crate) async fn ask(client: &Client, subject: &str, payload: &str) -> Value {
    let request = client.request(subject.to_owned(), payload.to_owned().into());
    let answer = tokio::time::timeout(DEADLINE, request).await.unwrap().unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

pub(crate) async fn ask_with_encoding(client: &Client, subject: &str, encoding: &str) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert("Accept-Encoding", encoding);
    client.request_with_headers(subject.to_owned(), headers, "".into()).await.unwrap()
}

/// Returns the names of the members of a JSON object, in order.
pub(crate) fn names(text: &[u8]) -> Vec<String> {
    let value: serde_json::Map<String, Value> = serde_json::from_slice(text).unwrap();
    let mut names: Vec<(usize, String)> = value
        .keys()
        .map(|name| {
            let quoted = format!("\"{name}\":");
            let at = text.windows(quoted.len()).position(|part| part == quoted.as_bytes());
            (at.unwrap(), name.clone())
        })
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}
