use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::transport::Transport;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connected(network: &Network) -> (Wire, Wire) {
    let mut listener = network.port(1).listen();
    let near = network.port(0).connect(network.port(1).address()).await.unwrap();
    let (far, from) = listener.dialled.recv().await.unwrap();
    assert_eq!(from.ip(), network.port(0).address().ip());
    (near, far)
}

fn write(wire: &Wire, text: &str) -> Result<usize, io::ErrorKind> {
    wire.try_write(&[IoSlice::new(text.as_bytes())]).map_err(|error| error.kind())
}

fn read(wire: &Wire) -> Result<String, io::ErrorKind> {
    let mut room = [0; 64];
    let read = wire.try_read(&mut room).map_err(|error| error.kind());
    read.map(|len| String::from_utf8(room[..len].to_vec()).unwrap())
}

/// Waits until a wire can be read, on a task of its own.
fn readable(wire: &Arc<Wire>) -> tokio::task::JoinHandle<()> {
    let wire = Arc::clone(wire);
    tokio::spawn(async move { poll_fn(|cx| wire.poll_read_ready(cx)).await.unwrap() })
}

async fn within<T>(task: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, task).await.expect("in time")
}

fn is_writable(wire: &Wire) -> bool {
    wire.poll_write_ready(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn addresses_differ() {
    let network = Network::default();
    let addresses: std::collections::BTreeSet<_> =
        (0..1000).map(|number| network.port(number).address()).collect();
    assert_eq!(addresses.len(), 1000);
}

#[tokio::test]
async fn what_is_sent_in_a_partition_arrives_when_it_ends() {
    let network = Network::default();
    let (near, far) = connected(&network).await;
    let far = Arc::new(far);
    network.set_partitioned(1, 0, true);
    assert_eq!(write(&near, "a"), Ok(1));
    assert_eq!(read(&far), Err(io::ErrorKind::WouldBlock));
    let waiting = readable(&far);
    tokio::task::yield_now().await;
    assert_eq!(write(&near, "b"), Ok(1));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    network.set_partitioned(0, 1, false);
    within(waiting).await.unwrap();
    assert_eq!(read(&far).unwrap(), "ab");
}

#[tokio::test]
async fn a_close_in_a_partition_is_noticed_when_it_ends() {
    let network = Network::default();
    let (near, far) = connected(&network).await;
    let far = Arc::new(far);
    network.set_partitioned(0, 1, true);
    drop(near);
    let waiting = readable(&far);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(write(&far, "a"), Err(io::ErrorKind::WouldBlock));
    assert!(!is_writable(&far));
    network.heal();
    within(waiting).await.unwrap();
    assert_eq!(read(&far).unwrap(), "");
    assert!(is_writable(&far));
    assert_eq!(write(&far, "a"), Err(io::ErrorKind::BrokenPipe));
}

#[tokio::test]
async fn a_reset_is_noticed_in_a_partition() {
    let network = Network::default();
    let (near, far) = connected(&network).await;
    let far = Arc::new(far);
    network.set_partitioned(0, 1, true);
    let waiting = readable(&far);
    tokio::task::yield_now().await;
    network.reset(0, 1);
    within(waiting).await.unwrap();
    for end in [&near, &*far] {
        assert_eq!(read(end), Err(io::ErrorKind::ConnectionReset));
        assert_eq!(write(end, "a"), Err(io::ErrorKind::ConnectionReset));
        assert!(is_writable(end));
    }
}

#[tokio::test]
async fn other_servers_are_not_affected() {
    let network = Network::default();
    let (near, far) = connected(&network).await;
    network.set_partitioned(0, 2, true);
    network.reset(1, 2);
    assert_eq!(write(&near, "a"), Ok(1));
    assert_eq!(read(&far).unwrap(), "a");
}

#[tokio::test]
async fn a_connection_in_a_partition_is_made_when_it_ends() {
    let network = Network::default();
    let mut listener = network.port(1).listen();
    network.set_partitioned(0, 1, true);
    let dialling = network.clone();
    let dial = tokio::spawn(async move {
        dialling.port(0).connect(dialling.port(1).address()).await.map(drop)
    });
    tokio::task::yield_now().await;
    assert!(!dial.is_finished() && listener.dialled.try_recv().is_err());
    network.heal();
    within(dial).await.unwrap().unwrap();
    assert!(listener.dialled.recv().await.is_some());
}

#[tokio::test]
async fn a_server_that_does_not_listen_refuses_and_a_later_run_takes_its_place() {
    let network = Network::default();
    let (port, to) = (network.port(0), network.port(1).address());
    let refused = |result: io::Result<Wire>| result.unwrap_err().kind();
    assert_eq!(refused(port.connect(to).await), io::ErrorKind::ConnectionRefused);
    let first = network.port(1).listen();
    let mut second = network.port(1).listen();
    drop(first);
    let _near = port.connect(to).await.unwrap();
    assert!(second.dialled.try_recv().is_ok());
    drop(second);
    assert_eq!(refused(port.connect(to).await), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_full_buffer_is_written_further_when_the_partition_ends() {
    let network = Network::default();
    let (near, far) = connected(&network).await;
    network.set_partitioned(0, 1, true);
    let mut written = 0;
    while let Ok(len) = write(&near, "0123456789") {
        written += len;
    }
    assert_eq!(write(&near, "0"), Err(io::ErrorKind::WouldBlock));
    let near = Arc::new(near);
    let writer = Arc::clone(&near);
    let waiting = tokio::spawn(async move { poll_fn(|cx| writer.poll_write_ready(cx)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    network.heal();
    let mut got = 0;
    while got < written {
        got += read(&far).unwrap().len();
    }
    assert_eq!(got, written);
    within(waiting).await.unwrap().unwrap();
    assert_eq!(write(&near, "a"), Ok(1));
}
