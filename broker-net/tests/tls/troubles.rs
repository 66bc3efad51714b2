//! Log lines, at the default level, of failed connections.

use std::time::Duration;

use broker_net::{Server, WebsocketOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::client::{Raw, in_time};
use crate::log::Warnings;

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_rate_limit_are_counted() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let mut options = Authority::new("ca").options();
    options.connection_rate_limit = Some(1);
    let server = Server::builder().tls(options).bind().await.unwrap();
    warnings.take();
    // The clock stands still while a task is busy: all connections fall into one second.
    let busy = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        raw.stream.get_mut().write_all(b"\x16\x03\x01").await.unwrap();
        all.push(raw);
    }
    for mut raw in all.drain(1..) {
        let line = raw.line().await;
        assert_eq!(line, "-ERR 'Connection throttling is active. Please try again later.'\r\n");
    }
    busy.abort();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(warnings.take(), ["Rejected 3 connections due to TLS rate limiting"]);
}

#[tokio::test]
async fn a_handshake_that_fails_is_an_error_and_a_probe_is_not() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let mut options = Authority::new("ca").options();
    options.timeout = Duration::from_millis(100);
    let server = Server::builder().tls(options).bind().await.unwrap();
    warnings.take();
    for (bytes, expected) in [
        (&b""[..], ""),
        (b"CONNECT {}\r\n", ""),
        (b"\x16\x03\x01\x02\x00", ""),
        (b"\x15\x03\x01\x00\x02\x02\x50", "TLS handshake error: received fatal alert: "),
        (b"\x16\x03\x01\x00\x04\x09\x00\x00\x00", "TLS handshake error: received unexpected"),
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        raw.stream.get_mut().write_all(bytes).await.unwrap();
        raw.rest().await;
        let said = warnings.take();
        match &said[..] {
            [] => assert_eq!(expected, "", "{bytes:?}"),
            [line] => assert!(!expected.is_empty() && line.starts_with(expected), "{line}"),
            _ => panic!("{said:?}"),
        }
    }
}

/// Sends `bytes` and returns the response.
#[cfg(feature = "websocket")]
async fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    answer
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn on_a_port_for_websocket_each_is_an_error() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let mut options = WebsocketOptions::default();
    options.tls = Some(Authority::new("ca").options());
    options.handshake_timeout = Duration::from_millis(100);
    let server = Server::builder().websocket(options).bind().await.unwrap();
    warnings.take();
    let http = "client sent an HTTP request to an HTTPS server";
    let told = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    for (bytes, reason, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], http, told),
        (b"POST / HTTP/1.1\r\n", http, told),
        (b"CONNECT {}\r\n", "first record does not look like a TLS handshake", ""),
        (b"\x16\x03\x01\x02\x00", "timeout", ""),
        (b"", "timeout", ""),
        (b"\x15\x03\x01\x00\x02\x02\x50", "received fatal alert: ", ""),
    ] {
        let answer = answer(&server, bytes).await;
        let said = warnings.take();
        let [line] = &said[..] else { panic!("{bytes:?}: {said:?}") };
        let begin = "websocket: TLS handshake error from 127.0.0.1:";
        assert!(line.starts_with(begin) && line.contains(&format!(": {reason}")), "{line}");
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{bytes:?}");
    }
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn a_broken_frame_is_an_error() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let mut options = WebsocketOptions::default();
    options.compression = true;
    let server = Server::builder().websocket(options).bind().await.unwrap();
    warnings.take();
    let compressed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover\r\n";
    for (extension, frame, expected) in [
        ("", &b"\x81\x01x"[..], "read error: mask bit missing"),
        ("", b"\x83\x80\0\0\0\0", "read error: unknown opcode 3"),
        ("", b"\x88\x81\0\0\0\0\x03", "read error: close frame payload cannot be 1 byte"),
        (compressed, b"\x83\x80\0\0\0\0", "read error: unknown opcode 3"),
        (compressed, b"\x88\x81\0\0\0\0\x03", "read error: close frame payload cannot be 1 byte"),
        ("", b"\x88\x82\0\0\0\0\x03\xe8", ""),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             {extension}\r\n"
        );
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(in_time(stream.read_buf(&mut answer)).await.unwrap(), 0);
        }
        stream.write_all(frame).await.unwrap();
        let _ = in_time(stream.read_to_end(&mut answer)).await;
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(warnings.take(), expected, "{frame:?}");
    }
}
