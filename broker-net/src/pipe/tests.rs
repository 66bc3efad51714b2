use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// The server's end as a stream, tested like the client's.
struct ServerEnd(LocalTransport);

impl ServerEnd {
    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.try_write(&[IoSlice::new(bytes)]) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::future::poll_fn(|cx| self.0.poll_write_ready(cx)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads to the end with buffers of this size.
    async fn read_all(&self, room: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut room = vec![0; room];
        loop {
            match self.0.try_read(&mut room) {
                Ok(0) => return Ok(all),
                Ok(len) => all.extend_from_slice(&room[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::future::poll_fn(|cx| self.0.poll_read_ready(cx)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn ends() -> (LocalStream, ServerEnd) {
    let (client, server) = pipe();
    (client, ServerEnd(server))
}

fn some_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31) >> 3) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_pass_both_ways_through_small_lanes_and_all_tasks_are_woken() {
    let sent = some_bytes(5 << 20);
    let (client, server) = ends();
    let server = Arc::new(server);
    let (mut reading, mut writing) = tokio::io::split(client);
    let to_server = sent.clone();
    let writes = tokio::spawn(async move {
        for piece in to_server.chunks(7919) {
            writing.write_all(piece).await.unwrap();
        }
        writing.shutdown().await.unwrap();
    });
    let other_end = Arc::clone(&server);
    let to_client = sent.clone();
    let answers = tokio::spawn(async move {
        for piece in to_client.chunks(104_729) {
            other_end.write_all(piece).await.unwrap();
        }
        other_end.0.shut_down_write().unwrap();
    });
    let reads = tokio::spawn(async move {
        let mut all = Vec::new();
        reading.read_to_end(&mut all).await.unwrap();
        all
    });
    let all = async {
        assert!(server.read_all(1000).await.unwrap() == sent);
        writes.await.unwrap();
        answers.await.unwrap();
        assert!(reads.await.unwrap() == sent);
    };
    timeout(PATIENCE, all).await.expect("a waiting task was not woken");
}

#[tokio::test]
async fn a_writer_waits_for_its_reader() {
    let (mut client, server) = ends();
    let bytes = some_bytes(BOUND_BYTES);
    let written = client.write(&bytes).await.unwrap();
    assert_eq!(written, UNAUTHENTICATED_BOUND_BYTES);
    let writing = client.write(&bytes);
    assert!(timeout(Duration::ZERO, writing).await.is_err());
    assert_eq!(server.0.try_read(&mut [0; 8192]).unwrap(), 8192);
    assert_eq!(client.write(&bytes).await.unwrap(), UNAUTHENTICATED_BOUND_BYTES);
}

#[tokio::test]
async fn an_authenticated_client_gets_a_larger_bound() {
    let (mut client, server) = ends();
    let bytes = some_bytes(2 * BOUND_BYTES);
    assert_eq!(client.write(&bytes).await.unwrap(), UNAUTHENTICATED_BOUND_BYTES);
    assert_eq!(server.0.try_read(&mut vec![0; 256 << 10]).unwrap(), UNAUTHENTICATED_BOUND_BYTES);
    assert_eq!(client.write(&bytes).await.unwrap(), BOUND_BYTES);
}

#[tokio::test]
async fn dropping_an_end_closes_both_directions() {
    let (mut client, server) = ends();
    server.write_all(b"last words").await.unwrap();
    drop(server);
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "last words");
    let error = client.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

    let (mut client, server) = ends();
    client.write_all(b"QUIT").await.unwrap();
    drop(client);
    assert_eq!(server.read_all(100).await.unwrap(), b"QUIT");
    assert_eq!(server.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_waiting_side_is_woken_when_the_other_is_dropped() {
    let (mut client, server) = ends();
    let reading = tokio::spawn(async move { client.read(&mut [0; 10]).await });
    tokio::task::yield_now().await;
    drop(server);
    assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap(), 0);

    let (mut client, server) = ends();
    let writing = tokio::spawn(async move { client.write_all(&some_bytes(1 << 20)).await });
    tokio::task::yield_now().await;
    drop(server);
    assert!(timeout(PATIENCE, writing).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn after_a_half_close_the_other_direction_works() {
    let (mut client, server) = ends();
    client.shutdown().await.unwrap();
    assert_eq!(server.read_all(100).await.unwrap(), b"");
    server.write_all(b"bye").await.unwrap();
    let mut read = [0; 3];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"bye");
    assert!(client.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn an_idle_connection_holds_little_and_an_unauthenticated_one_never_much() {
    let (mut client, server) = ends();
    let _ = client.write(&some_bytes(1 << 20)).await.unwrap();
    assert!(client.lanes.to_server.held_bytes() <= 2 * UNAUTHENTICATED_BOUND_BYTES);
    server.write_all(&some_bytes(60_000)).await.unwrap();
    assert_eq!(client.read(&mut vec![0; 1 << 17]).await.unwrap(), 60_000);
    assert_eq!(server.0.try_read(&mut vec![0; 8192]).unwrap(), 8192);
    let lanes = &client.lanes;
    assert!(lanes.to_client.held_bytes() + lanes.to_server.held_bytes() <= 2 * 4096);
}
