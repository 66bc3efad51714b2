//! HTTP responses in the reference's form.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, LOCATION, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;

use crate::monitor::page::{self, File, escape};
use crate::monitor::query::BadRequest;

pub(super) type Answer = Response<Body>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// The metrics format that all versions of Prometheus read.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

pub(super) fn json(status: StatusCode, body: Bytes) -> Answer {
    with(answer(status, JSON, body), ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

/// Keeps pages of other sites from reading an answer.
#[cfg(feature = "streams")]
pub(super) fn of_this_site(mut answer: Answer) -> Answer {
    answer.headers_mut().remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    with(answer, CACHE_CONTROL, "no-store")
}

/// Messages of streams are not shown.
#[cfg(feature = "streams")]
pub(super) fn no_messages() -> Answer {
    answer(StatusCode::NOT_FOUND, TEXT, "Messages are not shown: http_messages is off")
}

pub(super) fn metrics(body: Bytes) -> Answer {
    answer(StatusCode::OK, METRICS, body)
}

/// Returns a file of the page, or "not modified" if the client has this version.
pub(super) fn file(file: &File, headers: &HeaderMap) -> Answer {
    let mut known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_tag = |tag: &str| ["*", &file.tag].contains(&tag.trim().trim_start_matches("W/"));
    let mut answer = if known.any(|tags| tags.split(',').any(is_tag)) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        answer(StatusCode::OK, file.kind, file.body.to_string())
    };
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    // Revalidated each time, so that files of different versions are never mixed.
    let answer = with(answer, CACHE_CONTROL, "no-cache");
    let answer = with(answer, CONTENT_SECURITY_POLICY, page::POLICY);
    let answer = with(answer, REFERRER_POLICY, "no-referrer");
    with(answer, X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(super) fn bad_request(error: &BadRequest) -> Answer {
    answer(StatusCode::BAD_REQUEST, TEXT, error.to_string())
}

/// The response to a request that Go's server cannot parse.
pub(super) fn malformed() -> Answer {
    answer(StatusCode::BAD_REQUEST, TEXT, "400 Bad Request")
}

pub(super) fn not_found() -> Answer {
    let answer = answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
    with(answer, X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// The reference's response without replication.
pub(super) fn no_raft() -> Answer {
    answer(StatusCode::NOT_FOUND, TEXT, "No Raft nodes registered")
}

pub(super) fn busy() -> Answer {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many large answers wait to be read\n")
}

pub(super) fn broken() -> Answer {
    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the answer could not be made\n")
}

pub(super) fn who_are_you(challenges: &[&'static str]) -> Answer {
    let mut answer = answer(StatusCode::UNAUTHORIZED, TEXT, "authorization required\n");
    for challenge in challenges {
        answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    answer
}

/// Redirects a request for an unclean path, as Go's server does.
pub(super) fn elsewhere(location: &str) -> Answer {
    let body = format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escape(location));
    let mut answer = answer(StatusCode::TEMPORARY_REDIRECT, HTML, body);
    match HeaderValue::from_str(location) {
        Ok(location) => {
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => not_found(),
    }
}
