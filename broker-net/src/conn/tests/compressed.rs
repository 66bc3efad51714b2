//! A session that asks for compression.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::own_kind::{echoing, echoing_over};
use super::*;
use crate::s2::{Decoder, Encoder, IDENTIFIER};
use crate::transport::compressible;

fn chunk(level: CompressionLevel, bytes: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::new();
    Encoder::default().append(level, bytes, &mut chunk);
    chunk
}

/// Reads blocks of a stream until they end with a line.
async fn read_until(client: &mut TcpStream, kept: &mut (Decoder, Vec<u8>), line: &str) -> String {
    let (decoder, input) = kept;
    let mut lines = Vec::new();
    while !lines.ends_with(line.as_bytes()) {
        let next = decoder.next(input).unwrap();
        if let Some(block) = next.block {
            let begin = lines.len();
            lines.resize(begin + block.decoded_len(), 0);
            block.decode(&mut lines[begin..]).unwrap();
            input.drain(..next.used + block.encoded_len());
        } else {
            input.drain(..next.used);
            assert!(client.read_buf(input).await.unwrap() > 0, "the connection has ended");
        }
    }
    String::from_utf8(lines).unwrap()
}

#[tokio::test]
async fn a_session_continues_compressed_behind_the_line_that_asks_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (serving, ended) = echoing_over(compressible(Arc::new(Socket::new(socket))));
    let serving = tokio::spawn(serving);

    // The compressed stream arrives together with that line.
    let two = chunk(CompressionLevel::Best, b"two\nth");
    client.write_all(&[b"one\nfast\n", &IDENTIFIER[..], &two].concat()).await.unwrap();
    let mut plain = [0; 9];
    client.read_exact(&mut plain).await.unwrap();
    assert_eq!(&plain, b"one\nfast\n");
    let mut kept = (Decoder::default(), Vec::new());
    assert_eq!(read_until(&mut client, &mut kept, "two\n").await, "Fast\ntwo\n");

    // A part of a line that was decompressed is kept as any other.
    client.write_all(&chunk(CompressionLevel::Uncompressed, b"ree\nbest\nfour\n")).await.unwrap();
    let lines = read_until(&mut client, &mut kept, "four\n").await;
    assert_eq!(lines, "three\nbest\nBest\nfour\n");

    let large = "x".repeat(100_000) + "\n";
    for block in large.as_bytes().chunks(50_000) {
        client.write_all(&chunk(CompressionLevel::Fast, block)).await.unwrap();
    }
    assert_eq!(read_until(&mut client, &mut kept, "x\n").await, large);

    client.write_all(&chunk(CompressionLevel::Fast, b"bye\n")).await.unwrap();
    assert_eq!(read_until(&mut client, &mut kept, "bye\n").await, "bye\n");
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    serving.await.unwrap();
    assert_eq!(*ended.lock().unwrap(), [CloseReason::ClientClosed]);
}

#[tokio::test(start_paused = true)]
async fn bytes_queued_before_leave_uncompressed() {
    let liar = Liar::new(b"one\nfast\n", 3);
    let below: Arc<Socket> = Arc::new(Socket::new(Arc::clone(&liar)));
    let (serving, _) = echoing_over(compressible(below));
    let mut serving = Box::pin(serving);
    let mut turn = |liar: &Liar| {
        liar.calls.store(0, Relaxed);
        serving.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    };
    for _ in 0..5 {
        assert!(turn(&liar));
        assert_eq!(*liar.taken.lock().unwrap(), b"one");
    }
    *liar.room.lock().unwrap() = 1000;
    for _ in 0..5 {
        assert!(turn(&liar));
    }
    let fast = chunk(CompressionLevel::Fast, b"Fast\n");
    assert_eq!(*liar.taken.lock().unwrap(), [b"one\nfast\n", &IDENTIFIER[..], &fast].concat());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_compressed_ends() {
    let liar = Liar::new(b"fast\n", 1000);
    let (serving, ended) = echoing(Arc::clone(&liar));
    drive(&liar, serving).await;
    assert_eq!(*ended.lock().unwrap(), [CloseReason::ReadError]);
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_stream_ends_the_connection() {
    for stream in [&b"PING\r\n"[..], b"\xff\x06\0\0S2sTwO\x01\x05\0\0aaaaa", b"\xff\x06\0\0s"] {
        for room in [0, 6, 1000] {
            let liar = Liar::new(&[b"fast\n", stream].concat(), room);
            let below: Arc<Socket> = Arc::new(Socket::new(Arc::clone(&liar)));
            let (serving, ended) = echoing_over(compressible(below));
            drive(&liar, serving).await;
            let reason = ended.lock().unwrap()[0];
            // An incomplete stream, and one behind a line that cannot be written, wait for the rest.
            let is_seen = room > 5 && !stream.ends_with(b"s");
            let expected =
                if is_seen { CloseReason::ReadError } else { CloseReason::StaleConnection };
            assert_eq!(reason, expected, "{stream:?} {room}");
        }
    }
}
