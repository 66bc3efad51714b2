//! TLS options.

use std::path::PathBuf;
use std::time::Duration;

use broker_net::{
    ClientCertificates, HandshakeFirst, Pem, TlsCertificate, TlsError, TlsOptions, TlsVersion,
};

use super::{OcspPeer, Options, OptionsError, TlsBlockError};
use crate::config::declare::{
    block, blocks, choice, formatted, integer, list, seconds, section, switch, text,
};
use crate::config::duration;
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
    // The remaining suites are listed so that refusing them can name them.
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
    /// TLS: certificate, key, and verification of peers.
    // NATS 2.14: an empty block requires TLS and lacks a certificate.
    pub struct Tls = Block::new("tls").off(|_| false);

    /// Certificate in PEM, followed by its chain.
    cert_file: Option<PathBuf> = None => formatted(Format::Path).at_once()
        .flag(Group::Tls, &["tlscert"], "<file>");
    /// Private key of the certificate, in PEM.
    key_file: Option<PathBuf> = None => formatted(Format::Path).at_once()
        .flag(Group::Tls, &["tlskey"], "<file>");
    /// Certificates of the accepted authorities, in PEM. Required if clients must present
    /// certificates.
    ca_file: Option<PathBuf> = None => formatted(Format::Path).unset("the system's").at_once()
        .flag(Group::Tls, &["tlscacert"], "<file>");
    /// Does not verify the certificates of servers that this one connects to.
    insecure: bool = false => switch().at_once();
    /// Clients must present a certificate.
    verify: bool = false => switch().at_once().flag(Group::Tls, &["tlsverify"], "");
    /// Clients must present a certificate, which identifies their user.
    verify_and_map: bool = false => switch().at_once().implies(&["verify"]);
    /// Other servers must present a certificate of a known server.
    verify_cert_and_check_known_urls: bool = false => switch().at_once().implies(&["verify"]);
    /// Certificate revocation lists, in PEM. If there are any, clients whose issuer has none are
    /// refused. NATS has no such option.
    crl_files: Vec<String> = Vec::new() => list(Format::Path).at_once();
    /// OCSP response of the certificate's issuer, in DER, stapled for clients. NATS has no such
    /// option.
    ocsp_file: Option<PathBuf> = None => formatted(Format::Path).at_once();
    /// Checks the files for changes every second, and uses the new contents. NATS has no such
    /// option.
    watch: bool = false => switch().at_once();
    /// Allows weak cipher suites to be listed.
    allow_insecure_cipher_suites: bool = false => switch().at_once()
        .no_effect("natsd never uses them");
    /// Cipher suites, best first.
    cipher_suites: Vec<String> = Vec::new() => Key::new(Kind::Choices(CIPHER_SUITES))
        .unset("those that are safe").at_once();
    /// Key exchange groups, best first.
    curve_preferences: Vec<String> = Vec::new() => Key::new(Kind::Choices(CURVES))
        .unset("all, the best first").at_once();
    /// Timeout of the handshake.
    timeout: Duration = Duration::from_secs(2) => seconds()
        .zero_is_default().at_once();
    /// Handshakes per second; 0 or less is unlimited.
    connection_rate_limit: i64 = 0 => integer(i64::MIN, i64::MAX).at_once();
    /// Accepted certificates: SHA-256 fingerprints of their public keys.
    pinned_certs: Vec<String> = Vec::new() => list(Format::Fingerprint).unset("all").at_once();
    /// TLS handshake before INFO: `true`, `false`, `auto` (if the client sends within 50ms), or the
    /// time to wait for the client's first bytes.
    handshake_first: String = "false".into() => Key::new(Kind::Spelled(Format::HandshakeFirst))
        .aliases(&["first", "immediate"]).at_once();
    /// Minimum version of TLS.
    min_version: String = "1.2".into() => choice(&["1.2", "1.3"]).at_once();
    /// OCSP checks of peers' certificates.
    ocsp_peer: OcspPeer = OcspPeer::default() => block(OcspPeer::block).at_once().not_yet("OCSP");
    /// Several certificates, in place of one.
    certs: Vec<CertificatePair> = Vec::new() => blocks(CertificatePair::block)
        .aliases(&["certificates"]).at_once();
    /// The certificate store of Windows; refused on other systems.
    cert_store: Option<String> = None => text().at_once();
    /// Attribute by which the certificate is found in the store.
    cert_match_by: Option<String> = None => text().no_effect("there is no certificate store");
    /// Value of that attribute.
    cert_match: Option<String> = None => text().no_effect("there is no certificate store");
    /// Accepted authorities of the store.
    ca_certs_match: Vec<String> = Vec::new() => list(Format::Any).no_effect("there is no certificate store");
    /// Skips expired certificates of the store.
    cert_match_skip_invalid: bool = false => switch().no_effect("there is no certificate store");
}

