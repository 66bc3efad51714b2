//! The end of servers: other servers notice it at once, and nothing is left.

use std::time::{Duration, Instant};

use broker_net::LameDuck;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::nodes::{
    dead_port, has_peers, in_time, options_to, peers, port, start, start_with, until,
};

#[tokio::test]
async fn others_notice_a_shutdown_and_a_drop_at_once() {
    let a = start(&[]).await;
    let b = start(&[port(&a)]).await;
    let c = start(&[port(&a)]).await;
    has_peers(&a, 2).await;
    in_time(b.shutdown()).await;
    has_peers(&a, 1).await;
    drop(c);
    has_peers(&a, 0).await;
}

#[tokio::test]
async fn routes_stay_in_lame_duck_mode_until_the_clients_are_gone() {
    let a = start(&[]).await;
    let b = start(&[port(&a)]).await;
    has_peers(&a, 1).await;
    let client = TcpStream::connect(a.local_addr()).await.unwrap();
    let mut client = BufReader::new(client);
    client.read_line(&mut String::new()).await.unwrap();
    let plan = LameDuck::new(Duration::from_hours(1), Duration::from_hours(1));
    let mut leaving = std::pin::pin!(a.lame_duck(plan));
    let refused = async {
        while TcpStream::connect(a.local_addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut leaving => panic!("a client is connected"),
        () = in_time(refused) => {}
    }
    assert_eq!((peers(&a), peers(&b)), (1, 1));
    let began = Instant::now();
    drop(client);
    in_time(leaving).await;
    // What others have sent before they learned that the client has left is passed on.
    assert!(began.elapsed() >= Duration::from_millis(250));
    has_peers(&b, 0).await;
}

#[test]
fn a_server_dropped_while_it_dials_leaves_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // One that refuses, one that never answers, one that is connected, and a name.
        let dead = dead_port().await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent_port = silent.local_addr().unwrap().port();
        let other = start(&[]).await;
        let routes = [
            ("127.0.0.1", dead),
            ("127.0.0.1", silent_port),
            ("127.0.0.1", port(&other)),
            ("localhost", dead),
        ];
        let server = start_with(options_to(&routes)).await;
        has_peers(&server, 1).await;
        drop(server);
        has_peers(&other, 0).await;
        drop(other);
        let metrics = tokio::runtime::Handle::current().metrics();
        until("no task", || metrics.num_alive_tasks() == 0).await;
    });
}

#[tokio::test]
async fn the_port_is_free_once_the_server_has_ended() {
    let a = start(&[]).await;
    let address = a.cluster_addr().unwrap();
    a.shutdown().await;
    assert!(TcpListener::bind(address).await.is_ok());
    let b = start(&[]).await;
    let address = b.cluster_addr().unwrap();
    drop(b);
    assert!(TcpListener::bind(address).await.is_ok());
    assert_eq!(peers(&a), 0);
}
