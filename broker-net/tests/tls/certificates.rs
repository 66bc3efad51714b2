//! Verification of client certificates and mapping to users.

use std::sync::{Arc, Mutex};

use broker_core::auth::{Authenticator, Credentials, Decision, Grant, User, Users};
use broker_net::{ClientCertificates, Pem, Server, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, date_time_ymd,
};

use crate::authority::{Authority, Identity};
use crate::client::Raw;

/// The outcome for a client.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Verdict {
    /// Authenticated as this user.
    User(String),
    /// The handshake succeeded, authentication failed.
    Unauthorized,
    /// The handshake failed.
    NoTls,
}

fn user(name: &str) -> Verdict {
    Verdict::User(name.to_owned())
}

struct World {
    authority: Authority,
    server: Server,
    last: Arc<Mutex<Option<String>>>,
}

/// Records the last authenticated user.
struct Recording(Users, Arc<Mutex<Option<String>>>);

impl Authenticator for Recording {
    fn is_required(&self) -> bool {
        self.0.is_required()
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let verdict = self.0.authenticate(credentials).resolve();
        let user = verdict.as_ref().ok().and_then(|grant| grant.user.as_deref().map(str::to_owned));
        *self.1.lock().unwrap() = user;
        verdict.into()
    }
}

impl World {
    async fn new(users: &[&str], change: impl FnOnce(&Authority, &mut TlsOptions)) -> Self {
        let authority = Authority::new("ca");
        let mut options = authority.options();
        options.ca = Some(authority.pem());
        options.client_certificates = ClientCertificates::VerifyAndMap;
        change(&authority, &mut options);
        let users = users.iter().map(|name| User::new(*name, ""));
        let users = Users::builder().users(users).build().unwrap();
        let last = Arc::default();
        let users = Recording(users, Arc::clone(&last));
        let server = Server::builder().tls(options).authenticator(users).bind().await.unwrap();
        Self { authority, server, last }
    }

    async fn verdict(&self, identity: Option<&Identity>) -> Verdict {
        let mut raw = Raw::connect(&self.server).await;
        let info = raw.line().await;
        assert!(info.contains("\"tls_verify\":true"), "{info}");
        let Ok(mut tls) = raw.upgrade(self.authority.client_config(identity)).await else {
            return Verdict::NoTls;
        };
        // In TLS 1.3 the handshake completes for the client before the server verifies its
        // certificate.
        let connect = "CONNECT {\"verbose\":true,\"protocol\":1}\r\nPING\r\n";
        if tokio::io::AsyncWriteExt::write_all(tls.stream.get_mut(), connect.as_bytes())
            .await
            .is_err()
        {
            return Verdict::NoTls;
        }
        match tls.try_line().await {
            Ok(line) if line == "+OK\r\n" => {
                let cid = self.server.broker().stats().total_connections;
                let security = self.server.broker().security(cid).unwrap();
                assert!(security.certificate.is_some());
                Verdict::User(self.last.lock().unwrap().clone().unwrap())
            }
            Ok(line) if line == "-ERR 'Authorization Violation'\r\n" => Verdict::Unauthorized,
            Ok(line) => panic!("{line}"),
            Err(_) => Verdict::NoTls,
        }
    }
}

fn common_name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
}

