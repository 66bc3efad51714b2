//! WebSocket clients.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test itself may"
)]

use std::time::Duration;

use broker_core::auth::Token;
use broker_net::websocket::{Decoder, Event, ExtraHeaders};
use broker_net::{Server, ServerOptions, WebsocketOptions};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";

async fn server(options: WebsocketOptions) -> Server {
    Server::builder().websocket(options).bind().await.unwrap()
}

fn options(change: impl FnOnce(&mut WebsocketOptions)) -> WebsocketOptions {
    let mut options = WebsocketOptions::default();
    change(&mut options);
    options
}

/// A client with its own framing.
struct Raw {
    stream: TcpStream,
    decoder: Decoder,
    text: String,
    close: Option<Vec<u8>>,
}

impl Raw {
    /// Sends the upgrade request with these additional lines; also returns the response.
    async fn connect(server: &Server, lines: &str) -> (Self, String) {
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.write_all(format!("{GOOD}{lines}\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        let decoder = Decoder::new().allow_bare(true);
        let raw = Self { stream, decoder, text: String::new(), close: None };
        (raw, String::from_utf8(answer).unwrap())
    }

    /// Like [`connect`](Self::connect), and reads INFO.
    async fn greeted(server: &Server, lines: &str) -> (Self, String) {
        let (mut raw, _) = Self::connect(server, lines).await;
        let info = raw.expect("INFO {").await;
        (raw, info)
    }

    async fn say(&mut self, text: &str) {
        self.frame(0x82, text.as_bytes()).await;
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let key = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0xfe);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&key);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Reads until a line begins with `start`, and returns that line.
    async fn expect(&mut self, start: &str) -> String {
        loop {
            while let Some((line, rest)) = self.text.split_once("\r\n") {
                let line = line.to_owned();
                self.text = rest.to_owned();
                if line.starts_with(start) {
                    return line;
                }
            }
            assert!(self.read().await, "{start:?} did not come");
        }
    }

    /// Returns the contents of the close frame at the end.
    async fn end(&mut self) -> Option<(u16, String)> {
        while self.read().await {}
        let close = self.close.take()?;
        let (status, text) = close.split_first_chunk()?;
        Some((u16::from_be_bytes(*status), String::from_utf8(text.to_vec()).unwrap()))
    }

    async fn read(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        let len = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("nothing came");
        let len = len.unwrap();
        let mut at = 0;
        loop {
            let decoded = self.decoder.decode(&mut bytes[at..len]).unwrap();
            at += decoded.used;
            match decoded.event {
                Some(Event::Data(data)) => {
                    self.text.push_str(std::str::from_utf8(data.bytes).unwrap());
                }
                Some(Event::Close(payload)) => self.close = Some(payload.to_vec()),
                Some(Event::Pong(payload)) => {
                    self.text.push_str("(pong ");
                    self.text.push_str(std::str::from_utf8(payload).unwrap());
                    self.text.push_str(")\r\n");
                }
                Some(Event::Ping(_)) => {}
                None => break,
            }
        }
        len > 0
    }
}

#[tokio::test]
async fn an_official_client_publishes_and_subscribes_over_websocket() {
    let server = server(options(|_| ())).await;
    let client = async_nats::connect(server.websocket_url().unwrap()).await.unwrap();
    let other = async_nats::connect(server.url()).await.unwrap();
    let mut orders = client.subscribe("orders").await.unwrap();
    client.flush().await.unwrap();
    let large = "x".repeat(500_000);
    for payload in ["one", &large, "three"] {
        other.publish("orders", payload.to_owned().into()).await.unwrap();
    }
    for payload in ["one", &large, "three"] {
        let message = timeout(PATIENCE, orders.next()).await.unwrap().unwrap();
        assert!(message.payload == payload, "{} bytes", message.payload.len());
    }
    let mut replies = other.subscribe("to.tcp").await.unwrap();
    other.flush().await.unwrap();
    client.publish("to.tcp", large.clone().into()).await.unwrap();
    let message = timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
    assert!(message.payload == large);
}

#[tokio::test]
async fn the_handshake_response_equals_that_of_the_reference() {
    let server = server(options(|options| {
        options.compression = true;
        options.headers.add("X-A", "b").unwrap();
    }))
    .await;
    let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\nNats-No-Masking: true\r\n";
    let (_, answer) = Raw::connect(&server, lines).await;
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
         client_no_context_takeover\r\n\
         Nats-No-Masking: true\r\nX-A: b\r\n\r\n"
    );
}

