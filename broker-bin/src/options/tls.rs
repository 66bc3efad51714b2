//! Encryption of connections.

use std::path::PathBuf;
use std::time::Duration;

use super::OcspPeer;
use crate::config::declare::{
    block, blocks, choice, formatted, integer, list, seconds, section, switch, text,
};
use crate::config::kind::{Format, Kind};
use crate::config::table::Group;

const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    // What follows natsd will refuse to use; it is known so that the refusal can say so.
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

const CURVES: &[&str] = &["X25519MLKEM768", "X25519", "CurveP256", "CurveP384", "CurveP521"];

section! {
    /// Encryption of connections: certificate, key, and who must show a certificate.
    // NATS 2.14: an empty block demands TLS and has no certificate for it.
    pub struct Tls = Block::new("tls").off(|_| false);

    /// The certificate, as PEM; the chain behind it in the same file.
    cert_file: Option<PathBuf> = None => formatted(Format::Path).at_once()
        .flag(Group::Tls, &["tlscert"], "<file>");
    /// The certificate's private key, as PEM.
    key_file: Option<PathBuf> = None => formatted(Format::Path).at_once()
        .flag(Group::Tls, &["tlskey"], "<file>");
    /// Certificates of who may vouch for others, as PEM.
    ca_file: Option<PathBuf> = None => formatted(Format::Path).unset("the system's").at_once()
        .flag(Group::Tls, &["tlscacert"], "<file>");
    /// The other side's certificate is not looked at.
    insecure: bool = false => switch().at_once();
    /// Clients must show a certificate.
    verify: bool = false => switch().at_once().flag(Group::Tls, &["tlsverify"], "");
    /// Clients must show a certificate, which says who they are.
    verify_and_map: bool = false => switch().at_once().implies(&["verify"]);
    /// Other servers must show a certificate of a server that is known.
    verify_cert_and_check_known_urls: bool = false => switch().at_once().implies(&["verify"]);
    /// Weak ciphers may be listed.
    allow_insecure_cipher_suites: bool = false => switch().at_once();
    /// Ciphers that may be used, the best first.
    cipher_suites: Vec<String> = Vec::new() => Key::new(Kind::Choices(CIPHER_SUITES))
        .unset("those that are safe").at_once();
    /// Groups for the exchange of keys, the best first.
    curve_preferences: Vec<String> = Vec::new() => Key::new(Kind::Choices(CURVES))
        .unset("all, the best first").at_once();
    /// How long a handshake may take.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default().at_once();
    /// How many handshakes a second; 0 and less are no limit.
    connection_rate_limit: i64 = 0 => integer(i64::MIN, i64::MAX).at_once();
    /// Fingerprints of the certificates that may be shown: SHA-256 of their public keys.
    pinned_certs: Vec<String> = Vec::new() => list(Format::Fingerprint).unset("all").at_once();
    /// The handshake comes before the first line of the protocol: `true`, `false`, `auto` (if the other
    /// side begins within 50ms), or how long to wait for it to begin.
    handshake_first: String = "false".into() => Key::new(Kind::Spelled(Format::HandshakeFirst))
        .aliases(&["first", "immediate"]).at_once();
    /// The oldest version of TLS.
    min_version: String = "1.2".into() => choice(&["1.2", "1.3"]).at_once();
    /// What is asked about the certificates of others.
    ocsp_peer: OcspPeer = OcspPeer::default() => block(OcspPeer::block).at_once();
    /// Several certificates, in place of one.
    certs: Vec<CertificatePair> = Vec::new() => blocks(CertificatePair::block)
        .aliases(&["certificates"]).at_once();
    /// The certificate store of Windows.
    cert_store: Option<String> = None => text().no_effect("of Windows");
    /// By what the certificate is found in the store.
    cert_match_by: Option<String> = None => text().no_effect("of Windows");
    /// What is looked for in the store.
    cert_match: Option<String> = None => text().no_effect("of Windows");
    /// Which authorities of the store are believed.
    ca_certs_match: Vec<String> = Vec::new() => list(Format::Any).no_effect("of Windows");
    /// Expired certificates of the store are passed over.
    cert_match_skip_invalid: bool = false => switch().no_effect("of Windows");
}

section! {
    /// A certificate and its key.
    pub struct CertificatePair = Block::new("certificate");

    /// The certificate, as PEM.
    cert_file: Option<PathBuf> = None => formatted(Format::Path).unset("must be given");
    /// Its private key, as PEM.
    key_file: Option<PathBuf> = None => formatted(Format::Path).unset("must be given");
}
