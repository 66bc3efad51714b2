//! Securing a server as an operators' handbook describes it: an own authority, certificates of
//! servers and clients, and the rejection of clients that have none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use broker_bin::Daemon;
use broker_bin::options::{self, Request};
use futures_util::StreamExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Long enough for a busy machine; reached only if a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// An operator's authority, and the folder with all certificates it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Acme");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the paths `<title>.pem` and `<title>.key`.
    fn sign(&self, title: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, title);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{title}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{title}.key")), key.serialize_pem()).unwrap();
    }

    fn server(&self, names: &[&str]) {
        self.sign("server", names, ExtendedKeyUsagePurpose::ServerAuth);
    }

    fn client(&self, title: &str) {
        self.sign(title, &[], ExtendedKeyUsagePurpose::ClientAuth);
    }

    /// Starts a daemon from a file with the server's certificate and `more` in its TLS block.
    async fn start(&self, more: &str) -> Daemon {
        let file = self.path("natsd.conf");
        let text = format!(
            "host: 127.0.0.1, port: -1
             tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}
                    {more} }}",
            self.path("server.pem"),
            self.path("server.key"),
            self.path("ca.pem")
        );
        std::fs::write(&file, text).unwrap();
        let request = Request { file: Some(file), ..Request::default() };
        Daemon::start_loaded(options::load(&request).unwrap()).await.unwrap()
    }

    /// Returns a configuration that trusts this authority and presents the certificate of that
    /// title.
    fn config(&self, shows: Option<&str>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(title) = shows else { return builder.with_no_client_auth() };
        let chain = CertificateDer::from_pem_file(self.path(&format!("{title}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{title}.key"))).unwrap();
        builder.with_client_auth_cert(vec![chain], key).unwrap()
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Connects and reads INFO.
async fn connect(daemon: &Daemon) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(daemon.local_addr()).await.unwrap();
    let mut info = String::new();
    let mut reader = BufReader::with_capacity(1, &mut stream);
    in_time(reader.read_line(&mut info)).await.unwrap();
    (stream, info)
}

/// Reads to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    let _ = in_time(stream.read_to_string(&mut rest)).await;
    rest
}

/// Upgrades to TLS under the given server name.
async fn upgrade(
    daemon: &Daemon,
    config: ClientConfig,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let (stream, _) = connect(daemon).await;
    let name = ServerName::try_from(name).unwrap();
    in_time(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Returns true if the client is accepted. (In TLS 1.3 it learns only after the handshake whether
/// its certificate was.)
async fn is_let_in(daemon: &Daemon, config: ClientConfig) -> bool {
    let Ok(mut stream) = upgrade(daemon, config, "nats.acme.test").await else { return false };
    if stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.is_err() {
        return false;
    }
    let mut answer = String::new();
    let reading = in_time(BufReader::new(stream).read_line(&mut answer)).await;
    reading.is_ok() && answer == "PONG\r\n"
}

#[tokio::test]
async fn clients_and_server_trust_the_same_authority() {
    let acme = Authority::new();
    acme.server(&["127.0.0.1"]);
    acme.client("orders");
    let daemon = acme.start("verify: true, timeout: 2").await;
    let (_, info) = connect(&daemon).await;
    assert!(info.contains("\"tls_required\":true,\"tls_verify\":true"), "{info}");

    let url = format!("tls://{}", daemon.local_addr());
    let options = ConnectOptions::new().tls_client_config(acme.config(Some("orders")));
    let client = in_time(options.connect(&url)).await.unwrap();
    let mut orders = client.subscribe("orders.*").await.unwrap();
    client.publish("orders.new", "7 apples".into()).await.unwrap();
    assert_eq!(in_time(orders.next()).await.unwrap().payload, "7 apples");

    // A client of another authority does not trust the server.
    let options = ConnectOptions::new().tls_client_config(Authority::new().config(None));
    assert!(in_time(options.connect(&url)).await.is_err());
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_is_rejected() {
    let acme = Authority::new();
    acme.server(&["nats.acme.test"]);
    acme.client("orders");
    acme.sign("another-server", &["nats"], ExtendedKeyUsagePurpose::ServerAuth);
    let daemon = acme.start("verify: true").await;
    assert!(is_let_in(&daemon, acme.config(Some("orders"))).await);
    assert!(!is_let_in(&daemon, acme.config(None)).await, "none");
    assert!(!is_let_in(&daemon, acme.config(Some("another-server"))).await, "for servers");
    // The same name, signed by another authority.
    let other = Authority::new();
    other.client("orders");
    std::fs::copy(other.path("orders.pem"), acme.path("untrusted.pem")).unwrap();
    std::fs::copy(other.path("orders.key"), acme.path("untrusted.key")).unwrap();
    assert!(!is_let_in(&daemon, acme.config(Some("untrusted"))).await, "another authority");
    daemon.stop().await;
}

#[tokio::test]
async fn one_certificate_covers_all_servers_of_a_domain() {
    let acme = Authority::new();
    acme.server(&["*.nats.acme.test", "localhost"]);
    let daemon = acme.start("").await;
    for (name, holds) in [
        ("a.nats.acme.test", true),
        ("b.nats.acme.test", true),
        ("localhost", true),
        ("nats.acme.test", false),
        ("a.b.nats.acme.test", false),
        // The name requested by a client that was given the address by another server.
        ("127.0.0.1", false),
    ] {
        let upgraded = upgrade(&daemon, acme.config(None), name).await;
        assert_eq!(upgraded.is_ok(), holds, "{name}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_gets_an_error() {
    let acme = Authority::new();
    acme.server(&["localhost"]);
    let daemon = acme.start("").await;
    let (mut stream, info) = connect(&daemon).await;
    assert!(info.contains("\"tls_required\":true"), "{info}");
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPUB a 1\r\nx\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, "-ERR 'Secure Connection - TLS Required'\r\n");
    assert_eq!(daemon.broker().stats().in_messages, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_begin_the_handshake_in_time_is_closed() {
    let acme = Authority::new();
    acme.server(&["localhost"]);
    let daemon = acme.start("timeout: 0.2").await;
    let (mut silent, _) = connect(&daemon).await;
    let (mut half, _) = connect(&daemon).await;
    // A record of 512 bytes, of which 5 are sent.
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03").await.unwrap();
    assert_eq!(rest(&mut silent).await, "-ERR 'Secure Connection - TLS Required'\r\n");
    assert_eq!(rest(&mut half).await, "");
    let all_gone = async {
        while daemon.broker().stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(all_gone).await;
    daemon.stop().await;
}