fn mail(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

fn host(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// Accepts all clients and records the certificates that it is given, if it reads them.
struct Chains(bool, Arc<Mutex<Vec<Vec<u8>>>>);

impl Authenticator for Chains {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let tls = credentials.tls.as_ref().unwrap();
        assert_eq!((tls.version, tls.cipher_suite.is_empty()), ("1.3", false));
        *self.1.lock().unwrap() = tls.verified_chain.to_vec();
        Grant::anonymous().into()
    }

    fn reads_certificates(&self) -> bool {
        self.0
    }
}

#[tokio::test]
async fn an_authenticator_that_reads_certificates_gets_the_chain_up_to_the_authority() {
    let root = Authority::new("root");
    let middle = root.below("middle", |_| {});
    for (reads, authority, length) in [(true, &root, 2), (true, &middle, 3), (false, &root, 0)] {
        let mut options = root.options();
        options.ca = Some(root.pem());
        options.client_certificates = ClientCertificates::Verify;
        let chain = Arc::default();
        let chains = Chains(reads, Arc::clone(&chain));
        let server = Server::builder().tls(options).authenticator(chains).bind().await.unwrap();
        let mut identity = authority.client(|_| {});
        if length == 3 {
            identity = identity.shown_with(&middle);
        }
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        let mut tls = raw.upgrade(root.client_config(Some(&identity))).await.unwrap();
        let connect = "CONNECT {\"verbose\":true}\r\n";
        tokio::io::AsyncWriteExt::write_all(tls.stream.get_mut(), connect.as_bytes())
            .await
            .unwrap();
        assert_eq!(tls.line().await, "+OK\r\n");
        let chain = std::mem::take(&mut *chain.lock().unwrap());
        assert_eq!(chain.len(), length);
        if reads {
            assert_eq!(chain[0], identity.certificate.der().to_vec());
            assert!(root.is(chain.last().unwrap()));
        }
    }
}

#[tokio::test]
async fn only_valid_certificates_are_accepted() {
    let world = World::new(&["CN=client"], |_, _| {}).await;
    let ca = &world.authority;
    let other = Authority::new("ca");
    for (case, identity, expected) in [
        ("valid", Some(ca.client(|_| {})), user("CN=client")),
        ("none", None, Verdict::NoTls),
        (
            "expired",
            Some(ca.client(|params| params.not_after = date_time_ymd(2020, 1, 1))),
            Verdict::NoTls,
        ),
        (
            "not yet valid",
            Some(ca.client(|params| params.not_before = date_time_ymd(2090, 1, 1))),
            Verdict::NoTls,
        ),
        ("of another authority of that name", Some(other.client(|_| {})), Verdict::NoTls),
        (
            "for servers",
            Some(ca.client(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
            Verdict::NoTls,
        ),
        (
            "for anything",
            Some(ca.client(|params| params.extended_key_usages = Vec::new())),
            user("CN=client"),
        ),
        (
            "for clients and servers",
            Some(ca.client(|params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            })),
            user("CN=client"),
        ),
    ] {
        assert_eq!(world.verdict(identity.as_ref()).await, expected, "{case}");
    }
}

/// webpki does not check this for the certificates in `ca_file`.
#[tokio::test]
async fn only_valid_authorities_are_accepted() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, Change, bool); 9] = [
        ("as usual", |_| {}, true),
        ("for clients", |params| params.extended_key_usages = vec![ServerAuth, ClientAuth], true),
        ("for anything", |params| params.extended_key_usages = vec![Any], true),
        ("without key usage", |params| params.key_usages.clear(), true),
        ("for servers", |params| params.extended_key_usages = vec![ServerAuth], false),
        ("expired", |params| params.not_after = date_time_ymd(2020, 1, 1), false),
        ("not yet valid", |params| params.not_before = date_time_ymd(2090, 1, 1), false),
        ("may not sign", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign], false),
        ("no authority", |params| params.is_ca = IsCa::ExplicitNoCa, false),
    ];
    for (case, change, vouches) in cases {
        let root = Authority::changed("root", change);
        let believed = root.pem();
        let world = World::new(&["CN=client"], |_, options| options.ca = Some(believed)).await;
        let expected = if vouches { user("CN=client") } else { Verdict::NoTls };
        assert_eq!(world.verdict(Some(&root.client(|_| {}))).await, expected, "{case}");
    }
}

#[tokio::test]
async fn only_valid_intermediates_are_accepted() {
    use ExtendedKeyUsagePurpose::ServerAuth;
    let world = World::new(&["CN=client"], |_, _| {}).await;
    let ca = &world.authority;
    let middle = ca.below("middle", |_| {});
    assert_eq!(world.verdict(Some(&middle.client(|_| {}))).await, Verdict::NoTls, "not shown");
    let shown = middle.client(|_| {}).shown_with(&middle);
    assert_eq!(world.verdict(Some(&shown)).await, user("CN=client"));
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, Change); 4] = [
        ("expired", |params| params.not_after = date_time_ymd(2020, 1, 1)),
        ("may not sign", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("for servers", |params| params.extended_key_usages = vec![ServerAuth]),
        ("none", |params| params.is_ca = IsCa::ExplicitNoCa),
    ];
    for (case, change) in cases {
        let middle = ca.below("middle", change);
        let shown = middle.client(|_| {}).shown_with(&middle);
        assert_eq!(world.verdict(Some(&shown)).await, Verdict::NoTls, "{case}");
    }
}