section! {
    /// A certificate and its key.
    pub struct CertificatePair = Block::new("certificate");

    /// Certificate in PEM.
    cert_file: Option<PathBuf> = None => formatted(Format::Path).unset("must be given");
    /// Private key in PEM.
    key_file: Option<PathBuf> = None => formatted(Format::Path).unset("must be given");
}

impl Options {
    /// Returns all TLS blocks by path, and whether they secure connections of other servers.
    pub(super) fn tls_blocks(&self) -> impl Iterator<Item = (&'static str, &Tls, bool)> {
        let blocks = [
            ("tls", &self.tls, false),
            ("websocket.tls", &self.websocket.tls, false),
            ("mqtt.tls", &self.mqtt.tls, false),
            ("leafnodes.tls", &self.leafnodes.tls, false),
            ("resolver_tls", &self.resolver_tls, false),
            ("cluster.tls", &self.cluster.tls, true),
            ("gateway.tls", &self.gateway.tls, true),
        ];
        blocks
            .into_iter()
            .filter_map(|(path, tls, of_servers)| tls.as_ref().map(|tls| (path, tls, of_servers)))
    }

    /// Returns the TLS options of the client listener, if any.
    ///
    /// # Errors
    ///
    /// Returns an error if the block contradicts itself. Does not read the files.
    pub fn client_tls(&self) -> Result<Option<TlsOptions>, OptionsError> {
        let Some(tls) = self.tls.as_ref().filter(|_| !self.tls_off) else { return Ok(None) };
        let mut options = tls.for_clients().map_err(OptionsError::Tls)?;
        options.allow_non_tls = self.allow_non_tls;
        Ok(Some(options))
    }
}

impl Tls {
    /// Checks that each key has an effect and none is missing. Does not read the files.
    pub(super) fn check(&self, of_servers: bool) -> Result<(), TlsBlockError> {
        if self.verify_cert_and_check_known_urls && !of_servers {
            return Err(TlsBlockError::NoKnownUrls);
        }
        if self.cert_store.is_some() {
            return Err(TlsBlockError::NoCertStore);
        }
        let has_both = |pair: &CertificatePair| pair.cert_file.is_some() && pair.key_file.is_some();
        match (&self.cert_file, &self.key_file) {
            (Some(_), _) if !self.certs.is_empty() => Err(TlsBlockError::CertFileAndCerts),
            (_, Some(_)) if !self.certs.is_empty() => Err(TlsBlockError::KeyFileAndCerts),
            (Some(_), None) => Err(TlsBlockError::NoKeyFile),
            (None, Some(_)) => Err(TlsBlockError::NoCertFile),
            _ if !self.certs.iter().all(has_both) => Err(TlsBlockError::HalfAPair),
            _ => Ok(()),
        }
    }

