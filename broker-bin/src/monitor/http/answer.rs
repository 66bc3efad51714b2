//! Answers as the reference sends them.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;

use crate::monitor::query::BadRequest;

pub(super) type Answer = Response<Body>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// The format of metrics that every Prometheus reads.
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

pub(super) fn metrics(body: Bytes) -> Answer {
    answer(StatusCode::OK, METRICS, body)
}

pub(super) fn html(body: String) -> Answer {
    answer(StatusCode::OK, HTML, body)
}

pub(super) fn bad_request(error: &BadRequest) -> Answer {
    answer(StatusCode::BAD_REQUEST, TEXT, error.to_string())
}

pub(super) fn not_found() -> Answer {
    let answer = answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
    with(answer, X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// What the reference says that replicates nothing.
pub(super) fn no_raft() -> Answer {
    answer(StatusCode::NOT_FOUND, TEXT, "No Raft nodes registered")
}

pub(super) fn busy() -> Answer {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many large answers wait to be read\n")
}

pub(super) fn broken() -> Answer {
    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the answer could not be made\n")
}

pub(super) fn who_are_you(challenge: &'static str) -> Answer {
    let answer = answer(StatusCode::UNAUTHORIZED, TEXT, "authorization required\n");
    with(answer, WWW_AUTHENTICATE, challenge)
}

/// Where Go's server sends who asks for a path that is not clean.
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

/// For text that becomes part of a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
}
