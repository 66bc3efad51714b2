use std::sync::Arc;

use broker_bin::options::Tls;
use broker_bin::{Daemon, Options};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::common::{DEADLINE, get, json, options, until};

/// A self-signed certificate for `localhost`, in files.
struct Certified {
    certificate: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Certified {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut certified = Self { certificate: CertificateDer::from(Vec::new()), folder };
        certified.renew();
        certified
    }

    /// Replaces the certificate in the same files.
    fn renew(&mut self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        self.certificate = certificate.der().clone();
    }

    fn options(&self) -> Options {
        let tls = Tls {
            cert_file: Some(self.folder.path().join("cert.pem")),
            key_file: Some(self.folder.path().join("key.pem")),
            // Monitoring clients need no certificate, as with nats-server.
            ca_file: Some(self.folder.path().join("cert.pem")),
            ..Tls::default()
        };
        Options { tls: Some(tls), ..options() }
    }

    async fn shake_hands(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn get(&self, daemon: &Daemon, path: &str) -> std::io::Result<String> {
        let stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await?;
        let mut stream = self.shake_hands(stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap()?;
        Ok(text)
    }
}

#[tokio::test]
async fn monitoring_uses_tls_and_requires_no_certificate() {
    let certified = Certified::new();
    let mut options = certified.options();
    (options.http_port, options.https_port) = (0, -1);
    options.tls.as_mut().unwrap().verify = true;
    let daemon = Daemon::start(options).await.unwrap();
    let answer = certified.get(&daemon, "/varz").await.unwrap();
    let varz: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let port = daemon.monitoring_addr().unwrap().port();
    assert_eq!((&varz["http_port"], &varz["https_port"]), (&0.into(), &port.into()));
    assert_eq!((&varz["tls_required"], &varz["tls_verify"]), (&true.into(), &true.into()));
    assert!(varz["tls_cert_not_after"].as_str().unwrap().ends_with('Z'));
    let metrics = certified.get(&daemon, "/metrics").await.unwrap();
    assert!(metrics.contains(&format!("server_id=\"https://127.0.0.1:{port}\"")));
    assert!(metrics.contains("natsd_tls_certificate_expiry_timestamp_seconds{"));
}

#[tokio::test]
async fn the_websocket_certificate_is_watched_too() {
    let certified = Certified::new();
    let mut options = Options { http_port: -1, ..certified.options() };
    options.websocket.host = Some("127.0.0.1".to_owned());
    options.websocket.port = -1;
    options.websocket.tls = options.tls.take();
    let daemon = Daemon::start(options).await.unwrap();
    let varz = json(&daemon, "/varz").await;
    assert!(varz.get("tls_cert_not_after").is_none());
    assert!(varz["websocket"]["tls_cert_not_after"].as_str().unwrap().ends_with('Z'));
    let metrics = get(&daemon, "/metrics").await.body;
    assert!(metrics.contains("natsd_tls_certificate_expiry_timestamp_seconds{"));
}

#[tokio::test]
async fn a_plain_http_request_is_answered_with_an_error() {
    let certified = Certified::new();
    let options = Options { http_port: 0, https_port: -1, ..certified.options() };
    let daemon = Daemon::start(options).await.unwrap();
    let mut stream = TcpStream::connect(daemon.monitoring_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET /varz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(
        answer,
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
}

#[tokio::test]
async fn a_new_certificate_is_used_after_a_reload() {
    let mut certified = Certified::new();
    let options = Options { http_port: 0, https_port: -1, ..certified.options() };
    let daemon = Daemon::start(options.clone()).await.unwrap();
    certified.renew();
    assert!(certified.get(&daemon, "/varz").await.is_err(), "the old certificate is still used");
    daemon.apply(options).await.unwrap();
    assert!(certified.get(&daemon, "/varz").await.unwrap().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn https_without_a_certificate_is_refused_at_the_start() {
    let error = Daemon::start(Options { http_port: 0, https_port: -1, ..options() }).await;
    assert_eq!(error.unwrap_err().to_string(), "TLS cert and key required for HTTPS");
}

#[tokio::test]
async fn tls_data_of_a_connection_is_listed() {
    let certified = Certified::new();
    let daemon = Daemon::start(certified.options()).await.unwrap();
    let mut stream = TcpStream::connect(daemon.local_addr()).await.unwrap();
    let mut info = Vec::new();
    while !info.ends_with(b"\r\n") {
        info.push(stream.read_u8().await.unwrap());
    }
    let mut stream = certified.shake_hands(stream).await.unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    let mut pong = [0; 6];
    stream.read_exact(&mut pong).await.unwrap();
    let one = json(&daemon, "/connz").await["connections"][0].take();
    assert_eq!(one["tls_version"], "1.3");
    assert!(one["tls_cipher_suite"].as_str().unwrap().starts_with("TLS_"), "{one}");
    assert_eq!(one.get("tls_first"), None);
    let metrics = get(&daemon, "/metrics").await.body;
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("natsd_tls_connections{") && line.ends_with(" 1"))
    );
    drop(stream);
    until(|| daemon.varz().connections == 0).await;
    let closed = json(&daemon, "/connz?state=closed").await["connections"][0].take();
    assert_eq!(closed["tls_version"], "1.3", "closed connections have it too");
}
