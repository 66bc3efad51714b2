//! The three parts of a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha512_256};

use super::{Body, Claims, JwtError, MAX_TOKEN_BYTES, json};
use crate::auth::Secret;
use crate::auth::nkey::{KeyPair, PublicKey, base32_encode, decode_for_urls};

/// The version of the format that is written.
const VERSION: i64 = 2;

/// `{"typ":"JWT","alg":"ed25519-nkey"}`
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";

/// Decodes a token and checks its signature.
// NATS 2.14: jwt decoder.go Decode.
pub(super) fn decode<B: Body>(token: &str) -> Result<Claims<B>, JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::TooLarge(token.len()));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(JwtError::Chunks);
    };
    check_header(header)?;
    let mut value: Value = parse(body)?;
    json::drop_nulls(&mut value);
    let version = json::version(&value)?;
    if version > VERSION {
        return Err(JwtError::Version);
    }
    if !B::KIND.is_empty() {
        if json::kind(&value) != B::KIND {
            return Err(JwtError::Kind(B::KIND));
        }
        json::migrate(&mut value, version)?;
    }
    let claims: Claims<B> = from_value(value)?;
    // Version 1 signs the claims alone.
    let signed = if version <= 1 { body } else { &token[..header.len() + 1 + body.len()] };
    let issuer = PublicKey::parse(&claims.issuer);
    let is_signed = issuer.is_ok_and(|issuer| {
        issuer.verify(signed.as_bytes(), &decode_for_urls(signature).unwrap_or_default()).is_ok()
    });
    if !is_signed {
        return Err(JwtError::Signature(version.max(1)));
    }
    let is_expected = |issuer: PublicKey| B::ISSUERS.contains(&issuer.kind());
    if !B::ISSUERS.is_empty() && !issuer.is_ok_and(is_expected) {
        return Err(JwtError::Issuer);
    }
    Ok(claims)
}

/// Signs claims. Sets their issuer, id and version; the time of issue is that in `claims`.
///
/// The result is a secret: with the claims of a user who needs no signature, it is enough to log in.
///
/// # Errors
///
/// [`JwtError`] if the key may not make such claims, or if they are about a key of another kind.
pub fn encode<B: Body + Clone>(claims: &Claims<B>, issuer: &KeyPair) -> Result<Secret, JwtError> {
    if !B::ISSUERS.is_empty() && !B::ISSUERS.contains(&issuer.public().kind()) {
        return Err(JwtError::Issuer);
    }
    if let Some(kind) = B::SUBJECT
        && !PublicKey::is_valid(kind, &claims.subject)
    {
        return Err(JwtError::Subject(kind));
    }
    let mut claims = claims.clone();
    claims.issuer = issuer.public().to_string();
    claims.nats.set_generic(VERSION);
    claims.id.clear();
    let text = serde_json::to_vec(&claims).map_err(|error| json_error(&error))?;
    claims.id = base32_encode(&Sha512_256::digest(&text));
    let body = serde_json::to_vec(&claims).map_err(|error| json_error(&error))?;
    let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(body));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    Ok(format!("{signed}.{signature}").into())
}

// NATS 2.14: jwt header.go Valid.
fn check_header(part: &str) -> Result<(), JwtError> {
    let value: Value = parse(part)?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_known =
        ["ed25519", "ed25519-nkey"].iter().any(|name| text("alg").eq_ignore_ascii_case(name));
    if is_known && text("typ").eq_ignore_ascii_case("JWT") { Ok(()) } else { Err(JwtError::Header) }
}

fn parse(part: &str) -> Result<Value, JwtError> {
    serde_json::from_slice(&decode_for_urls(part).ok_or(JwtError::Base64)?)
        .map_err(|error| json_error(&error))
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JwtError> {
    serde_json::from_value(value).map_err(|error| json_error(&error))
}

/// Names the category only: the message of the parser may quote the token.
pub(super) fn json_error(error: &serde_json::Error) -> JwtError {
    JwtError::Json(match error.classify() {
        serde_json::error::Category::Data => "a field has another type".to_owned(),
        _ => "not JSON".to_owned(),
    })
}