#[tokio::test]
async fn info_lists_the_websocket_address() {
    let server = server(options(|options| {
        options.connect_urls = vec!["example.com:443".to_owned()];
    }))
    .await;
    let (_, info) = Raw::greeted(&server, "").await;
    let port = server.websocket_addr().unwrap().port();
    assert!(info.contains(&format!(r#""host":"127.0.0.1","port":{port},"#)), "{info}");
    assert!(info.contains(r#""connect_urls":["example.com:443"]"#), "{info}");
    assert!(info.contains(r#""client_ip":"127.0.0.1""#), "{info}");
}

#[tokio::test]
async fn operations_may_be_split_into_frames_anywhere_with_pings_between() {
    let server = server(options(|_| ())).await;
    let (mut raw, _) = Raw::greeted(&server, "").await;
    raw.frame(0x01, b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPU").await;
    raw.frame(0x89, b"are you there").await;
    raw.frame(0x00, b"").await;
    raw.frame(0x80, b"B a 2\r\nhi\r\n").await;
    raw.expect("(pong are you there)").await;
    assert_eq!(raw.expect("MSG").await, "MSG a 1 2");
    assert_eq!(raw.expect("hi").await, "hi");
}

#[tokio::test]
async fn a_refused_request_gets_an_error_and_is_closed() {
    let server = server(options(|options| options.same_origin = true)).await;
    for (request, first) in [
        (GOOD.replace("GET", "POST"), "HTTP/1.1 405 Method Not Allowed"),
        (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), "HTTP/1.1 400 Bad Request"),
        (GOOD.replace(": 13", ": 8"), "HTTP/1.1 400 Bad Request"),
        (format!("{GOOD}Origin: http://evil.org\r\n"), "HTTP/1.1 403 Forbidden"),
        (GOOD.replace("GET /", "GET /mqtt"), "HTTP/1.1 404 Not Found"),
        (
            GOOD.replace("Host: localhost\r\n", ""),
            "HTTP/1.1 400 Bad Request: missing required Host header",
        ),
        (String::from("CONNECT {}\r\n"), "HTTP/1.1 400 Bad Request"),
        (
            format!("{GOOD}X: {}\r\n", "x".repeat(10_000)),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
    ] {
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        timeout(PATIENCE, reading).await.expect("it must end").unwrap();
        assert_eq!(answer.lines().next(), Some(first), "{answer}");
    }
}

#[tokio::test]
async fn frames_before_the_response_close_the_connection_silently() {
    let server = server(options(|_| ())).await;
    let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
    stream.write_all(format!("{GOOD}\r\n\x09").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn an_incomplete_request_is_closed_within_two_seconds() {
    let server = server(options(|_| ())).await;
    for start in ["", "GET / HTTP/1.1\r\nHost: x\r\n", "G"] {
        let since = Instant::now();
        let mut stream = TcpStream::connect(server.websocket_addr().unwrap()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(since.elapsed() < Duration::from_millis(3500), "{:?}", since.elapsed());
        assert_eq!(answer, b"");
    }
}

#[tokio::test]
async fn a_closed_client_receives_the_close_status_of_the_reference() {
    let server = server(options(|_| ())).await;
    for (said, close) in [
        ("PUB a 9000000\r\n", (1009, "Maximum Message Payload Exceeded")),
        ("NONSENSE\r\n", (1002, "Protocol Violation")),
    ] {
        let (mut raw, _) = Raw::greeted(&server, "").await;
        raw.say(said).await;
        let (status, text) = raw.end().await.unwrap();
        assert_eq!((status, text.as_str()), close);
    }
    let (mut raw, _) = Raw::greeted(&server, "").await;
    raw.say("PING\r\n").await;
    raw.expect("PONG").await;
    let (closed, ()) = tokio::join!(raw.end(), server.shutdown());
    assert_eq!(closed.unwrap(), (1001, "Server Shutdown".to_owned()));
}

#[tokio::test]
async fn a_frame_error_is_reported_in_the_close_frame() {
    let server = server(options(|_| ())).await;
    for (frame, text) in [
        (&b"\x83\x80\0\0\0\0"[..], "unknown opcode 3"),
        (b"\x82\x01x", "mask bit missing"),
        (b"\xc2\x80\0\0\0\0", "compressed frame received without negotiated permessage-deflate"),
        (b"\x88\x82\0\0\0\0\x03\xed", "invalid close status code 1005"),
    ] {
        let (mut raw, _) = Raw::greeted(&server, "").await;
        raw.stream.write_all(frame).await.unwrap();
        assert_eq!(raw.end().await, Some((1002, text.to_owned())));
    }
}

#[tokio::test]
async fn a_client_that_keeps_sending_receives_the_close_frame() {
    let server = server(options(|options| options.compression = true)).await;
    for lines in ["", "Sec-WebSocket-Extensions: permessage-deflate\r\n"] {
        let (mut raw, _) = Raw::connect(&server, lines).await;
        raw.stream.write_all(b"\x83\x80\0\0\0\0").await.unwrap();
        let _ = raw.stream.write_all(&vec![b'x'; 200_000]).await;
        raw.decoder = Decoder::new().allow_bare(true).allow_compressed(true);
        let mut all = Vec::new();
        timeout(PATIENCE, raw.stream.read_to_end(&mut all)).await.unwrap().unwrap();
        assert!(all.ends_with(b"\x88\x12\x03\xeaunknown opcode 3"), "{all:?}");
    }
}

#[tokio::test]
async fn lame_duck_mode_sends_close_frames() {
    let server = server(options(|_| ())).await;
    let (mut raw, _) = Raw::greeted(&server, "").await;
    raw.say("CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB a 1\r\nPING\r\n").await;
    raw.expect("PONG").await;
    let plan = broker_net::LameDuck::new(Duration::from_millis(200), Duration::from_millis(50));
    let (end, ()) = tokio::join!(raw.end(), server.lame_duck(plan));
    assert_eq!(end, Some((1001, "Server Shutdown".to_owned())));
    assert!(raw.text.contains(r#""ldm":true"#), "{}", raw.text);
}

#[tokio::test]
async fn a_close_is_answered_and_ends_the_connection() {
    let server = server(options(|_| ())).await;
    let (mut raw, _) = Raw::greeted(&server, "").await;
    raw.say("SUB a 1\r\nPING\r\n").await;
    raw.expect("PONG").await;
    raw.frame(0x88, b"\x03\xe8bye").await;
    assert_eq!(raw.end().await, Some((1000, "bye".to_owned())));
}

#[tokio::test]
async fn cookies_supply_credentials_missing_in_connect() {
    let options = options(|options| options.cookies.token = "tok".to_owned());
    let builder = Server::builder().websocket(options);
    let server = builder.authenticator(Token::new("s3cr3t")).bind().await.unwrap();

    let (mut raw, info) = Raw::greeted(&server, "Cookie: tok=s3cr3t\r\n").await;
    assert!(info.contains(r#""auth_required":true"#), "{info}");
    raw.say("CONNECT {}\r\nPING\r\n").await;
    raw.expect("PONG").await;

    let (mut raw, _) = Raw::greeted(&server, "Cookie: tok=s3cr3t\r\n").await;
    raw.say("CONNECT {\"auth_token\":\"other\"}\r\nPING\r\n").await;
    raw.expect("-ERR 'Authorization Violation'").await;
    assert_eq!(raw.end().await, Some((1008, "Authentication Failure".to_owned())));

    let (mut raw, _) = Raw::greeted(&server, "Cookie: other=s3cr3t\r\n").await;
    raw.say("CONNECT {}\r\nPING\r\n").await;
    raw.expect("-ERR 'Authorization Violation'").await;
}

#[tokio::test]
async fn websocket_can_have_its_own_authenticator() {
    let builder = Server::builder().websocket(options(|_| ()));
    let server = builder.websocket_authenticator(Token::new("s3cr3t")).bind().await.unwrap();
    let (_, info) = Raw::greeted(&server, "").await;
    assert!(info.contains(r#""auth_required":true"#), "{info}");
    async_nats::connect(server.url()).await.expect("TCP accepts all clients");
    let with_token = async_nats::ConnectOptions::with_token("s3cr3t".to_owned());
    with_token.connect(server.websocket_url().unwrap()).await.unwrap();
}

#[tokio::test]
async fn websocket_can_have_its_own_ping_interval() {
    let every = Duration::from_millis(100);
    let server = server(options(|options| options.ping_interval = Some(every))).await;
    let (mut raw, _) = Raw::greeted(&server, "").await;
    raw.say("CONNECT {}\r\n").await;
    raw.expect("PING").await;
    raw.say("PONG\r\n").await;
    raw.expect("PING").await;
}

#[tokio::test]
async fn many_messages_are_compressed_in_both_directions() {
    let server = server(options(|options| options.compression = true)).await;
    let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut raw, _) = Raw::connect(&server, lines).await;
    let mut deflate = broker_net::websocket::Deflate::new();
    let mut said = String::from("CONNECT {\"verbose\":false}\r\nSUB a 1\r\n");
    (0..1000).for_each(|at| said.push_str(&format!("PUB a 8\r\n{at:08}\r\n")));
    said.push_str("PING\r\n");
    let message = deflate.message([said.as_bytes()].into_iter(), 15).to_vec();
    let (front, back) = message.split_at(message.len() / 2);
    raw.frame(0x42, front).await;
    raw.frame(0x80, back).await;
    let got = inflate(&mut raw.stream, "PONG\r\n").await;
    assert_eq!(got.matches("MSG a 1 8\r\n").count(), 1000);
    assert!(got.contains("00000999\r\n"));
}

/// Reads compressed or plain frames until the text ends with `end`.
async fn inflate(stream: &mut TcpStream, end: &str) -> String {
    let mut decoder = Decoder::new().allow_bare(true).allow_compressed(true);
    let mut inflate = broker_net::websocket::Inflate::new(64 << 20);
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        let mut bytes = vec![0; 64 << 10];
        let len = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("nothing came").unwrap();
        let mut at = 0;
        loop {
            let decoded = decoder.decode(&mut bytes[at..len]).unwrap();
            at += decoded.used;
            let Some(event) = decoded.event else { break };
            let Event::Data(data) = event else { continue };
            if !data.is_compressed {
                got.extend_from_slice(data.bytes);
                continue;
            }
            inflate.push(data.bytes, data.is_last, true).unwrap();
            let mut room = vec![0; 64 << 10];
            while inflate.is_ready() {
                let len = inflate.pull(&mut room).unwrap();
                got.extend_from_slice(&room[..len]);
            }
        }
    }
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn only_tls_of_websocket_can_change_while_it_serves() {
    let server = server(options(|_| ())).await;
    let mut next: ServerOptions = server.options();
    server.apply(next.clone(), None).await.unwrap();
    next.websocket.as_mut().unwrap().headers = {
        let mut headers = ExtraHeaders::default();
        headers.add("X", "y").unwrap();
        headers
    };
    let error = server.apply(next, None).await.unwrap_err().to_string();
    assert!(error.starts_with("config reload not supported for Websocket: old=127.0"), "{error}");
}
