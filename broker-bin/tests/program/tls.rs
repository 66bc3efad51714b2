//! TLS from the command line and the configuration file.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_core::auth::Secret;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::running::{Running, natsd, text};

/// A self-signed certificate for `localhost`, and its key.
pub(crate) struct Files {
    certificate: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            certificate: CertificateDer::from(Vec::new()),
            folder: tempfile::tempdir().unwrap(),
        };
        files.renew()
    }

    pub(crate) fn renew(self) -> Self {
        self.renew_changed(|_| {})
    }

    /// Renews the certificate after applying `change` to its parameters.
    fn renew_changed(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        self.certificate = certificate.der().clone();
        self
    }

    /// Serves these texts over HTTPS, each under its name, until the process ends. Returns the URL before the names.
    pub(crate) fn serve_over_https(&self, texts: [(String, Secret); 2]) -> String {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        let (config, listener) =
            (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, stream.unwrap());
                let mut head = [0; 4096];
                // The other side may not accept the certificate.
                let Ok(length) = stream.read(&mut head) else { continue };
                let head = String::from_utf8_lossy(&head[..length]);
                let text =
                    texts.iter().find(|(name, _)| head.contains(&**name)).unwrap().1.expose();
                let size = text.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{text}").unwrap();
            }
        });
        format!("https://localhost:{port}/")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn configuration(&self, more: &str) -> String {
        let text = format!(
            "tls {{ cert_file: {:?}, key_file: {:?} {more} }}",
            self.text("cert.pem"),
            self.text("key.pem")
        );
        std::fs::write(self.path("natsd.conf"), text).unwrap();
        self.text("natsd.conf")
    }
}

/// Reads INFO, upgrades to TLS and reads PONG.
async fn talk(port: u16, certificate: &CertificateDer<'static>) -> (String, String) {
    let (info, stream) = upgrade(port, certificate).await;
    let mut stream = BufReader::new(stream.unwrap());
    stream.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    let mut pong = String::new();
    stream.read_line(&mut pong).await.unwrap();
    (info, pong)
}

/// Returns true if a listener that uses TLS from the start presents this certificate.
pub(crate) fn shows(port: u16, files: &Files) -> bool {
    let connecting = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector(&files.certificate).connect(name, stream).await.is_ok()
    };
    tokio::runtime::Runtime::new().unwrap().block_on(connecting)
}

/// Reads INFO and upgrades to TLS, expecting this certificate.
async fn upgrade(
    port: u16,
    certificate: &CertificateDer<'static>,
) -> (String, std::io::Result<TlsStream<TcpStream>>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut info = String::new();
    BufReader::with_capacity(1, &mut stream).read_line(&mut info).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (info, connector(certificate).connect(name, stream).await)
}

