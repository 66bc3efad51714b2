//! An embedded server does not affect the rest of its process.

use std::time::Duration;

use broker_core::RequestError;
use broker_net::Server;
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn two_servers_in_one_process_share_nothing() {
    let (one, other) =
        (Server::builder().bind().await.unwrap(), Server::builder().bind().await.unwrap());
    assert_ne!(one.broker().info().server_id, other.broker().info().server_id);
    let mut inbox = other.client().subscribe(">").await.unwrap();
    let client = async_nats::connect(one.url()).await.unwrap();
    client.publish("x", "1".into()).await.unwrap();
    client.flush().await.unwrap();
    let asked = one.client().request("x", "".into()).await;
    assert_eq!(asked, Err(RequestError::NoResponders));
    assert_eq!(inbox.try_next(), None);
    assert_eq!(other.broker().stats().total_connections, 0);
}

#[tokio::test]
async fn shutdown_may_be_called_repeatedly_and_concurrently() {
    let server = Server::builder().bind().await.unwrap();
    let address = server.local_addr();
    let _client = async_nats::connect(server.url()).await.unwrap();
    let ending = async { tokio::join!(server.shutdown(), server.drain(), server.shutdown()) };
    timeout(SOON, ending).await.expect("it ends in time");
    timeout(SOON, server.shutdown()).await.expect("at once");
    timeout(SOON, server.wait()).await.expect("at once");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(server.broker().stats().connections, 0);
}

#[tokio::test]
async fn dropping_frees_the_port_without_waiting() {
    let server = Server::builder().bind().await.unwrap();
    let port = server.local_addr().port();
    let _client = async_nats::connect(server.url()).await.unwrap();
    drop(server);
    let again = timeout(SOON, async {
        loop {
            // The task that holds the socket ends when the runtime runs it.
            match Server::builder().port(port).bind().await {
                Ok(server) => break server,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(again.await.expect("the port is free").local_addr().port(), port);
}

#[test]
fn dropping_outside_of_the_runtime_neither_blocks_nor_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::builder().bind()).unwrap();
    let client = server.client();
    drop(runtime);
    drop(server);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_servers_fit_in_one_process() {
    let mut servers = Vec::new();
    for _ in 0..50 {
        servers.push(Server::builder().bind().await.unwrap());
    }
    for server in &servers {
        let client = async_nats::connect(server.url()).await.unwrap();
        let mut inbox = server.client().subscribe("x").await.unwrap();
        client.publish("x", "hello".into()).await.unwrap();
        let message = timeout(SOON, inbox.next()).await.unwrap().unwrap();
        assert_eq!(message.payload, "hello");
    }
}

#[tokio::test]
async fn in_process_subscribers_end_with_their_server_once_all_is_read() {
    let server = Server::builder().bind().await.unwrap();
    let client = server.client();
    let mut inbox = client.subscribe("x").await.unwrap();
    client.publish("x", "last words".into()).await.unwrap();
    server.shutdown().await;
    drop(server);
    client.publish("x", "too late".into()).await.unwrap();
    assert_eq!(inbox.next().await.unwrap().payload, "last words");
    assert_eq!(inbox.next().await, None);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_signal_handler_is_installed() {
    let caught = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("SigCgt")).unwrap().to_owned()
    };
    let before = caught();
    let server = Server::builder().bind().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(caught(), before);
}

#[tokio::test]
async fn no_logger_is_installed() {
    let server = Server::builder().bind().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    client.flush().await.unwrap();
    assert!(!tracing::dispatcher::has_been_set());
}

#[tokio::test]
async fn environment_and_working_directory_are_left_alone() {
    let surroundings =
        || (std::env::vars_os().collect::<Vec<_>>(), std::env::current_dir().unwrap());
    let before = surroundings();
    let server = Server::builder().bind().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    client.flush().await.unwrap();
    server.shutdown().await;
    assert_eq!(surroundings(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_started() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Parallel tests may start and stop threads meanwhile; it is repeated so often that a
        // thread per round would show.
        let before = threads();
        let mut servers = Vec::new();
        for _ in 0..100 {
            let server = Server::builder().bind().await.unwrap();
            TcpStream::connect(server.local_addr()).await.unwrap();
            servers.push(server);
        }
        assert!(threads() < before + 50, "{} threads, {before} before", threads());
    });
}

/// Panics on every connection.
struct Trap;

impl broker_core::auth::Authenticator for Trap {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &broker_core::auth::Credentials) -> broker_core::auth::Decision {
        panic!("a bug of the embedder's own");
    }
}

#[tokio::test]
async fn a_panic_in_code_of_the_program_ends_one_connection_only() {
    let server = Server::builder().authenticator(Trap).bind().await.unwrap();
    let mut bystander = TcpStream::connect(server.local_addr()).await.unwrap();
    let connecting = async_nats::connect(server.url());
    assert!(timeout(SOON, connecting).await.expect("in time").is_err());
    let mut line = [0; 6];
    tokio::io::AsyncReadExt::read_exact(&mut bystander, &mut line).await.unwrap();
    assert_eq!(&line, b"INFO {", "others are still served");
    timeout(SOON, server.shutdown()).await.expect("it ends in time");
}

/// Run by the test below in a process of its own.
#[test]
#[ignore = "run by another test, as a program"]
fn does_all_that_could_end_a_program() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Server::builder().bind().await.unwrap();
        async_nats::connect(server.url()).await.unwrap().flush().await.unwrap();
        server.lame_duck(broker_net::LameDuck::new(Duration::ZERO, Duration::ZERO)).await;
        server.shutdown().await;
        // Neither a port in use nor an ended server is a reason to exit the process.
        let taken = Server::builder().bind().await.unwrap();
        let port = taken.local_addr().port();
        Server::builder().port(port).bind().await.unwrap_err();
    });
    println!("the program goes on");
}

#[test]
fn the_process_is_never_ended() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "does_all_that_could_end_a_program", "--ignored", "--nocapture"];
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the program goes on"));
}
