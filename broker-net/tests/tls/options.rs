//! Which options are refused, and what is said about them.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use broker_net::{
    ClientCertificates, Pem, Server, TlsCertificate, TlsError, TlsOptions, TlsVersion,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Identity};
use crate::client::Raw;

fn refused(change: impl FnOnce(&mut TlsOptions)) -> String {
    let mut options = Authority::new("ca").options();
    change(&mut options);
    options.build().expect_err("refused").to_string()
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    let server = Authority::new("ca").server(&["localhost"]);
    let other = Authority::new("ca").server(&["localhost"]);
    let cert = file("cert.pem", &server.certificate.pem());
    let key = file("key.pem", &server.key.serialize_pem());
    let of_other = file("other.pem", &other.key.serialize_pem());
    let empty = file("empty.pem", "");
    let pem = server.certificate.pem();
    let (head, tail) = pem.split_at(100);
    let damaged = file("damaged.pem", &(pem.clone() + head + "!!!" + tail));
    let not_der =
        file("not_der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = file(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let bad_key =
        file("bad_key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let missing = folder.path().join("missing.pem");
    let name = |path: &Path| path.display().to_string();
    let only = |chain: &Path, key: &Path| {
        refused(|options| options.certificates = vec![TlsCertificate::new(chain, key)])
    };
    for (error, half_close, about) in [
        (only(&missing, &key), "cannot read the certificate", &missing),
        (only(&cert, &missing), "cannot read the private key", &missing),
        (only(&empty, &key), "there is no certificate in", &empty),
        (only(&cert, &empty), "there is no private key in", &empty),
        (only(&cert, &cert), "there is no private key in", &cert),
        (only(&damaged, &key), "certificate number 2 in", &damaged),
        (only(&not_der, &key), "certificate number 1 in", &not_der),
        (only(&cert, &encrypted), "is encrypted", &encrypted),
        (only(&cert, &bad_key), "private key number 1 in", &bad_key),
        (only(&cert, &of_other), "does not belong to the certificate", &of_other),
        (refused(|options| verify(options, &empty)), "certificate of an authority", &empty),
        (refused(|options| verify(options, &not_der)), "certificate of an authority", &not_der),
        (
            refused(|options| {
                verify(options, &cert);
                options.revoked = vec![Pem::file(&empty)];
            }),
            "list of revoked certificates",
            &empty,
        ),
    ] {
        assert!(error.contains(half_close), "{error}");
        assert!(error.contains(&name(about)), "{error}");
    }
}

/// Of 1024 bits, made by OpenSSL for this test.
const SHORT_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAJ1cxoKBOCOQBMhD
KUyILceHrffP4rGoBS1mHn29ovZmZJCY2f7mV9xZyT9rJzzriEFYQ0B9Zwl3cjP5
YnHFRKlL2UrasAY8HglEsRJg6GUvhYRCUe754LmKpjruVk/gLCMAtbZ99R2JQxTl
CawM7WrpmRKD+Kg/LbNwIe/MKun9AgMBAAECgYAgCSkonGHva3xtwK6BtB+NxWN3
Vc0S2d/j9Cw08QxiGUpT3apTqFUuuOCtloTwdArTMsLOODlnxfdr+VM/Uie99ce0
hAaRAzi8Pnn8y+MbpzPS/tvj34UQsaILIJYM5AqzLnvuM1Qhs2PLN8TSN4LU+bhg
QM1UXHhh2s5DWkQSCQJBAMn4N5LKZZ1f8KYvrU180/XxYdd1miIKAY6zzSSCYTvU
QCV2cEFRyJuAY6tXbXDBWG3RZgwf6EPE6C5mJLd7gbMCQQDHdahpVtovzhvbmBaj
wCecXbb+Frllp6qxaJIxuZQdCmv8dWiO8jYLx43j7WF8kcG7V21bYWGVUUOKLvQr
my2PAkAhO9bpMKTH4KGYtv+tYH0AW1fePFvAfiUDdlKrT0jwr1xezb5rASohbF76
MsivZSFH8Mz58cYmYKBUAjrIdmpBAkBLt+ex7Y2wni7HIypdCYJAAveH57qD062h
4Y+2HrwSdjVeRnfl5B8OQ7gisafTcUW5R8w053fzBkF8gKyirSsTAkEAsY3GconW
qll5EuzQz08JFdJCxtQ9uFVnhyAeVIUUm19gbaOeOjk4TwIYAdG/EVU43JkcJCO2
z00lSnhhsKsnEQ==
-----END PRIVATE KEY-----
";

/// No library signs with it; that is not damage.
#[test]
fn a_key_that_is_too_short_is_called_so() {
    let error = refused(|options| {
        let chain = options.certificates[0].chain.clone();
        options.certificates = vec![TlsCertificate::new(chain, SHORT_KEY.as_bytes().to_vec())];
    });
    assert_eq!(
        error,
        "private key number 1 in (in memory) cannot be used: it is an RSA key of 1024 bits, and at least \
         2048 are needed"
    );
}

fn verify(options: &mut TlsOptions, ca: &Path) {
    options.client_certificates = ClientCertificates::Verify;
    options.ca = Some(Pem::file(ca));
}

#[test]
fn what_cannot_be_spoken_is_refused_by_name() {
    let suites = |name: &str| refused(|options| options.cipher_suites = vec![name.to_owned()]);
    let curves = |name: &str| refused(|options| options.curve_preferences = vec![name.to_owned()]);
    for (error, expected) in [
        (suites("TLS_NONE"), "unknown cipher suite \"TLS_NONE\""),
        (
            suites("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
            "cipher suite TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported: natsd offers only suites \
             with forward secrecy and authenticated encryption",
        ),
        (curves("Curve1"), "unknown curve \"Curve1\""),
        (
            curves("CurveP521"),
            "curve CurveP521 is not supported: the library that natsd was built with does not have it",
        ),
        (
            "1.1".parse::<TlsVersion>().unwrap_err().to_string(),
            "TLS version \"1.1\" is not supported: it is 1.2 or 1.3",
        ),
        (
            refused(|options| options.pinned_certs = vec!["abc".to_owned()]),
            "pinned certificate \"abc\" is not the SHA-256 of a public key in 64 hexadecimal digits",
        ),
        (
            refused(|options| options.pinned_certs = vec!["00".repeat(32)]),
            "pinned_certs needs client certificates to be verified (verify)",
        ),
        (
            refused(|options| options.client_certificates = ClientCertificates::VerifyAndMap),
            "client certificates can only be verified with a file of those who sign them (ca_file)",
        ),
        (refused(|options| options.certificates.clear()), "TLS needs a certificate and its key"),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn what_is_good_is_accepted_by_the_names_of_the_reference() {
    for (suites, curves) in [
        (
            &["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"][..],
            &["X25519"][..],
        ),
        (&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"], &["CurveP384", "CurveP256"]),
        (&["TLS_CHACHA20_POLY1305_SHA256"], &[]),
    ] {
        let mut options = Authority::new("ca").options();
        options.cipher_suites = suites.iter().map(|name| (*name).to_owned()).collect();
        options.curve_preferences = curves.iter().map(|name| (*name).to_owned()).collect();
        options.build().unwrap();
    }
}

/// Whatever is wrong with them, keys show up nowhere.
#[test]
fn no_error_and_nothing_printed_shows_a_key() {
    let server = Authority::new("ca").server(&["localhost"]);
    let key = server.key.serialize_pem();
    let body: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let cut = key[..key.len() - 40].to_owned();
    let mangled = key.replace("MIG", "M!G");
    let renamed = key.replace("PRIVATE KEY", "CERTIFICATE");
    for text in [&key, &cut, &mangled, &renamed] {
        let pem = || Pem::from(text.clone().into_bytes());
        for options in [
            TlsOptions::new(server.chain(), pem()),
            TlsOptions::new(pem(), server.pem_key()),
            TlsOptions::new(pem(), pem()),
        ] {
            let mut shown = vec![format!("{options:?}")];
            match options.build() {
                Ok(config) => shown.push(format!("{config:?} {config:#?}")),
                Err(error) => shown.extend([error.to_string(), format!("{error:?}")]),
            }
            for shown in shown {
                for line in &body {
                    assert!(!shown.contains(&line[..16]), "{shown}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_offer_tls_does_not_start() {
    let mut options = Authority::new("ca").options();
    options.certificates.clear();
    let error = Server::builder().tls(options).bind().await.unwrap_err();
    assert_eq!(error.to_string(), "TLS cannot be offered");
    let source = error.source().and_then(|source| source.downcast_ref::<TlsError>());
    assert_eq!(source, Some(&TlsError::NoCertificate));
}

#[test]
fn the_first_certificate_that_ends_tells_until_when_they_hold() {
    let authority = Authority::new("ca");
    let mut options = authority.options();
    let long = options.build().unwrap().not_after().unwrap();
    assert!(long > SystemTime::now() + Duration::from_secs(3600));
    let short = authority.client(|params| params.not_after = rcgen::date_time_ymd(2024, 2, 3));
    options.certificates.push(TlsCertificate::new(short.chain(), short.pem_key()));
    let ends = options.build().unwrap().not_after().unwrap();
    assert_eq!(ends, SystemTime::UNIX_EPOCH + Duration::from_secs(1_706_918_400));
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_asked_for() {
    let authority = Authority::new("ca");
    let certificates =
        ["localhost", "*.acme.test", "b.acme.test"].map(|name| authority.server(&[name]));
    let mut options = authority.options();
    options.certificates =
        certificates.iter().map(|of| TlsCertificate::new(of.chain(), of.pem_key())).collect();
    let server = Server::builder().tls(options).bind().await.unwrap();
    let shown = async |name: &str| {
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        let config = authority.client_config(None);
        let tls = raw.upgrade_as(config, name).await?;
        let shown = tls.stream.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone();
        let is = |of: &Identity| CertificateDer::from(of.certificate.der().to_vec()) == shown;
        Ok::<_, std::io::Error>(certificates.iter().position(is))
    };
    assert_eq!(shown("localhost").await.unwrap(), Some(0));
    assert_eq!(shown("a.acme.test").await.unwrap(), Some(1));
    assert_eq!(shown("A.Acme.Test").await.unwrap(), Some(1));
    // Both hold it; the first is taken.
    assert_eq!(shown("b.acme.test").await.unwrap(), Some(1));
    assert!(shown("a.b.acme.test").await.is_err(), "none holds it");
}

#[tokio::test]
async fn what_the_issuer_says_of_the_certificate_is_passed_on() {
    use tokio_rustls::rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
    let authority = Authority::new("ca");
    let mut options = authority.options();
    options.certificates[0].ocsp_response = Some(Pem::from(b"stapled".to_vec()));
    let server = Server::builder().tls(options).bind().await.unwrap();

    #[derive(Debug)]
    struct Stapled(std::sync::Mutex<Vec<u8>>);
    impl ServerCertVerifier for Stapled {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &tokio_rustls::rustls::pki_types::ServerName<'_>,
            ocsp: &[u8],
            _: tokio_rustls::rustls::pki_types::UnixTime,
        ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
            *self.0.lock().unwrap() = ocsp.to_vec();
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &tokio_rustls::rustls::DigitallySignedStruct,
        ) -> Result<
            tokio_rustls::rustls::client::danger::HandshakeSignatureValid,
            tokio_rustls::rustls::Error,
        > {
            Ok(tokio_rustls::rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &tokio_rustls::rustls::DigitallySignedStruct,
        ) -> Result<
            tokio_rustls::rustls::client::danger::HandshakeSignatureValid,
            tokio_rustls::rustls::Error,
        > {
            self.verify_tls12_signature(message, certificate, signature)
        }
        fn supported_verify_schemes(&self) -> Vec<tokio_rustls::rustls::SignatureScheme> {
            vec![tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    let stapled = std::sync::Arc::new(Stapled(std::sync::Mutex::default()));
    let mut config = authority.client_config(None).as_ref().clone();
    config.dangerous().set_certificate_verifier(stapled.clone());
    let mut raw = Raw::connect(&server).await;
    raw.line().await;
    raw.upgrade(config.into()).await.unwrap();
    assert_eq!(*stapled.0.lock().unwrap(), b"stapled");
}