fn connector(certificate: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn port(program: &mut Running) -> u16 {
    let line = program.line("Listening for client connections on ");
    line.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn flags_and_a_file_enable_tls() {
    let files = Files::new();
    let (cert, key) = (files.text("cert.pem"), files.text("key.pem"));
    let file = files.configuration("");
    for args in [
        &["--tls", "--tlscert", &cert, "--tlskey", &key][..],
        &["--tlscert", &cert, "--tlskey", &key],
        &["-c", &file],
    ] {
        let mut program = Running::start(args);
        let port = port(&mut program);
        program.line("TLS required for client connections");
        let (info, pong) = talk(port, &files.certificate).await;
        assert!(info.contains("\"tls_required\":true"), "{info}");
        assert_eq!(pong, "PONG\r\n");
    }
}

#[tokio::test]
async fn a_flag_disables_tls_of_a_file() {
    let files = Files::new();
    let file = files.configuration("");
    let mut program = Running::start(&["-c", &file, "--tls=false"]);
    let stream = TcpStream::connect(("127.0.0.1", port(&mut program))).await.unwrap();
    let mut info = String::new();
    BufReader::new(stream).read_line(&mut info).await.unwrap();
    assert!(!info.contains("tls_required"), "{info}");
}

#[test]
fn an_unusable_file_is_reported_with_its_place_without_its_contents() {
    let files = Files::new();
    let key = std::fs::read_to_string(files.path("key.pem")).unwrap();
    for (more, expected) in [
        (
            ", verify: true",
            "client certificates can only be verified with a file of those who sign them (ca_file)",
        ),
        (
            ", ca_file: \"/none\", verify: true",
            "cannot read the certificate of an authority /none: No such file or directory (os error 2)",
        ),
        (
            ", cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]",
            "cipher suite TLS_RSA_WITH_RC4_128_SHA is not supported: natsd offers only suites with forward secrecy and authenticated encryption",
        ),
        (
            ", curve_preferences: [CurveP521]",
            "curve CurveP521 is not supported: the library that natsd was built with does not have it",
        ),
        (
            ", certs: [{ cert_file: a.pem, key_file: a.key }]",
            "cannot combine 'cert_file' option with 'certs' option",
        ),
        (
            ", verify_cert_and_check_known_urls: true",
            "verify_cert_and_check_known_urls not supported in this context",
        ),
    ] {
        let file = files.configuration(more);
        for args in [&["-c", &file, "-t"][..], &["-c", &file]] {
            let output = natsd(args);
            assert_eq!(output.status.code(), Some(1));
            let said = text(&output.stderr);
            assert_eq!(said, format!("natsd: {file}:1:5: tls: {expected}\n"));
            assert!(!said.contains(&key[30..60]));
        }
    }
}

#[test]
fn a_certificate_without_its_key_is_refused_in_every_block() {
    let files = Files::new();
    let file = files.text("natsd.conf");
    for (block, path) in [
        ("tls { cert_file: cert.pem }", "tls"),
        ("websocket { tls { cert_file: cert.pem } }", "websocket.tls"),
        ("websocket { port: -1, tls { cert_file: cert.pem } }", "websocket.tls"),
        ("cluster { tls { cert_file: cert.pem } }", "cluster.tls"),
    ] {
        std::fs::write(&file, block).unwrap();
        for args in [&["-c", &file, "-t"][..], &["-c", &file]] {
            let output = natsd(args);
            assert_eq!(output.status.code(), Some(1), "{block}");
            let said = text(&output.stderr);
            let expected = format!(": {path}: missing 'key_file' in TLS configuration\n");
            assert!(said.ends_with(&expected), "{said}");
        }
    }
}

#[tokio::test]
async fn files_are_watched_if_configured() {
    let files = Files::new();
    let file = files.configuration(", watch: true");
    let mut program = Running::start(&["-c", &file]);
    let port = port(&mut program);
    talk(port, &files.certificate).await;
    let files = files.renew();
    program.line("Reloaded: tls = files have changed");
    talk(port, &files.certificate).await;
}

#[test]
fn cipher_suites_are_listed() {
    let output = natsd(&["--help_tls"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("TLS_AES_256_GCM_SHA384"));
}

#[tokio::test]
async fn a_reload_reads_the_files_again() {
    let files = Files::new();
    let file = files.configuration("");
    let mut program = Running::start(&["-c", &file]);
    let port = port(&mut program);
    talk(port, &files.certificate).await;
    let files = files.renew();
    program.signal("HUP");
    program.line("Reloaded server configuration");
    talk(port, &files.certificate).await;
    std::fs::write(files.path("key.pem"), "broken").unwrap();
    program.signal("HUP");
    let line = program.line("Failed to reload server configuration");
    assert!(line.contains("there is no private key in"), "{line}");
    talk(port, &files.certificate).await;
}

/// Connects, sends `say`, and waits until the server has processed it.
async fn join(port: u16, files: &Files, say: &str) -> BufReader<TlsStream<TcpStream>> {
    let (_, stream) = upgrade(port, &files.certificate).await;
    let mut stream = BufReader::new(stream.unwrap());
    let all = format!("CONNECT {{\"verbose\":false}}\r\n{say}PING\r\n");
    stream.get_mut().write_all(all.as_bytes()).await.unwrap();
    assert_eq!(line(&mut stream).await, "PONG\r\n");
    stream
}

/// Returns the next line other than PING.
async fn line(stream: &mut BufReader<TlsStream<TcpStream>>) -> String {
    loop {
        let mut line = String::new();
        let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_line(&mut line));
        reading.await.expect("in time").unwrap();
        if line != "PING\r\n" {
            return line;
        }
    }
}

/// Publishes numbers until stopped; returns their count.
async fn publish(
    mut stream: BufReader<TlsStream<TcpStream>>,
    stop: tokio::sync::watch::Receiver<bool>,
) -> u32 {
    let mut sent = 0;
    while !*stop.borrow() {
        let mut batch = String::new();
        for _ in 0..50 {
            batch += &format!("PUB a 8\r\n{sent:08}\r\n");
            sent += 1;
        }
        batch += "PING\r\n";
        stream.get_mut().write_all(batch.as_bytes()).await.unwrap();
        assert_eq!(line(&mut stream).await, "PONG\r\n");
    }
    stream.get_mut().write_all(b"PUB a 8\r\nthe last\r\nPING\r\n").await.unwrap();
    assert_eq!(line(&mut stream).await, "PONG\r\n");
    sent
}

/// Reads all numbers up to the last, checking their order; returns their count.
async fn receive(mut stream: BufReader<TlsStream<TcpStream>>) -> u32 {
    for number in 0.. {
        assert_eq!(line(&mut stream).await, "MSG a 1 8\r\n");
        match &*line(&mut stream).await {
            "the last\r\n" => return number,
            payload => assert_eq!(payload, format!("{number:08}\r\n")),
        }
    }
    unreachable!("more messages than published")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_and_no_connection_is_lost_when_certificates_change() {
    for (more, is_told) in [("", true), (", watch: true", false)] {
        let mut files = Files::new();
        let file = files.configuration(more);
        let mut program = Running::start(&["-c", &file]);
        let port = port(&mut program);
        let subscriber = join(port, &files, "SUB a 1\r\n").await;
        let publisher = join(port, &files, "").await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let publishing = tokio::spawn(publish(publisher, stopped));
        let receiving = tokio::spawn(receive(subscriber));
        for _ in 0..3 {
            files = files.renew();
            if is_told {
                program.signal("HUP");
            }
            let becomes = async { while upgrade(port, &files.certificate).await.1.is_err() {} };
            tokio::time::timeout(Duration::from_secs(30), becomes).await.expect("the new one");
        }
        stop.send(true).unwrap();
        assert_eq!(receiving.await.unwrap(), publishing.await.unwrap());
    }
}

#[test]
fn an_expiring_certificate_is_logged_at_the_start_and_at_a_reload() {
    let ends_in = |files: Files, days: u32| {
        files.renew_changed(|params| {
            let (now, day) = (SystemTime::now(), Duration::from_hours(24));
            params.not_before = (now - 300 * day).into();
            params.not_after = (now + days * day + Duration::from_secs(3600)).into();
        })
    };
    let files = ends_in(Files::new(), 9);
    let file = files.configuration("");
    let mut program = Running::start(&["-c", &file]);
    let line = program.line("TLS certificate");
    let name = files.text("cert.pem");
    assert!(line.contains(&format!("[WRN] The TLS certificate in {name} expires in 9 days, at ")));
    program.line("Server is ready");
    let _files = ends_in(files, 3);
    program.signal("HUP");
    let line = program.line("TLS certificate");
    assert!(line.contains(" expires in 3 days, at "), "{line}");
    program.line("Reloaded server configuration");
}
