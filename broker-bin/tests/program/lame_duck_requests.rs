//! Lame duck mode of one of two servers with one hundred open requests: none is lost, whether or
//! not the clients react to the announcement.
//!
//! A request is lost if its sender receives no answer. "No responders" is an answer, after which
//! the request is sent again: the servers form no cluster, and requester and service move at
//! different moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, RequestErrorKind};
use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::file::File;
use crate::running::Running;

/// Number of open requests at any time.
const OPEN: usize = 100;

/// Time after which a request counts as lost.
const ANSWERED: Duration = Duration::from_secs(10);

/// Long enough for a busy machine; reached only if a test fails.
const SOON: Duration = Duration::from_secs(60);

/// The reaction of clients to the announcement.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Reaction {
    /// None, until they are disconnected.
    Ignore,
    /// They connect to the other server and complete their work on the first one.
    Move,
}

/// A server and its address.
struct Natsd {
    program: Running,
    url: String,
    _file: File,
}

impl Natsd {
    fn start() -> Self {
        let file = File::new("lame_duck_duration: '30s', lame_duck_grace_period: '500ms'");
        let mut program = Running::start(&["-c", file.path()]);
        let line = program.line("Listening for client connections on ");
        let url = format!("nats://{}", line.rsplit(' ').next().unwrap());
        program.line("Server is ready");
        Self { program, url, _file: file }
    }

    fn address(&self) -> String {
        self.url.strip_prefix("nats://").unwrap().to_owned()
    }
}

/// Connects to `urls`; also returns a channel that reports the announcement.
async fn join(urls: &[&str]) -> (Client, watch::Receiver<bool>) {
    let (tell, told) = watch::channel(false);
    let options = ConnectOptions::new().retain_servers_order().request_timeout(Some(ANSWERED));
    let heed = move |event| {
        if event == Event::LameDuckMode {
            tell.send_replace(true);
        }
        async {}
    };
    (options.event_callback(heed).connect(urls.to_vec()).await.unwrap(), told)
}

/// Answers requests on whichever server it is connected to.
async fn answer(service: Client) {
    let mut requests = service.queue_subscribe("work", "workers".to_owned()).await.unwrap();
    while let Some(request) = requests.next().await {
        // If disconnected in the meantime, the answer is sent after reconnecting.
        let _ = service.publish(request.reply.unwrap(), request.payload).await;
    }
}

/// Answers requests at `address` until the announcement; then it takes no further ones, answers
/// those received, and closes. (Implemented by hand: async-nats 0.51 drops pending messages when it
/// drains.)
async fn answer_and_leave(address: String, told: watch::Sender<bool>) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let subscribe = "CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB work workers 1\r\nPING\r\n";
    stream.write_all(subscribe.as_bytes()).await.unwrap();
    let mut line = String::new();
    let mut is_leaving = false;
    loop {
        line.clear();
        let len = stream.read_line(&mut line).await.unwrap();
        assert!(len > 0 && !line.starts_with("-ERR "), "closed before it could leave: {line}");
        let said = if let Some(message) = line.strip_prefix("MSG work 1 ") {
            let (reply, _) = message.split_once(' ').unwrap();
            let reply = reply.to_owned();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            format!("PUB {reply} {}\r\n{line}", line.trim_end().len())
        } else if line.contains("\"ldm\":true") {
            is_leaving = true;
            told.send_replace(true);
            String::from("UNSUB 1\r\nPING\r\n")
        } else if line == "PING\r\n" {
            String::from("PONG\r\n")
        } else if line == "PONG\r\n" && is_leaving {
            return;
        } else {
            continue;
        };
        stream.write_all(said.as_bytes()).await.unwrap();
    }
}

/// A requesting client, cloned for each request, so that the reference count is the number of open
/// requests.
type Requester = Arc<Client>;

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    no_responders: AtomicUsize,
    lost: AtomicUsize,
}

/// Sends requests through the current client until there is none.
async fn ask(number: usize, requester: watch::Receiver<Option<Requester>>, counts: Arc<Counts>) {
    loop {
        let Some(client) = requester.borrow().clone() else { return };
        match client.request("work", number.to_string().into()).await {
            Ok(answer) => {
                assert_eq!(answer.payload, number.to_string());
                counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                counts.no_responders.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            Err(error) => {
                eprintln!("{error}");
                counts.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Completes at least `all` requests; after a third of them the first server enters lame duck mode.
async fn no_request_is_lost(reaction: Reaction, all: usize) {
    let (old, new) = (Natsd::start(), Natsd::start());
    let urls = [old.url.as_str(), new.url.as_str()];
    let mut answering = JoinSet::new();
    let (tell, mut service_is_told) = watch::channel(false);
    match reaction {
        Reaction::Ignore => answering.spawn(answer(join(&urls).await.0)),
        Reaction::Move => answering.spawn(answer_and_leave(old.address(), tell)),
    };
    let (requester, mut requester_is_told) = join(&urls).await;
    let (choose, chosen) = watch::channel(Some(Requester::new(requester)));

    let counts = Arc::new(Counts::default());
    let mut asking = JoinSet::new();
    for number in 0..OPEN {
        asking.spawn(ask(number, chosen.clone(), Arc::clone(&counts)));
    }
    let answered = || counts.answered.load(Ordering::Relaxed);
    until(|| answered() >= all / 3).await;
    old.program.signal("USR2");
    if reaction == Reaction::Move {
        timeout(SOON, service_is_told.wait_for(|is_told| *is_told)).await.unwrap().unwrap();
        answering.spawn(answer(join(&[&new.url]).await.0));
        timeout(SOON, requester_is_told.wait_for(|is_told| *is_told)).await.unwrap().unwrap();
        let requester_there = Requester::new(join(&[&new.url]).await.0);
        let before = choose.send_replace(Some(requester_there)).unwrap();
        until(|| Arc::strong_count(&before) == 1).await;
        before.drain().await.unwrap();
    }

    let ended = tokio::task::spawn_blocking(move || old.program.ended());
    let (status, lines) = timeout(SOON, ended).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    let before = answered();
    until(|| answered() >= (before + all / 10).max(all)).await;
    choose.send_replace(None);
    while let Some(done) = timeout(SOON, asking.join_next()).await.expect("all requests end") {
        done.unwrap();
    }
    let (no_responders, lost) = (&counts.no_responders, &counts.lost);
    eprintln!("{} requests, {no_responders:?} asked again", answered());
    assert_eq!(lost.load(Ordering::Relaxed), 0, "of {}", answered());
}

async fn until(is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ignore_the_announcement_lose_no_request() {
    no_request_is_lost(Reaction::Ignore, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_move_lose_no_request() {
    no_request_is_lost(Reaction::Move, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn of_two_hundred_thousand_requests_none_is_lost() {
    for reaction in [Reaction::Ignore, Reaction::Move] {
        no_request_is_lost(reaction, 200_000).await;
    }
}
