//! Expensive credential checks: wrong passwords from one address must not lock out others.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::sync::{Arc, Condvar, Mutex};
use std::thread::available_parallelism;
use std::time::Duration;

use broker_core::auth::{Answer, Authenticator, Credentials, Decision, Denied, Grant, Pending};
use broker_net::{Server, ServerOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const THROTTLED: &str = "-ERR 'Connection throttling is active. Please try again later.'\r\n";
const DENIED: &str = "-ERR 'Authorization Violation'\r\n";

/// Maximum number of waiting checks per address.
const WAITING_PER_SOURCE: usize = 32;

/// Checks of all users but one block until this gate opens.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(closed, |is_open| !*is_open).unwrap());
    }
}

impl Authenticator for Gate {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if credentials.user == "right" {
            return Decision::compute(|| Ok(Grant::user("right")));
        }
        let gate = self.clone();
        Decision::compute(move || {
            gate.wait();
            Err(Denied::Credentials)
        })
    }
}

/// Connects from an address as `user`.
async fn come(server: &Server, from: &str, user: &str) -> BufReader<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = BufReader::new(socket.connect(server.local_addr()).await.unwrap());
    let mut info = String::new();
    timeout(PATIENCE, stream.read_line(&mut info)).await.expect("INFO in time").unwrap();
    let connect = format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\"}}\r\nPING\r\n");
    stream.get_mut().write_all(connect.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: BufReader<TcpStream>) -> String {
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("an end").unwrap();
    rest
}

#[tokio::test]
async fn wrong_passwords_from_one_address_do_not_lock_out_others() {
    let gate = Gate::default();
    let server = Server::builder().authenticator(gate.clone()).bind().await.unwrap();
    let cores = available_parallelism().unwrap().get();
    // All workers but one are busy with this address, and the maximum number of checks waits.
    let held = (cores / 2).max(2) - 1 + WAITING_PER_SOURCE;
    let too_many = 50;
    let mut wrong = JoinSet::new();
    for _ in 0..held + too_many {
        wrong.spawn(rest(come(&server, "127.0.0.1", "wrong").await));
    }
    for _ in 0..too_many {
        // Not an authentication error, which would make a client give up.
        assert_eq!(wrong.join_next().await.unwrap().unwrap(), THROTTLED);
    }
    // Clients from elsewhere authenticate at once, repeatedly.
    for _ in 0..3 {
        let mut right = come(&server, "127.0.0.2", "right").await;
        let mut pong = String::new();
        timeout(PATIENCE, right.read_line(&mut pong)).await.expect("let in").unwrap();
        assert_eq!(pong, "PONG\r\n");
    }
    gate.open();
    for _ in 0..held {
        assert_eq!(wrong.join_next().await.unwrap().unwrap(), DENIED);
    }
    assert!(wrong.join_next().await.is_none());
}

/// Decides externally, at login and at a review.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<Answer>>>);

impl Elsewhere {
    fn ask(&self) -> Decision {
        let (pending, answer) = Pending::new(PATIENCE);
        self.0.lock().unwrap().push(answer);
        pending.into()
    }

    /// Waits until the server asks, and answers from another thread.
    async fn answer(&self, result: Result<Grant, Denied>) {
        let asked = async {
            loop {
                if let Some(answer) = self.0.lock().unwrap().pop() {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        let answer = timeout(PATIENCE, asked).await.expect("a question");
        std::thread::spawn(move || answer.decide(result)).join().unwrap();
    }
}

impl Authenticator for Elsewhere {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        self.ask()
    }

    fn review(&self, _: &Grant, _: &Credentials) -> Decision {
        self.ask()
    }
}

#[tokio::test]
async fn a_client_waits_for_an_answer_from_elsewhere_at_login_and_is_served_during_a_review() {
    let elsewhere = Elsewhere::default();
    let mut options = ServerOptions::default();
    options.broker.limits.auth_timeout = PATIENCE;
    let server =
        Server::builder().options(options).authenticator(elsewhere.clone()).bind().await.unwrap();
    let mut client = come(&server, "127.0.0.1", "a").await;
    // CONNECT and PING arrived together: further input waits for the answer.
    elsewhere.answer(Ok(Grant::user("a"))).await;
    let line = async |client: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        timeout(PATIENCE, client.read_line(&mut line)).await.expect("a line").unwrap();
        line
    };
    assert_eq!(line(&mut client).await, "PONG\r\n");

    let applied = server.broker().set_authenticator(elsewhere.clone()).applied;
    client.get_mut().write_all(b"PING\r\n").await.unwrap();
    assert_eq!(line(&mut client).await, "PONG\r\n", "the review is pending");
    elsewhere.answer(Ok(Grant::user("a"))).await;
    timeout(PATIENCE, applied).await.expect("the answer is in force");

    let applied = server.broker().set_authenticator(elsewhere.clone()).applied;
    elsewhere.answer(Err(Denied::Credentials)).await;
    timeout(PATIENCE, applied).await.expect("the answer is in force");
    assert_eq!(rest(client).await, DENIED);
}

/// Computations at a review run on the pool of credential checks.
#[tokio::test]
async fn an_expensive_review_is_computed_while_the_client_is_served() {
    let gate = Gate::default();
    let server = Server::builder().authenticator(gate.clone()).bind().await.unwrap();
    let mut client = come(&server, "127.0.0.1", "right").await;
    let mut pong = String::new();
    timeout(PATIENCE, client.read_line(&mut pong)).await.expect("let in").unwrap();

    let applied = server.broker().set_authenticator(Denying(gate.clone())).applied;
    client.get_mut().write_all(b"PING\r\n").await.unwrap();
    timeout(PATIENCE, client.read_line(&mut pong)).await.expect("served").unwrap();
    assert_eq!(pong, "PONG\r\nPONG\r\n");
    gate.open();
    timeout(PATIENCE, applied).await.expect("the result is in force");
    assert_eq!(rest(client).await, DENIED);
}

/// Denies all clients once the gate is open.
struct Denying(Gate);

impl Authenticator for Denying {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &Credentials) -> Decision {
        let gate = self.0.clone();
        Decision::compute(move || {
            gate.wait();
            Err(Denied::Credentials)
        })
    }
}
