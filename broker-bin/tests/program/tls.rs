//! TLS as the command line and the configuration file ask for it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::running::{Running, natsd, text};

/// A certificate for `localhost`, signed by itself, and its key.
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

    pub(crate) fn renew(mut self) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        self.certificate = certificate.der().clone();
        self
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

/// Does a listener that speaks nothing but TLS show this certificate?
pub(crate) fn shows(port: u16, files: &Files) -> bool {
    let connecting = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector(&files.certificate).connect(name, stream).await.is_ok()
    };
    tokio::runtime::Runtime::new().unwrap().block_on(connecting)
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

/// INFO, and PONG behind TLS.
async fn talk(port: u16, certificate: &CertificateDer<'static>) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut info = String::new();
    BufReader::with_capacity(1, &mut stream).read_line(&mut info).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(certificate).connect(name, stream).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
    let mut pong = String::new();
    stream.read_line(&mut pong).await.unwrap();
    (info, pong)
}

fn port(program: &mut Running) -> u16 {
    let line = program.line("Listening for client connections on ");
    line.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn flags_and_a_file_switch_it_on() {
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
async fn a_flag_switches_off_what_a_file_switches_on() {
    let files = Files::new();
    let file = files.configuration("");
    let mut program = Running::start(&["-c", &file, "--tls=false"]);
    let stream = TcpStream::connect(("127.0.0.1", port(&mut program))).await.unwrap();
    let mut info = String::new();
    BufReader::new(stream).read_line(&mut info).await.unwrap();
    assert!(!info.contains("tls_required"), "{info}");
}

#[test]
fn what_cannot_be_used_is_told_with_its_place_and_without_what_is_in_it() {
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

#[tokio::test]
async fn files_are_watched_if_asked_for() {
    let files = Files::new();
    let file = files.configuration(", watch: true");
    let mut program = Running::start(&["-c", &file]);
    let port = port(&mut program);
    talk(port, &files.certificate).await;
    // Looked at once before it changes.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let files = files.renew();
    program.line("Reloaded: tls = files have changed");
    talk(port, &files.certificate).await;
}

#[test]
fn what_it_can_do_is_shown() {
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
