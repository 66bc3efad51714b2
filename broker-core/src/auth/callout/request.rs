//! The request to a service: information about a client.

use std::time::{Duration, SystemTime};

use super::super::jwt::{
    AuthorizationRequestClaims, Claims, ClientInformation, ClientTls, JwtError, SentOptions,
    ServerId, encode as sign,
};
use super::super::nkey::{KeyPair, PublicKey};
use super::super::times::seconds;
use super::super::{ConnectionKind, Credentials, Identity, Secret, TlsDetails};
use super::{AUDIENCE, AuthorizationRequest};

/// Describes a client, about whom the response must name `user`.
pub(super) fn of(
    credentials: &Credentials,
    identity: Option<&Identity>,
    server: ServerId,
    user: PublicKey,
) -> AuthorizationRequest {
    AuthorizationRequest {
        server,
        user_nkey: user.to_string(),
        client: client(credentials, identity),
        connect: connect(credentials),
        tls: credentials.tls.as_ref().map(tls),
        ..AuthorizationRequest::default()
    }
}

/// Signs a request.
pub(super) fn encode(
    request: AuthorizationRequest,
    subject: String,
    timeout: Duration,
    now: Option<SystemTime>,
    key: &KeyPair,
) -> Result<Secret, JwtError> {
    let now = now.unwrap_or(SystemTime::UNIX_EPOCH);
    let claims = AuthorizationRequestClaims {
        subject,
        audience: AUDIENCE.to_owned(),
        issued_at: seconds(now),
        expires: seconds(now + timeout),
        nats: request,
        ..Claims::default()
    };
    sign(&claims, key)
}

// NATS 2.14: auth_callout.go fillClientInfo, client.go kindString and clientTypeString.
fn client(credentials: &Credentials, identity: Option<&Identity>) -> ClientInformation {
    let (kind, protocol) = match credentials.kind {
        ConnectionKind::Standard | ConnectionKind::InProcess => ("Client", "nats"),
        ConnectionKind::Websocket => ("Client", "websocket"),
        ConnectionKind::Mqtt | ConnectionKind::MqttWs => ("Client", "mqtt"),
        ConnectionKind::Leafnode | ConnectionKind::LeafnodeWs => ("Leafnode", ""),
    };
    ClientInformation {
        host: credentials.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
        id: credentials.client_id,
        user: user(credentials, identity).to_owned(),
        name: credentials.name.clone(),
        tags: identity.iter().flat_map(|one| one.tags.iter()).map(|tag| tag.to_string()).collect(),
        name_tag: identity.and_then(|one| one.name_tag.as_deref()).unwrap_or_default().to_owned(),
        kind: kind.to_owned(),
        protocol: protocol.to_owned(),
        nonce: match credentials.sig.is_empty() {
            true => String::new(),
            false => credentials.nonce.clone(),
        },
        ..ClientInformation::default()
    }
}

/// Returns the user: as the client has sent it, or the subject of its token.
// NATS 2.14: client.go getRawAuthUser.
fn user<'a>(credentials: &'a Credentials, identity: Option<&'a Identity>) -> &'a str {
    let sent = [&credentials.nkey, &credentials.user].into_iter().find(|sent| !sent.is_empty());
    let proven = identity.and_then(|one| one.nkey.as_deref());
    sent.map(String::as_str).or(proven).or(credentials.shown_as()).unwrap_or_default()
}

// NATS 2.14: auth_callout.go fillConnectOpts.
fn connect(credentials: &Credentials) -> SentOptions {
    let open = |secret: &Secret| secret.expose().to_owned();
    SentOptions {
        jwt: open(&credentials.jwt),
        nkey: credentials.nkey.clone(),
        signed_nonce: open(&credentials.sig),
        token: open(&credentials.token),
        user: credentials.user.clone(),
        password: open(&credentials.password),
        name: credentials.name.clone(),
        lang: credentials.lang.clone(),
        version: credentials.version.clone(),
        protocol: credentials.protocol,
    }
}

fn tls(details: &TlsDetails) -> ClientTls {
    let chain: Vec<String> = details.verified_chain.iter().map(|der| pem(der)).collect();
    ClientTls {
        version: details.version.to_owned(),
        cipher: details.cipher_suite.to_owned(),
        certs: Vec::new(),
        verified_chains: if chain.is_empty() { Vec::new() } else { vec![chain] },
    }
}

/// Writes a certificate as PEM.
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
