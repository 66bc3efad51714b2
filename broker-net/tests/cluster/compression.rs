//! Compression between servers.

use std::collections::HashSet;
use std::io::IoSlice;

use broker_core::cluster::CompressionMode;
use broker_core::transport::CompressionLevel;
use broker_net::s2::{BLOCK_BYTES, Decoder, Encoder, IDENTIFIER, uncompressed_head};
use broker_net::testing::Certificates;
use broker_net::{Server, ServerOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::nodes::{address, has_peers, in_time, options, port, start_with, until, with_tls};

fn compressing(mut options: ServerOptions, mode: CompressionMode) -> ServerOptions {
    options.broker.cluster.as_mut().unwrap().compression.mode = mode;
    options
}

/// Returns the modes of a server's routes.
fn modes(server: &Server) -> HashSet<CompressionMode> {
    let routes = server.broker().cluster().unwrap().routes();
    routes.into_iter().map(|route| route.compression).collect()
}

/// Sends messages of some sizes from a client of one server to a client of another.
async fn exchange(from: &Server, to: &Server) {
    let mut received = to.client().subscribe("sizes").await.unwrap();
    until("interest", || {
        let routes = from.broker().cluster().unwrap().routes();
        routes.iter().any(|route| route.subscriptions > 0)
    })
    .await;
    let client = from.client();
    for len in [0, 1, 100, 5_000, 70_000, 500_000] {
        let payload = bytes::Bytes::from(b"natsd ".repeat(len / 6 + 1)[..len].to_vec());
        client.publish("sizes", payload.clone()).await.unwrap();
        assert_eq!(in_time(received.next()).await.unwrap().payload, payload);
    }
}

#[tokio::test]
async fn routes_are_compressed_as_agreed() {
    use CompressionMode::{Accept, Off, S2Best, S2Better, S2Fast, S2Uncompressed};
    let authority = Certificates::new().unwrap();
    for (accepting, dialling, agreed) in [
        (Accept, Accept, Off),
        (Off, S2Fast, Off),
        (Accept, S2Fast, S2Fast),
        (S2Better, Accept, S2Better),
        (S2Best, S2Best, S2Best),
        (S2Uncompressed, S2Uncompressed, S2Uncompressed),
    ] {
        for is_tls in [false, true] {
            let build = |options: ServerOptions, mode| {
                let options = compressing(options, mode);
                let tls = is_tls.then(|| authority.route().unwrap());
                tls.map_or_else(|| options.clone(), |tls| with_tls(options.clone(), tls))
            };
            let a = start_with(build(options(&[]), accepting)).await;
            let b = start_with(build(options(&[port(&a)]), dialling)).await;
            has_peers(&a, 1).await;
            has_peers(&b, 1).await;
            exchange(&a, &b).await;
            exchange(&b, &a).await;
            assert_eq!((modes(&a), modes(&b)), ([agreed].into(), [agreed].into()));
        }
    }
}

/// Agrees on compression as another server, sends chunks, and returns what the server answers to them.
async fn answer(server: &Server, chunks: &[u8]) -> String {
    let mut peer = BufReader::new(TcpStream::connect(address(server)).await.unwrap());
    let mut line = String::new();
    in_time(peer.read_line(&mut line)).await.unwrap();
    assert!(line.contains("\"compression\":\"s2_fast\""), "{line}");
    let connect = b"CONNECT {\"name\":\"X\",\"cluster\":\"test\",\"headers\":true}\r\n";
    let info = b"INFO {\"server_id\":\"X\",\"server_name\":\"X\",\"cluster\":\"test\",\"compression\":\"s2_fast\"}\r\n";
    peer.write_all(&[&connect[..], info, &IDENTIFIER, chunks].concat()).await.unwrap();
    let mut stream = Vec::new();
    // Unread input may reset the connection.
    let _ = in_time(peer.read_to_end(&mut stream)).await;
    let (mut decoder, mut rest, mut answer) = (Decoder::default(), &stream[..], Vec::new());
    while let Some(block) = decoder.next(rest).unwrap().block {
        let begin = answer.len();
        answer.resize(begin + block.decoded_len(), 0);
        block.decode(&mut answer[begin..]).unwrap();
        let used = decoder.next(rest).unwrap().used;
        rest = &rest[used + block.encoded_len()..];
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_server_that_is_not_registered_may_send_no_more_than_nats_servers_do() {
    let server = start_with(compressing(options(&[]), CompressionMode::S2Fast)).await;
    let mut chunk = Vec::new();
    Encoder::default().append(CompressionLevel::Fast, &[b'z'; 20_000], &mut chunk);
    let answered = answer(&server, &chunk).await;
    assert!(answered.starts_with("INFO {") && answered.contains("-ERR"), "{answered}");

    // A few bytes that become 4 MiB are not decoded.
    let decoded = vec![b'z'; BLOCK_BYTES];
    let head = uncompressed_head(&[IoSlice::new(&decoded)]);
    let [low, middle, high, ..] = (BLOCK_BYTES - 1 - 65_544).to_le_bytes();
    let block = [0, b'z', 0x01, 0x01, 0x1d, 0x00, low, middle, high];
    let bomb = [&b"\0\x11\0\0"[..], &head[4..], b"\x80\x80\x80\x02", &block].concat();
    let answered = answer(&server, &bomb).await;
    assert!(answered.starts_with("INFO {") && !answered.contains("-ERR"), "{answered}");
}