#[tokio::test]
async fn path_length_constraints_apply() {
    let root = Authority::changed("root", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let believed = root.pem();
    let world = World::new(&["CN=client"], |_, options| options.ca = Some(believed)).await;
    assert_eq!(world.verdict(Some(&root.client(|_| {}))).await, user("CN=client"));
    let middle = root.below("middle", |_| {});
    let shown = middle.client(|_| {}).shown_with(&middle);
    assert_eq!(world.verdict(Some(&shown)).await, Verdict::NoTls);
}

/// An authority renews its certificate with the same key; the file contains both for a while.
#[tokio::test]
async fn one_of_several_certificates_of_an_authority_must_be_valid() {
    let root = Authority::new("root");
    let old = root.again(|params| params.not_after = date_time_ymd(2020, 1, 1));
    for both in [[&root, &old], [&old, &root]] {
        let pem = both.map(Authority::certificate_pem).concat();
        let believed = Pem::from(pem.into_bytes());
        let world = World::new(&["CN=client"], |_, options| options.ca = Some(believed)).await;
        assert_eq!(world.verdict(Some(&root.client(|_| {}))).await, user("CN=client"));
    }
}

#[tokio::test]
async fn a_certificate_names_its_user() {
    let world = World::new(
        &["mail@acme", "host.acme", "urn:acme:x", "CN=x,OU=ops,O=acme", "O=first,CN=y"],
        |_, _| {},
    )
    .await;
    let sans = |names: &[SanType]| {
        let names = names.to_vec();
        world.authority.client(|params| params.subject_alt_names = names)
    };
    let subject = |parts: &[(DnType, &str)]| {
        world.authority.client(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, value) in parts {
                params.distinguished_name.push(kind.clone(), *value);
            }
        })
    };
    use DnType::{CommonName as CN, OrganizationName as O, OrganizationalUnitName as OU};
    for (case, identity, expected) in [
        ("mail", sans(&[mail("mail@acme")]), user("mail@acme")),
        ("host", sans(&[host("host.acme")]), user("host.acme")),
        ("uri", sans(&[uri("urn:acme:x")]), user("urn:acme:x")),
        ("a scheme in other letters", sans(&[uri("URN:acme:x")]), user("urn:acme:x")),
        (
            "mail before host before uri",
            sans(&[uri("urn:acme:x"), host("host.acme"), mail("mail@acme")]),
            user("mail@acme"),
        ),
        ("the second host", sans(&[host("other"), host("host.acme")]), user("host.acme")),
        ("a host in other letters", sans(&[host("HOST.acme")]), Verdict::Unauthorized),
        ("a mail address as a host", sans(&[host("mail@acme")]), user("mail@acme")),
        ("a wildcard", sans(&[host("*.acme")]), Verdict::Unauthorized),
        ("subject", subject(&[(O, "acme"), (OU, "ops"), (CN, "x")]), user("CN=x,OU=ops,O=acme")),
        (
            "subject the other way round",
            subject(&[(CN, "x"), (OU, "ops"), (O, "acme")]),
            user("CN=x,OU=ops,O=acme"),
        ),
        (
            "subject written the other way round",
            subject(&[(O, "first"), (CN, "y")]),
            user("O=first,CN=y"),
        ),
        ("part of a subject", subject(&[(OU, "ops"), (CN, "x")]), Verdict::Unauthorized),
        ("common name only", subject(&[(CN, "x")]), Verdict::Unauthorized),
        (
            "a subject that spells another",
            subject(&[(CN, "x,OU=ops,O=acme")]),
            Verdict::Unauthorized,
        ),
        ("no subject", subject(&[]), Verdict::Unauthorized),
    ] {
        assert_eq!(world.verdict(Some(&identity)).await, expected, "{case}");
    }
}

#[tokio::test]
async fn a_certificate_overrides_the_user_in_connect() {
    let world = World::new(&["CN=client", "CN=other"], |_, _| {}).await;
    let identity = world.authority.client(|_| {});
    let mut raw = Raw::connect(&world.server).await;
    raw.line().await;
    let mut tls = raw.upgrade(world.authority.client_config(Some(&identity))).await.unwrap();
    tls.say("CONNECT {\"verbose\":true,\"user\":\"CN=other\",\"pass\":\"\"}\r\n").await;
    assert_eq!(tls.line().await, "+OK\r\n");
    assert_eq!(world.last.lock().unwrap().as_deref(), Some("CN=client"));
}

#[tokio::test]
async fn revoked_certificates_are_rejected() {
    let world =
        World::new(&["CN=client"], |ca, options| options.revoked = vec![ca.revoke(&[7])]).await;
    let numbered = |number: u64| {
        world.authority.client(|params| params.serial_number = Some(SerialNumber::from(number)))
    };
    assert_eq!(world.verdict(Some(&numbered(7))).await, Verdict::NoTls);
    assert_eq!(world.verdict(Some(&numbered(8))).await, user("CN=client"));
}