    /// Returns the names of keys that select a certificate of a certificate store.
    pub(super) fn keys_of_a_store(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("cert_match_by", self.cert_match_by.is_some()),
            ("cert_match", self.cert_match.is_some()),
            ("ca_certs_match", !self.ca_certs_match.is_empty()),
            ("cert_match_skip_invalid", self.cert_match_skip_invalid),
        ];
        keys.into_iter().filter_map(|(key, is_set)| is_set.then_some(key))
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.cert_file.is_some() || !self.certs.is_empty()
    }

    pub(super) fn for_clients(&self) -> Result<TlsOptions, TlsError> {
        let mut certificates = self.certificates()?.into_iter();
        let TlsCertificate { chain, key, .. } =
            certificates.next().ok_or(TlsError::NoCertificate)?;
        let mut options = TlsOptions::new(chain, key);
        options.certificates.extend(certificates);
        options.certificates[0].ocsp_response = self.ocsp_file.clone().map(Pem::file);
        options.ca = self.ca_file.clone().map(Pem::file);
        options.client_certificates = match (self.verify_and_map, self.verify) {
            (true, _) => ClientCertificates::VerifyAndMap,
            (false, true) => ClientCertificates::Verify,
            (false, false) => ClientCertificates::Ignore,
        };
        options.pinned_certs.clone_from(&self.pinned_certs);
        options.revoked = self.crl_files.iter().map(Pem::file).collect();
        options.timeout = self.timeout;
        options.handshake_first = handshake_first(&self.handshake_first);
        options.connection_rate_limit =
            u32::try_from(self.connection_rate_limit).ok().filter(|limit| *limit > 0);
        options.cipher_suites.clone_from(&self.cipher_suites);
        options.curve_preferences.clone_from(&self.curve_preferences);
        options.min_version = self.min_version.parse::<TlsVersion>()?;
        options.watch = self.watch;
        Ok(options)
    }

    fn certificates(&self) -> Result<Vec<TlsCertificate>, TlsError> {
        let pair = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| {
            let (certificate, key) = certificate.as_ref().zip(key.as_ref())?;
            Some(TlsCertificate::new(certificate.as_path(), key.as_path()))
        };
        if self.certs.is_empty() {
            return Ok(pair(&self.cert_file, &self.key_file).into_iter().collect());
        }
        let pairs = self.certs.iter().map(|of| pair(&of.cert_file, &of.key_file));
        pairs.collect::<Option<_>>().ok_or(TlsError::NoCertificate)
    }
}

