//! Every kind of listener, opened by a configuration file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use broker_bin::options::{self, Request};
use broker_bin::{Daemon, Options, StartError};

use crate::file::File;
use crate::running::{Running, natsd, text, until};
use crate::websocket::{Frame, Websocket, websocket_port};

const CONNECT: &str = "CONNECT {\"verbose\":false}\r\n";
const PLAIN: &str = "websocket { host: '127.0.0.1', port: -1, no_tls: true }";

/// A client over any stream.
struct Client<S>(BufReader<S>);

impl<S: std::io::Read + std::io::Write> Client<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, what: &str) -> String {
        self.send(what);
        self.line()
    }

    fn send(&mut self, what: &str) {
        self.0.get_mut().write_all(what.as_bytes()).unwrap();
    }
}

fn tcp(natsd: &mut Running) -> Client<TcpStream> {
    let line = natsd.line("Listening for client connections on ");
    let stream = TcpStream::connect(line.rsplit(' ').next().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    Client::new(stream)
}

fn unix(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    Client::new(stream)
}

fn start(content: &str) -> (File, Running) {
    let file = File::new(content);
    let natsd = Running::start(&["-c", file.path()]);
    (file, natsd)
}

#[test]
fn messages_pass_between_all_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("natsd.sock");
    let (_file, mut natsd) = start(&format!(
        "{PLAIN}, listen_unix: {:?}, proxy_protocol: true",
        socket.to_str().unwrap()
    ));
    let mut web = Websocket::open(websocket_port(&mut natsd));
    natsd.line("[WRN] Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
    let mut proxied = tcp(&mut natsd);
    natsd.line("[INF] PROXY protocol enabled for client connections");
    let line = natsd.line("[INF] Listening for local clients on ");
    assert!(line.ends_with(&format!("unix:{}", socket.display())), "{line}");
    natsd.line("Server is ready");
    let mut local = unix(&socket);

    let info = proxied.say("PROXY TCP4 192.0.2.7 192.0.2.1 40000 4222\r\n");
    assert!(info.contains("\"client_ip\":\"192.0.2.7\""), "{info}");
    assert!(local.line().starts_with("INFO "));
    assert_eq!(local.say(&format!("{CONNECT}SUB x 1\r\nPING\r\n")), "PONG\r\n");
    assert_eq!(proxied.say(&format!("{CONNECT}SUB x 2\r\nPING\r\n")), "PONG\r\n");
    assert_eq!(web.say(&format!("{CONNECT}SUB x 3\r\nPING\r\n")), "PONG\r\n");
    let heard =
        |local: &mut Client<_>, proxied: &mut Client<_>, web: &mut Websocket, from: &str| {
            let expect = |sid| format!("MSG x {sid} {}\r\n{from}\r\n", from.len());
            assert_eq!(local.line() + &local.line(), expect(1));
            assert_eq!(proxied.line() + &proxied.line(), expect(2));
            assert_eq!(web.line() + &web.line(), expect(3));
        };
    local.send("PUB x 4\r\nunix\r\n");
    heard(&mut local, &mut proxied, &mut web, "unix");
    proxied.send("PUB x 5\r\nproxy\r\n");
    heard(&mut local, &mut proxied, &mut web, "proxy");
    web.send("PUB x 9\r\nwebsocket\r\n");
    heard(&mut local, &mut proxied, &mut web, "websocket");

    natsd.signal("TERM");
    assert_eq!(web.frame(), Some(Frame::close(1001, "Server Shutdown")));
    assert_eq!((local.line().as_str(), proxied.line().as_str()), ("", ""));
    assert_eq!(natsd.ended().0.code(), Some(0));
    assert!(!socket.exists(), "its file is gone");
}

#[test]
fn lame_duck_mode_closes_clients_of_all_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("natsd.sock");
    let (_file, mut natsd) = start(&format!(
        "{PLAIN}, listen_unix: {:?}, lame_duck_duration: '30s', lame_duck_grace_period: '10ms'",
        socket.to_str().unwrap()
    ));
    let port = websocket_port(&mut natsd);
    let mut web = Websocket::open(port);
    natsd.line("Server is ready");
    let mut local = unix(&socket);
    assert!(local.line().starts_with("INFO "));
    let connect = "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
    assert_eq!(web.say(connect), "PONG\r\n");
    assert!(web.line().starts_with("INFO "));
    assert_eq!(local.say(connect), "PONG\r\n");
    assert!(local.line().starts_with("INFO "));
    natsd.signal("USR2");
    assert!(web.line().contains("\"ldm\":true"));
    assert!(local.line().contains("\"ldm\":true"));
    until("the WebSocket port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
    until("the socket file is closed", || !socket.exists());
    while web.frame().is_some() {}
    assert_eq!(local.line(), "");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn the_options_of_the_websocket_block_apply() {
    let (_file, mut natsd) = start(
        "authorization { users: [ { user: a, password: x }, { user: b, password: y, \
         allowed_connection_types: [STANDARD] }, { user: guest } ] }\n\
         websocket { host: '127.0.0.1', port: -1, no_tls: true, compression: true, \
         user_cookie: u, pass_cookie: p, headers { X-Served-By: natsd }, no_auth_user: guest, \
         ping_interval: '100ms', allowed_origins: ['https://example.org'] }",
    );
    let port = websocket_port(&mut natsd);
    // Other listeners have no guest user.
    assert!(tcp(&mut natsd).line().contains("\"auth_required\":true"));
    let compressed = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
    let (answer, web) = Websocket::ask(port, compressed);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Extensions: permessage-deflate;"), "{answer}");
    assert!(answer.contains("\r\nX-Served-By: natsd\r\n"), "{answer}");
    drop(web);

    let (answer, _) = Websocket::ask(port, "Origin: https://example.com\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    natsd.line("websocket handshake error: origin not allowed: not in the allowed list");
    let (answer, _) = Websocket::ask(port, "Origin: https://example.org\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");

    // Without credentials the client is the guest; with cookies it is the user that they name.
    let who = |cookies: &str, connect: &str| {
        let mut web = Websocket::open_with(port, cookies);
        web.say(&format!("{connect}\r\nPING\r\n"))
    };
    let nothing = "CONNECT {\"verbose\":false}";
    assert_eq!(who("", nothing), "PONG\r\n");
    assert_eq!(who("Cookie: u=a; p=x\r\n", nothing), "PONG\r\n");
    let refused = "-ERR 'Authorization Violation'\r\n";
    assert_eq!(who("Cookie: u=a; p=wrong\r\n", nothing), refused);
    let shown = "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"x\"}";
    assert_eq!(who("Cookie: p=wrong\r\n", shown), "PONG\r\n");
    assert_eq!(who("Cookie: u=b; p=y\r\n", nothing), refused, "not by WebSocket");

    let mut web = Websocket::open(port);
    assert_eq!(web.say(&format!("{nothing}\r\nPING\r\n")), "PONG\r\n");
    assert_eq!(web.line(), "PING\r\n", "at the interval of the block");
}

#[test]
fn credentials_of_the_websocket_block_apply_to_websocket_only() {
    for (set, right) in [
        ("user: w, password: p", "\"user\":\"w\",\"pass\":\"p\""),
        ("token: t", "\"auth_token\":\"t\""),
    ] {
        let (_file, mut natsd) = start(&format!(
            "websocket {{ host: '127.0.0.1', port: -1, no_tls: true, authorization {{ {set}, timeout: 0.2 }} }}"
        ));
        let port = websocket_port(&mut natsd);
        let say = |shown: &str| {
            Websocket::open(port).say(&format!("CONNECT {{\"verbose\":false{shown}}}\r\nPING\r\n"))
        };
        assert_eq!(say(&format!(",{right}")), "PONG\r\n");
        assert_eq!(say(",\"user\":\"w\",\"pass\":\"wrong\""), "-ERR 'Authorization Violation'\r\n");
        assert_eq!(Websocket::open(port).line(), "-ERR 'Authentication Timeout'\r\n");
        let mut other = tcp(&mut natsd);
        other.line();
        assert_eq!(other.say(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    }
}

#[test]
fn the_handshake_timeout_of_the_block_applies() {
    let (_file, mut natsd) =
        start("websocket { host: '127.0.0.1', port: -1, no_tls: true, handshake_timeout: '50ms' }");
    let mut stream = TcpStream::connect(("127.0.0.1", websocket_port(&mut natsd))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let since = Instant::now();
    let _ = stream.read(&mut [0; 16]);
    // Earlier than the client's own timeout.
    assert!(since.elapsed() < Duration::from_millis(1900), "{:?}", since.elapsed());
}

#[test]
fn ports_file_and_monitoring_list_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, mut natsd) = start(&format!(
        "http: '127.0.0.1:-1', ports_file_dir: {:?}\n\
         websocket {{ host: '127.0.0.1', port: -1, no_tls: true, compression: true, same_origin: true, \
         advertise: 'example.org:443', authorization {{ user: w, password: s3cret, timeout: 5 }} }}",
        dir.path().to_str().unwrap()
    ));
    let http = natsd.line("Starting http monitor on ");
    let port = websocket_port(&mut natsd);
    natsd.line("Server is ready");
    let path = dir.path().join(format!("natsd_{}.ports", natsd.pid()));
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(ports["websocket"], serde_json::json!([format!("ws://127.0.0.1:{port}")]));

    let mut web = Websocket::open(port);
    let connect = "CONNECT {\"verbose\":false,\"user\":\"w\",\"pass\":\"s3cret\"}\r\nPING\r\n";
    assert_eq!(web.say(connect), "PONG\r\n");
    let seen = |path: &str| -> serde_json::Value {
        let mut stream = TcpStream::connect(http.rsplit(' ').next().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert_eq!(
        seen("/varz")["websocket"],
        serde_json::json!({
            "host": "127.0.0.1", "port": port, "advertise": "example.org:443",
            "handshake_timeout": 2_000_000_000, "auth_timeout": 5, "no_tls": true,
            "same_origin": true, "compression": true,
        })
    );
    let connection = &seen("/connz?auth=1")["connections"][0];
    assert_eq!(connection["type"], "websocket");
    assert_eq!(connection["ip"], "127.0.0.1");
    assert_eq!(connection["authorized_user"], "w");
    assert_eq!(seen("/healthz")["status"], "ok");
}

/// The WebSocket listener uses the top level's list of users, so that a reload can change it.
#[test]
fn removing_a_user_by_reload_closes_its_websocket_clients() {
    let users = |users: &str| {
        format!(
            "authorization {{ users: [ {users} {{ user: guest }} ] }}\n\
             websocket {{ host: '127.0.0.1', port: -1, no_tls: true, no_auth_user: guest }}"
        )
    };
    let (file, mut natsd) = start(&users("{ user: a, password: x },"));
    let port = websocket_port(&mut natsd);
    let connect = "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"x\"}\r\nPING\r\n";
    let mut web = Websocket::open(port);
    assert_eq!(web.say(connect), "PONG\r\n");
    let mut guest = Websocket::open(port);
    assert_eq!(guest.say(&format!("{CONNECT}PING\r\n")), "PONG\r\n");
    file.write(&users(""));
    natsd.signal("HUP");
    natsd.line("Reloaded server configuration");
    while web.frame().is_some() {}
    assert_eq!(Websocket::open(port).say(connect), "-ERR 'Authorization Violation'\r\n");
    assert_eq!(guest.say("PING\r\n"), "PONG\r\n", "the guest stays connected");
}

#[test]
fn an_invalid_proxy_header_is_logged_and_the_connection_closed() {
    let (_file, mut natsd) = start("proxy_protocol: true");
    let mut client = tcp(&mut natsd);
    client.send("PROXY TCP4 nonsense\r\n");
    // The client's last input was not read, so that the connection may be reset.
    assert!(matches!(client.0.read(&mut [0; 16]), Ok(0) | Err(_)));
    let line = natsd.line("[WRN] Error reading PROXY protocol header from 127.0.0.1:");
    assert!(line.contains("invalid PROXY protocol header"), "{line}");
}

#[test]
fn invalid_options_are_refused_before_anything_listens() {
    for (content, said) in [
        (
            "websocket { port: -1 }",
            "1:11: websocket requires TLS configuration (or no_tls: true, where something else encrypts)",
        ),
        (
            "websocket { port: -1, no_tls: true, origin: 'ftp://h' }",
            "1:45: websocket: unable to parse allowed origin \"ftp://h\": allowed origins must be absolute URLs \
             with http or https scheme",
        ),
        ("listen_unix { mode: 660 }", "1:13: listen_unix: path must be given"),
        (
            "listen_unix { path: '/x', mode: 888 }",
            "1:33: listen_unix.mode: expected permissions of a file",
        ),
    ] {
        let file = File::new(content);
        let output = natsd(&["-c", file.path()]);
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("natsd: {}:{said}", file.path());
        assert!(text(&output.stderr).starts_with(&expected), "{}", text(&output.stderr));
    }
}

#[test]
fn a_port_in_use_is_reported_with_its_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file =
        File::new(&format!("websocket {{ listen: '127.0.0.1:{port}', no_tls: true }}, port: -1"));
    let output = natsd(&["-c", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("[FTL] Unable to listen for websocket connections: 127.0.0.1:{port}, \"");
    assert!(text(&output.stderr).contains(&expected), "{}", text(&output.stderr));
}

#[test]
fn the_socket_file_has_the_configured_permissions() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("natsd.sock");
    let mode = || std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    for (more, expected) in [("", 0o600), (", mode: 0660", 0o660), (", mode: '666'", 0o666)] {
        let (_file, mut natsd) =
            start(&format!("listen_unix {{ path: {:?} {more} }}", socket.to_str().unwrap()));
        natsd.line("Server is ready");
        assert_eq!(mode(), expected, "{more}");
        natsd.signal("TERM");
        natsd.ended();
    }
}

async fn daemon(content: &str) -> Result<Daemon, StartError> {
    let file = File::new(content);
    let request = Request { file: Some(file.path().into()), ..Request::default() };
    Daemon::start_loaded(options::load(&request).unwrap()).await
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("natsd.sock");
    let content =
        format!("host: '127.0.0.1', port: -1, listen_unix: {:?}", socket.to_str().unwrap());
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "left behind");
    let first = daemon(&content).await.unwrap();
    assert_eq!(first.unix_path().as_deref(), Some(&*socket));

    let error = daemon(&content).await.expect_err("the socket is in use");
    assert!(matches!(error, StartError::Unix { .. }), "{error:?}");
    let said = format!("Unable to listen for local client connections: {}, ", socket.display());
    assert!(error.to_string().starts_with(&said), "{error}");
    assert!(UnixStream::connect(&socket).is_ok(), "the first server still serves");
    first.stop().await;
    assert!(!socket.exists());

    std::fs::write(&socket, "precious").unwrap();
    let error = daemon(&content).await.expect_err("a file is there");
    assert!(error.to_string().contains("there is something else than a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_program_can_query_the_addresses() {
    let mut options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
    options.websocket.host = Some("127.0.0.1".into());
    options.websocket.port = -1;
    options.websocket.no_tls = true;
    let daemon = Daemon::start(options).await.unwrap();
    let address = daemon.websocket_addr().unwrap();
    assert_eq!(daemon.unix_path(), None);
    let web = tokio::task::spawn_blocking(move || Websocket::open(address.port())).await;
    drop(web.unwrap());
    daemon.stop().await;
}