#[tokio::test]
async fn with_revocation_lists_every_issuer_needs_one() {
    let other = Authority::new("other");
    let world = World::new(&["CN=client"], |ca, options| {
        let both = [ca.certificate_pem(), other.certificate_pem()].concat();
        options.ca = Some(Pem::from(both.into_bytes()));
        options.revoked = vec![ca.revoke(&[7])];
    })
    .await;
    assert_eq!(world.verdict(Some(&world.authority.client(|_| {}))).await, user("CN=client"));
    assert_eq!(world.verdict(Some(&other.client(|_| {}))).await, Verdict::NoTls);
}

#[tokio::test]
async fn only_pinned_keys_are_accepted() {
    let (ca, other) = (Authority::new("ca"), Authority::new("ca"));
    let (pinned, unauthenticated_guard) = (ca.client(|_| {}), ca.client(|_| {}));
    // The right key, in a certificate signed by another authority.
    let impostor = other.client_with_key(&pinned);
    for make in [str::to_uppercase, str::to_lowercase] as [fn(&str) -> String; 2] {
        let mut options = ca.options();
        options.ca = Some(ca.pem());
        options.client_certificates = ClientCertificates::Verify;
        let spki = pinned.key.subject_public_key_info();
        options.pinned_certs = vec!["00".repeat(32), make(&crate::authority::sha256(&spki))];
        let server = Server::builder().tls(options).bind().await.unwrap();
        let verdict = async |identity: &Identity| {
            let mut raw = Raw::connect(&server).await;
            raw.line().await;
            let Ok(mut tls) = raw.upgrade(ca.client_config(Some(identity))).await else {
                return false;
            };
            let _ = tokio::io::AsyncWriteExt::write_all(tls.stream.get_mut(), b"PING\r\n").await;
            tls.try_line().await.is_ok_and(|line| line == "PONG\r\n")
        };
        assert!(verdict(&pinned).await);
        assert!(!verdict(&unauthenticated_guard).await);
        assert!(!verdict(&impostor).await);
    }
}

#[tokio::test]
async fn a_verified_certificate_is_no_password() {
    let ca = Authority::new("ca");
    let mut options = ca.options();
    options.ca = Some(ca.pem());
    options.client_certificates = ClientCertificates::Verify;
    let users = Users::builder().user(User::new("CN=client", "pw")).build().unwrap();
    let server = Server::builder().tls(options).authenticator(users).bind().await.unwrap();
    for (connect, expected) in [
        ("CONNECT {}\r\n", "-ERR 'Authorization Violation'\r\n"),
        ("CONNECT {\"user\":\"CN=client\",\"pass\":\"pw\"}\r\n", "+OK\r\n"),
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.line().await;
        let config = ca.client_config(Some(&ca.client(|_| {})));
        let mut tls = raw.upgrade(config).await.unwrap();
        tls.say(connect).await;
        assert_eq!(tls.line().await, expected);
    }
}

/// As in the reference: without TLS no certificate was presented.
#[tokio::test]
async fn a_client_without_tls_has_no_certificate() {
    let world = World::new(&["CN=client"], |_, options| options.allow_non_tls = true).await;
    let mut raw = Raw::connect(&world.server).await;
    raw.line().await;
    raw.say("CONNECT {\"user\":\"CN=client\",\"pass\":\"\"}\r\n").await;
    assert_eq!(raw.line().await, "-ERR 'Authorization Violation'\r\n");
}

#[tokio::test]
async fn certificates_are_available_to_monitoring() {
    let world = World::new(&["CN=client"], |_, _| {}).await;
    let identity = world.authority.client(|params| {
        common_name(params, "client");
        params.subject_alt_names = vec![mail("a@b"), host("c")];
    });
    assert_eq!(world.verdict(Some(&identity)).await, user("CN=client"));
    // It ended together with its session, so that another client stays connected.
    let mut raw = Raw::connect(&world.server).await;
    raw.line().await;
    let config = world.authority.client_config(Some(&identity));
    let mut tls = raw.upgrade(config).await.unwrap();
    tls.say("CONNECT {\"verbose\":true}\r\n").await;
    assert_eq!(tls.line().await, "+OK\r\n");
    let security = world.server.broker().security(2).unwrap();
    let [peer] = &security.peers[..] else { panic!("{security:?}") };
    assert_eq!(peer.subject, "CN=client");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&peer.sha256), crate::authority::sha256(identity.certificate.der()));
    let spki = identity.key.subject_public_key_info();
    assert_eq!(hex(&peer.spki_sha256), crate::authority::sha256(&spki));
    let names = security.certificate.clone().unwrap();
    assert_eq!((&*names.emails, &*names.dns_names), (&["a@b".into()][..], &["c".into()][..]));
}
