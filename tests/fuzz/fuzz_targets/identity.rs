//! Keys, tokens, claims and templates.
//!
//! The first byte selects what the rest is: the text of a key or token, or the claims of an account, a user, a scope or
//! an activation, which are signed here so that they get past the signature.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use broker_core::auth::jwt::{
    AccountClaims, Claims, User, UserLimits, UserScope, decode_account, decode_activation,
    decode_authorization_request, decode_authorization_response, decode_generic, decode_operator,
    decode_user, encode,
};
use broker_core::auth::nkey::{KeyKind, KeyPair, PublicKey};
use broker_core::auth::{Authenticator, Credentials};
use broker_core::operator::{MemoryResolver, OperatorMode, Trust, account_config};
use broker_core::{Broker, Options};
use libfuzzer_sys::fuzz_target;

static OPERATOR: LazyLock<KeyPair> = LazyLock::new(|| pair(KeyKind::Operator));
static ACCOUNT: LazyLock<KeyPair> = LazyLock::new(|| pair(KeyKind::Account));
static USER: LazyLock<KeyPair> = LazyLock::new(|| pair(KeyKind::User));

fn pair(kind: KeyKind) -> KeyPair {
    KeyPair::from_random(kind, [7; 32])
}

fuzz_target!(|data: &[u8]| {
    let Some((way, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match way % 5 {
        0 => read(text),
        1 => check_account(&signed(text, &OPERATOR, *way)),
        2 => check_user(&signed(text, &ACCOUNT, *way)),
        3 => check_template(text),
        _ => read(&signed(text, &ACCOUNT, *way)),
    }
});

/// Signs claims. `iss` is put in front, so that the text may replace it.
fn signed(fields: &str, issuer: &KeyPair, way: u8) -> String {
    let is_old = way >= 128;
    let header = BASE64.encode(if is_old {
        r#"{"typ":"jwt","alg":"ed25519"}"#
    } else {
        r#"{"typ":"JWT","alg":"ed25519-nkey"}"#
    });
    let body = BASE64.encode(format!("{{\"iss\":\"{}\",{fields}}}", issuer.public()));
    let text = if is_old { body.clone() } else { format!("{header}.{body}") };
    format!("{header}.{body}.{}", BASE64.encode(issuer.sign(text.as_bytes())))
}

/// Whatever the text is, reading it ends with a result that repeats nothing of it.
fn read(text: &str) {
    if let Ok(key) = PublicKey::parse(text) {
        assert_eq!(key.to_string(), text);
        assert!(key.verify(b"x", &[0; 64]).is_err());
    }
    if let Ok(pair) = KeyPair::from_seed(text) {
        assert_eq!(pair.seed().expose(), text);
    }
    let errors = [
        decode_operator(text).map(|claims| drop(claims.issues(0))).err(),
        decode_account(text).map(|claims| drop(claims.issues(0))).err(),
        decode_user(text).map(|claims| drop(claims.issues(0))).err(),
        decode_activation(text).map(|claims| drop(claims.issues(0))).err(),
        decode_generic(text).map(drop).err(),
        decode_authorization_request(text).map(drop).err(),
        decode_authorization_response(text).map(drop).err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().len() < 120, "{error}");
    }
}

/// Claims that are read are written and read again alike, and become a configuration.
fn check_account(token: &str) {
    let Ok(claims) = decode_account(token) else { return };
    let _ = claims.issues(1 << 30);
    let config = account_config(&claims, |_| true);
    assert!(config.exports.len() <= claims.nats.exports.len());
    let Ok(again) = encode(&claims, &OPERATOR) else { return };
    let mut again = decode_account(again.expose()).expect("what is written is valid");
    again.id.clone_from(&claims.id);
    again.nats.generic.version = claims.nats.generic.version;
    again.nats.generic.kind.clone_from(&claims.nats.generic.kind);
    assert_eq!(again, claims);
}

fn check_user(token: &str) {
    log_in(token, |_| ());
    let Ok(claims) = decode_user(token) else { return };
    let _ = (claims.issues(0), claims.issues(i64::MAX), claims.issues(i64::MIN));
}

/// The lines are the name of the user, the name of the account, tags, and then the template.
fn check_template(text: &str) {
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let mut claims = Claims::<User>::new(USER.public());
    claims.name = line();
    let name = line();
    let mut tags: Vec<String> = (0..8).map(|_| line()).collect();
    claims.nats.limits = UserLimits::default();
    claims.nats.issuer_account = ACCOUNT.public().to_string();
    let signer = KeyPair::from_random(KeyKind::Account, [8; 32]);
    let mut scope = UserScope::new(signer.public().to_string(), "role");
    let permissions = &mut scope.template.permissions;
    permissions.publish.allow = lines.clone().map(str::to_owned).collect();
    permissions.subscribe.deny = lines.map(str::to_owned).collect();
    let account_tags = tags.split_off(4);
    claims.nats.generic.tags = tags;
    let Ok(token) = encode(&claims, &signer) else { return };
    log_in(token.expose(), |account| {
        account.name = name;
        account.nats.generic.tags = account_tags;
        account.nats.signing_keys.add_scoped(scope);
    });
}

fn log_in(token: &str, change: impl FnOnce(&mut AccountClaims)) {
    let mut account = AccountClaims::new(ACCOUNT.public());
    change(&mut account);
    let Ok(account) = encode(&account, &OPERATOR) else { return };
    let accounts = MemoryResolver::new([(ACCOUNT.public().to_string(), account)]);
    let mode = OperatorMode::builder(Trust::keys([OPERATOR.public()]), accounts).build();
    let wall = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let broker = Broker::with_authenticator(Options::default(), (Instant::now, wall), mode.clone());
    mode.attach(&broker);
    let mut credentials = Credentials::default();
    credentials.jwt = token.into();
    credentials.nonce = "nonce".to_owned();
    credentials.remote = Some(([127, 0, 0, 1], 1).into());
    credentials.sig = BASE64.encode(USER.sign(b"nonce")).into();
    if let Ok(grant) = mode.authenticate(&credentials).resolve() {
        assert_eq!(*grant.account, *ACCOUNT.public().to_string());
        assert!(grant.identity.is_some() && grant.proof.is_some());
    }
}
