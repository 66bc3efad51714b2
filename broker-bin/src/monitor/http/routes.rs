//! Routing of paths to endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use broker_core::go_json;
use serde::Serialize;

use super::access::Access;
use super::answer::{self, Answer};
use super::response_pool::{Failed, ResponsePool};
use crate::monitor::metrics::Metrics;
use crate::monitor::query::{BadRequest, Query, escapes_are_whole};
use crate::monitor::{
    ConnzOptions, Health, HealthzOptions, JszOptions, MonitorOptions, Observer, RoutezOptions,
    SubszOptions, page,
};
#[cfg(feature = "streams")]
use crate::monitor::{MessagezOptions, Streamz, StreamzOptions};

/// The state shared by all requests.
struct Routes {
    observer: Observer,
    access: Access,
    response_pool: ResponsePool,
    metrics: Metrics,
    /// The path of the index page.
    root: String,
    /// Shows messages of streams.
    #[cfg(feature = "streams")]
    shows_messages: bool,
    base_path: String,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Endpoint {
    Root,
    /// A file of the page.
    File(&'static page::File),
    Varz,
    Connz,
    Routez,
    Gatewayz,
    Leafz,
    Subsz,
    Accountz,
    Accstatz,
    Jsz,
    Healthz,
    Raftz,
    Metrics,
    #[cfg(feature = "streams")]
    Streamz,
    #[cfg(feature = "streams")]
    Messagez,
}

/// The path of the page's files.
const FILES: &str = "/page/";

const ENDPOINTS: &[(&str, Endpoint)] = &[
    ("/varz", Endpoint::Varz),
    ("/connz", Endpoint::Connz),
    ("/routez", Endpoint::Routez),
    ("/gatewayz", Endpoint::Gatewayz),
    ("/leafz", Endpoint::Leafz),
    ("/subsz", Endpoint::Subsz),
    ("/subscriptionsz", Endpoint::Subsz),
    ("/accountz", Endpoint::Accountz),
    ("/accstatz", Endpoint::Accstatz),
    ("/jsz", Endpoint::Jsz),
    ("/healthz", Endpoint::Healthz),
    ("/raftz", Endpoint::Raftz),
    ("/metrics", Endpoint::Metrics),
    #[cfg(feature = "streams")]
    ("/streamz", Endpoint::Streamz),
    #[cfg(feature = "streams")]
    ("/messagez", Endpoint::Messagez),
];

pub(super) fn router(options: &MonitorOptions, observer: Observer, address: SocketAddr) -> Router {
    let base_path = clean_base(&options.base_path);
    let routes = Routes {
        access: Access::new(options),
        response_pool: ResponsePool::new(),
        metrics: Metrics::new(options, address),
        #[cfg(feature = "streams")]
        shows_messages: options.shows_messages,
        root: if base_path.is_empty() { "/".into() } else { base_path.clone() },
        base_path,
        observer,
    };
    // Any method is accepted, as in the reference; no request changes anything.
    Router::new().fallback(any(serve)).with_state(Arc::new(routes))
}

/// Normalizes `nats/` and `/nats` to `/nats`; `/` becomes empty.
pub(super) fn clean_base(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().map(|part| format!("/{part}")).collect()
}

async fn serve(State(routes): State<Arc<Routes>>, request: Request) -> Answer {
    let uri = request.uri();
    let path = uri.path();
    if !path.starts_with('/') || !escapes_are_whole(path) {
        return answer::malformed();
    }
    let clean = clean_path(path);
    if clean != path {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return answer::elsewhere(&format!("{clean}{query}"));
    }
    let endpoint = unescape(path).and_then(|path| routes.endpoint(&path));
    let Some(endpoint) = endpoint else { return answer::not_found() };
    // Health checks need no credentials, because the answer contains no secrets.
    if endpoint != Endpoint::Healthz
        && let Err(challenges) = routes.access.check(request.headers())
    {
        return answer::who_are_you(challenges);
    }
    let query = Query::parse(uri.query().unwrap_or_default());
    let answer = routes.answer(endpoint, query, request.headers()).await;
    answer.unwrap_or_else(|error| answer::bad_request(&error))
}

impl Routes {
    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        if path == self.root {
            return Some(Endpoint::Root);
        }
        let name = path.strip_prefix(&*self.base_path)?;
        if let Some(file) = name.strip_prefix(FILES) {
            return page::file(file).map(Endpoint::File);
        }
        ENDPOINTS.iter().find(|(known, _)| *known == name).map(|(_, endpoint)| *endpoint)
    }

    async fn answer(
        &self,
        endpoint: Endpoint,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Answer, BadRequest> {
        let observer = &self.observer;
        // Most requests are counted even if refused; those for connections only if their parameters
        // are valid.
        let count = |path| observer.note_request(path);
        let seen = observer.clone();
        Ok(match endpoint {
            Endpoint::Root => {
                count("/");
                answer::file(&page::index(&observer.server_name(), &self.base_path), headers)
            }
            Endpoint::File(file) => answer::file(file, headers),
            Endpoint::Varz => {
                count("/varz");
                self.json(move || Ok(seen.varz())).await?
            }
            Endpoint::Connz => {
                let options = ConnzOptions::parse(&query)?;
                count("/connz");
                self.json(move || seen.connz(&options)).await?
            }
            Endpoint::Routez => {
                count("/routez");
                let options = RoutezOptions::parse(&query)?;
                self.json(move || Ok(seen.routez(&options))).await?
            }
            Endpoint::Gatewayz => {
                count("/gatewayz");
                query.subscriptions()?;
                query.switch("accs")?;
                self.json(move || Ok(seen.gatewayz())).await?
            }
            Endpoint::Leafz => {
                count("/leafz");
                query.switch("subs")?;
                self.json(move || Ok(seen.leafz())).await?
            }
            Endpoint::Subsz => {
                count("/subsz");
                let options = SubszOptions::parse(&query)?;
                self.json(move || seen.subsz(&options)).await?
            }
            Endpoint::Accountz => {
                count("/accountz");
                self.json(move || {
                    seen.accountz(Some(query.text("acc")).filter(|name| !name.is_empty()))
                })
                .await?
            }
            Endpoint::Accstatz => {
                count("/accstatz");
                let unused = query.switch("unused")?;
                let look = match query.switch("shares")? {
                    true => Observer::accstatz_with_shares,
                    false => Observer::accstatz,
                };
                self.json(move || Ok(look(&seen, unused))).await?
            }
            Endpoint::Jsz => {
                count("/jsz");
                let options = JszOptions::parse(&query)?;
                self.json(move || seen.jsz(&options)).await?
            }
            Endpoint::Healthz => {
                count("/healthz");
                self.health(&HealthzOptions::parse(&query)?)
            }
            #[cfg(feature = "streams")]
            Endpoint::Streamz => {
                count("/streamz");
                let options = StreamzOptions::parse(&query)?;
                let shows_messages = self.shows_messages;
                let look = move || Ok(Streamz { shows_messages, ..seen.streamz(&options)? });
                self.json(look).await?
            }
            #[cfg(feature = "streams")]
            Endpoint::Messagez if !self.shows_messages => answer::no_messages(),
            #[cfg(feature = "streams")]
            Endpoint::Messagez => {
                count("/messagez");
                let options = MessagezOptions::parse(&query)?;
                answer::of_this_site(self.json(move || seen.messagez(&options)).await?)
            }
            Endpoint::Raftz => answer::no_raft(),
            Endpoint::Metrics => {
                let metrics = self.metrics.clone();
                let made =
                    self.response_pool.make(move || Some(metrics.render(&seen).into_bytes()));
                made.await.map_or_else(failed, answer::metrics)
            }
        })
    }

    /// Generates the answer and serializes it.
    async fn json<T: Serialize>(
        &self,
        look: impl FnOnce() -> Result<T, BadRequest> + Send + 'static,
    ) -> Result<Answer, BadRequest> {
        let (tell, refused) = tokio::sync::oneshot::channel();
        let made = self.response_pool.make(move || match look() {
            Ok(seen) => go_json::pretty(&seen).ok(),
            Err(error) => {
                // The receiver is waiting.
                let _ = tell.send(error);
                Some(Vec::new())
            }
        });
        let made = made.await;
        if let Ok(error) = refused.await {
            return Err(error);
        }
        Ok(made.map_or_else(failed, |body| answer::json(StatusCode::OK, body)))
    }

    /// Answers without queueing, because load balancers ask often and with short timeouts.
    fn health(&self, options: &HealthzOptions) -> Answer {
        let seen = self.observer.healthz(options);
        let status = match seen.health {
            Health::Ok => StatusCode::OK,
            Health::NotReady => StatusCode::INTERNAL_SERVER_ERROR,
            Health::BadRequest => StatusCode::BAD_REQUEST,
            Health::NotFound => StatusCode::NOT_FOUND,
            Health::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        if let Some(error) = &seen.error {
            tracing::warn!("Healthcheck failed: {error:?}");
        } else if !seen.errors.is_empty() {
            tracing::warn!("Healthcheck failed: {} errors", seen.errors.len());
        }
        match go_json::compact(&seen) {
            Ok(body) => answer::json(status, body.into()),
            Err(_) => answer::broken(),
        }
    }
}

fn failed(why: Failed) -> Answer {
    match why {
        Failed::Full => answer::busy(),
        Failed::Broken => answer::broken(),
    }
}

/// Removes empty parts, `.` and `..`; keeps a trailing slash.
// Go: net/http cleanPath.
fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean: String = parts.iter().map(|part| format!("/{part}")).collect();
    if clean.is_empty() || path.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// Decodes escapes; returns `None` if there is no endpoint of that name.
// Go: net/http compares part by part, so that an escaped slash does not separate parts.
fn unescape(path: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
        if byte == b'/' {
            return None;
        }
        plain.push(byte);
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, expected) in [
            ("/", "/"),
            ("//varz", "/varz"),
            ("/a/./b/../varz", "/a/varz"),
            ("/varz/", "/varz/"),
            ("/../..", "/"),
            ("//", "/"),
        ] {
            assert_eq!(clean_path(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_unescaped_as_go_does() {
        for (path, expected) in [
            ("/varz", Some("/varz")),
            ("/%76ar%7A", Some("/varz")),
            ("/%C3%A9", Some("/é")),
            ("/a%2Fvarz", None),
            ("/%ff", None),
        ] {
            assert_eq!(unescape(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_base_path_is_normalized() {
        for (written, expected) in [("", ""), ("/", ""), ("nats", "/nats"), ("/a//b/", "/a/b")] {
            assert_eq!(clean_base(written), expected, "{written}");
        }
    }
}