/// Parses a text that was validated as one of the words or a duration.
fn handshake_first(text: &str) -> HandshakeFirst {
    match &*text.to_ascii_lowercase() {
        "true" | "on" => HandshakeFirst::Always,
        "false" | "off" => HandshakeFirst::Never,
        "auto" | "auto_fallback" => HandshakeFirst::AUTO,
        text => match duration::parse(text) {
            Ok((false, wait)) if !wait.is_zero() => HandshakeFirst::Within(wait),
            // NATS 2.14: a wait of zero equals not waiting for the client.
            _ => HandshakeFirst::Always,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> Tls {
        Tls {
            cert_file: Some("cert.pem".into()),
            key_file: Some("key.pem".into()),
            ..Tls::default()
        }
    }

    #[test]
    fn tls_options_for_clients_reach_the_server() {
        let set = Tls {
            ca_file: Some("ca.pem".into()),
            verify: true,
            crl_files: vec!["list.pem".into()],
            ocsp_file: Some("ocsp.der".into()),
            watch: true,
            cipher_suites: vec!["TLS_AES_256_GCM_SHA384".into()],
            curve_preferences: vec!["X25519".into()],
            timeout: Duration::from_secs(7),
            connection_rate_limit: 3,
            pinned_certs: vec!["00".repeat(32)],
            handshake_first: "auto".into(),
            min_version: "1.3".into(),
            ..tls()
        };
        let mut expected = TlsOptions::new(Pem::file("cert.pem"), Pem::file("key.pem"));
        expected.certificates[0].ocsp_response = Some(Pem::file("ocsp.der"));
        expected.ca = Some(Pem::file("ca.pem"));
        expected.client_certificates = ClientCertificates::Verify;
        expected.revoked = vec![Pem::file("list.pem")];
        expected.watch = true;
        expected.cipher_suites = vec!["TLS_AES_256_GCM_SHA384".into()];
        expected.curve_preferences = vec!["X25519".into()];
        expected.timeout = Duration::from_secs(7);
        expected.connection_rate_limit = Some(3);
        expected.pinned_certs = vec!["00".repeat(32)];
        expected.handshake_first = HandshakeFirst::AUTO;
        expected.min_version = TlsVersion::V1_3;
        assert_eq!(set.for_clients().unwrap(), expected);

        let mapped = Tls { verify: true, verify_and_map: true, ..tls() }.for_clients().unwrap();
        assert_eq!(mapped.client_certificates, ClientCertificates::VerifyAndMap);
        let options = Options { tls: Some(tls()), allow_non_tls: true, ..Options::default() };
        assert!(options.client_tls().unwrap().unwrap().allow_non_tls);
    }

    #[test]
    fn several_certificates_take_the_place_of_one() {
        let pair = |name: &str| CertificatePair {
            cert_file: Some(format!("{name}.pem").into()),
            key_file: Some(format!("{name}.key").into()),
        };
        let set = Tls { certs: vec![pair("a"), pair("b")], ..Tls::default() };
        let certificates = set.for_clients().unwrap().certificates;
        let expected = ["a", "b"].map(|name| {
            TlsCertificate::new(Pem::file(format!("{name}.pem")), Pem::file(format!("{name}.key")))
        });
        assert_eq!(certificates, expected);
    }

    #[test]
    fn a_key_that_has_no_effect_is_refused() {
        use TlsBlockError as Is;
        let pair =
            || CertificatePair { cert_file: Some("a.pem".into()), key_file: Some("a.key".into()) };
        let half = CertificatePair { key_file: None, ..pair() };
        let only_cert = Tls { key_file: None, ..tls() };
        let only_key = Tls { cert_file: None, ..tls() };
        let known = Tls { verify_cert_and_check_known_urls: true, ..tls() };
        let store = Tls { cert_store: Some("WindowsLocalMachine".into()), ..Tls::default() };
        for (set, of_servers, expected) in [
            (tls(), false, Ok(())),
            (Tls::default(), false, Ok(())),
            (Tls { certs: vec![pair()], ..Tls::default() }, false, Ok(())),
            (Tls { certs: vec![pair()], ..tls() }, false, Err(Is::CertFileAndCerts)),
            (Tls { certs: vec![pair()], ..only_cert.clone() }, false, Err(Is::CertFileAndCerts)),
            (Tls { certs: vec![pair()], ..only_key.clone() }, false, Err(Is::KeyFileAndCerts)),
            (Tls { certs: vec![pair(), half], ..Tls::default() }, false, Err(Is::HalfAPair)),
            (only_cert, false, Err(Is::NoKeyFile)),
            (only_key, true, Err(Is::NoCertFile)),
            (known.clone(), false, Err(Is::NoKnownUrls)),
            (known, true, Ok(())),
            (store.clone(), false, Err(Is::NoCertStore)),
            (store, true, Err(Is::NoCertStore)),
        ] {
            assert_eq!(set.check(of_servers), expected, "{set:?}");
        }
    }

    #[test]
    fn zero_rate_and_handshake_words_have_the_meaning_of_the_reference() {
        for limit in [0, -1, i64::MIN] {
            let set = Tls { connection_rate_limit: limit, ..tls() };
            assert_eq!(set.for_clients().unwrap().connection_rate_limit, None);
        }
        for (word, expected) in [
            ("true", HandshakeFirst::Always),
            ("ON", HandshakeFirst::Always),
            ("false", HandshakeFirst::Never),
            ("auto", HandshakeFirst::AUTO),
            ("auto_fallback", HandshakeFirst::AUTO),
            ("300ms", HandshakeFirst::Within(Duration::from_millis(300))),
            ("0s", HandshakeFirst::Always),
        ] {
            let set = Tls { handshake_first: word.into(), ..tls() };
            assert_eq!(set.for_clients().unwrap().handshake_first, expected, "{word}");
        }
    }
}
