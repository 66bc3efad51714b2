//! Listeners other than plain TCP: proxies, Unix sockets, in-process connections.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::time::Duration;

use broker_core::auth::Token;
use broker_net::{Server, ServerOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(timeout(SOON, stream.read_u8()).await.expect("in time").unwrap());
    }
    String::from_utf8(line).unwrap()
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The connection may be reset.
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("it ends in time");
    bytes
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), said: &str) -> String {
    stream.write_all(said.as_bytes()).await.unwrap();
    read_line(stream).await
}

mod by_proxy {
    use super::*;

    async fn server() -> Server {
        let mut options = ServerOptions::default();
        options.proxy_protocol = true;
        Server::builder().options(options).bind().await.unwrap()
    }

    async fn greeted(server: &Server, header: &[u8]) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(header).await.unwrap();
        let info = read_line(&mut stream).await;
        (stream, info)
    }

    #[tokio::test]
    async fn a_client_has_the_address_in_the_proxy_header() {
        let server = server().await;
        let v2 =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x09\0\x0a";
        for (header, ip) in [
            (&b"PROXY TCP4 192.0.2.7 192.0.2.1 5 4222\r\n"[..], "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 5 4222\r\n", "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (v2, "1.2.3.4"),
        ] {
            let (mut stream, info) = greeted(&server, header).await;
            assert!(info.contains(&format!(r#""client_ip":"{ip}""#)), "{info}");
            assert_eq!(ask(&mut stream, "PING\r\n").await, "PONG\r\n");
        }
    }

    #[tokio::test]
    async fn input_after_the_proxy_header_belongs_to_the_client() {
        let server = server().await;
        let said = b"PROXY TCP4 192.0.2.7 192.0.2.1 5 4222\r\nCONNECT {}\r\nPING\r\n";
        let (mut stream, _) = greeted(&server, said).await;
        assert_eq!(read_line(&mut stream).await, "+OK\r\n");
        assert_eq!(read_line(&mut stream).await, "PONG\r\n");
    }

    #[tokio::test]
    async fn a_connection_without_a_proxy_header_is_served() {
        let server = server().await;
        let (mut stream, info) = greeted(&server, b"CONNECT {\"verbose\":false}\r\n").await;
        assert!(info.contains(r#""client_ip":"127.0.0.1""#), "{info}");
        assert_eq!(ask(&mut stream, "PING\r\n").await, "PONG\r\n");
    }

    #[tokio::test]
    async fn an_invalid_proxy_header_ends_the_connection() {
        let server = server().await;
        let endless = format!("PROXY {}", "x".repeat(200));
        for header in ["PROXY TCP4 a b c d\r\n", &endless, "PROXY TCP4 192.0.2.7"] {
            let since = Instant::now();
            let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
            stream.write_all(header.as_bytes()).await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, b"");
            assert!(since.elapsed() < Duration::from_millis(3500), "{:?}", since.elapsed());
        }
    }

    #[tokio::test]
    async fn a_connection_without_its_proxy_header_does_not_delay_the_end() {
        let server = server().await;
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(b"PROXY ").await.unwrap();
        // Another client has connected after it.
        let (_other, _) = greeted(&server, b"PROXY UNKNOWN\r\n").await;
        let since = Instant::now();
        server.drain().await;
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        assert_eq!(read_to_end(&mut stream).await, b"");
    }
}

mod from_within {
    use super::*;

    #[tokio::test]
    async fn the_wire_protocol_is_spoken_without_a_socket() {
        let server = Server::builder().bind().await.unwrap();
        let mut stream = server.connect();
        assert!(read_line(&mut stream).await.starts_with("INFO {"));
        let mut messages = server.client().subscribe("orders.*").await.unwrap();
        let said =
            "CONNECT {\"verbose\":false}\r\nSUB to.me 1\r\nPUB orders.eu 3\r\none\r\nPING\r\n";
        assert_eq!(ask(&mut stream, said).await, "PONG\r\n");
        assert_eq!(messages.next().await.unwrap().payload, "one");
        server.client().publish("to.me", "two".into()).await.unwrap();
        assert_eq!(read_line(&mut stream).await, "MSG to.me 1 3\r\n");
        assert_eq!(read_line(&mut stream).await, "two\r\n");
    }

    #[tokio::test]
    async fn megabytes_reach_a_reader_that_is_slower_than_its_writer() {
        let server = Server::builder().bind().await.unwrap();
        let mut stream = server.connect();
        let info = read_line(&mut stream).await;
        assert!(!info.contains("tls_required"), "{info}");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\n").await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let payload = "x".repeat(100_000);
        let publish = format!("PUB a {}\r\n{payload}\r\n", payload.len());
        let writes = tokio::spawn(async move {
            for _ in 0..100 {
                writing.write_all(publish.as_bytes()).await.unwrap();
            }
            writing
        });
        let whole = "MSG a 1 100000\r\n".len() + payload.len() + 2;
        let mut got = vec![0; 100 * whole];
        timeout(SOON, reading.read_exact(&mut got)).await.expect("the server is woken").unwrap();
        let is_message = |message: &[u8]| message.starts_with(b"MSG a 1 100000\r\nxxx");
        assert!(got.chunks(whole).all(is_message));
        drop(writes.await.unwrap());
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_server_and_a_session_with_its_stream() {
        let server = Server::builder().bind().await.unwrap();
        let mut stream = server.connect();
        assert!(read_line(&mut stream).await.starts_with("INFO {"));
        assert_eq!(server.broker().stats().connections, 1);
        drop(stream);
        let gone = async {
            while server.broker().stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, gone).await.expect("the end was not noticed");

        let mut stream = server.connect();
        assert!(read_line(&mut stream).await.starts_with("INFO {"));
        server.shutdown().await;
        assert_eq!(read_to_end(&mut stream).await, b"");
        assert_eq!(read_to_end(&mut server.connect()).await, b"", "it comes too late");
    }

    #[tokio::test]
    async fn an_in_process_connection_must_authenticate() {
        let builder = Server::builder().authenticator(Token::new("s3cr3t"));
        let server = builder.bind().await.unwrap();
        let mut stream = server.connect();
        assert!(read_line(&mut stream).await.contains(r#""auth_required":true"#));
        assert_eq!(ask(&mut stream, "PING\r\n").await, "-ERR 'Authorization Violation'\r\n");
    }
}

#[cfg(unix)]
mod by_the_file_system {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use broker_net::UnixOptions;
    use tokio::net::UnixStream;

    use super::*;

    async fn server(path: &Path) -> Result<Server, broker_net::BindError> {
        Server::builder().unix(UnixOptions::new(path)).bind().await
    }

    #[tokio::test]
    async fn clients_connect_by_a_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        let server = server(&path).await.unwrap();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let info = read_line(&mut stream).await;
        assert!(info.starts_with("INFO {") && !info.contains("client_ip"), "{info}");
        let mut messages = server.client().subscribe("a").await.unwrap();
        let large = "x".repeat(1_000_000);
        let said = format!("CONNECT {{\"verbose\":false}}\r\nPUB a 1000000\r\n{large}\r\nPING\r\n");
        assert_eq!(ask(&mut stream, &said).await, "PONG\r\n");
        assert!(messages.next().await.unwrap().payload == large);
    }

    #[tokio::test]
    async fn the_socket_file_is_private_by_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let first = server(&path).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        first.shutdown().await;
        let mut options = UnixOptions::new(&path);
        options.mode = 0o660;
        let _second = Server::builder().unix(options).bind().await.unwrap();
        assert_eq!(mode(&path), 0o660);
    }

    #[tokio::test]
    async fn the_socket_file_is_removed_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        let first = server(&path).await.unwrap();
        first.shutdown().await;
        assert!(!path.exists());

        let second = server(&path).await.unwrap();
        drop(second);
        let gone = async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, gone).await.expect("it is still there");
    }

    #[tokio::test]
    async fn only_a_stale_socket_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        // Dropping a listener leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = server(&path).await.unwrap();

        let error = server(&path).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen at {}", path.display()));
        UnixStream::connect(&path).await.expect("it still listens");
        living.shutdown().await;

        std::fs::write(&path, "precious").unwrap();
        server(&path).await.unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn another_servers_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        let first = server(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = server(&path).await.unwrap();
        first.shutdown().await;
        UnixStream::connect(&path).await.expect("it is the second's");
    }
}
