//! The API in the system account: it has no streams, and may delete those of other accounts.

use std::sync::{Arc, Mutex};

use broker_core::endpoint::Scratch;
use broker_core::{HandlerSubscription, ServerPublisher, go_json};
use serde::Serialize;

use super::accounts::Accounts;
use super::lock::lock;
use super::outbox::BrokerOutbox;
use super::requests_queue::QueuedRequest;
use super::server::Server;
use super::task::Responder;
use crate::api::{self, ApiRequest, Identity, Origin};
use crate::config::Time;
use crate::error::ApiError;

/// The request for the usage of an account.
const INFO: &[u8] = b"$JS.API.INFO";

#[derive(Serialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: &'static str,
    error: ApiError,
}

/// The system account.
struct System {
    name: Arc<str>,
    server: Arc<Server>,
    accounts: Arc<Accounts>,
    /// Publishes answers and advisories.
    publisher: Mutex<ServerPublisher>,
}

/// Answers the requests of the system account. It ends when the result is dropped.
// NATS 2.14: jetstream_api.go apiDispatch.
pub(super) fn open(server: &Arc<Server>, accounts: &Arc<Accounts>) -> HandlerSubscription {
    let name = server.broker.system_account();
    let system = Arc::new(System {
        publisher: Mutex::new(server.broker.server_publisher(&name)),
        name,
        server: Arc::clone(server),
        accounts: Arc::clone(accounts),
    });
    let handler =
        server.broker.handle_as_server(&Arc::clone(&system.name), move |message, context| {
            if is_purge(message.subject()) {
                let request = QueuedRequest::of(Arc::clone(&system) as _, message, context);
                return system.server.requests.push(request);
            }
            if is_of_cluster(message.subject()) {
                return;
            }
            let kind = match message.subject() {
                INFO => "io.nats.jetstream.api.v1.account_info_response",
                _ => "io.nats.jetstream.api.v1.system_response",
            };
            let refusal = Refusal { kind, error: ApiError::NOT_ENABLED_FOR_ACCOUNT };
            // A client that asks without a reply subject, or has gone, wants no answer.
            let _ = context.respond(message, &go_json::compact(&refusal).unwrap_or_default());
        });
    if let Err(error) = handler.subscribe("$JS.API.>", None) {
        tracing::error!("The API of streams cannot subscribe in the system account: {error}");
    }
    handler
}

/// Returns true for a request to purge an account.
fn is_purge(subject: &[u8]) -> bool {
    let account = subject.strip_prefix(api::ACCOUNT_PURGE.as_bytes());
    account.is_some_and(|account| !account.contains(&b'.'))
}

/// Returns true for a request about the servers of a cluster, which a single server does not answer.
fn is_of_cluster(subject: &[u8]) -> bool {
    let is_of_stream = |request: &[u8]| {
        let names = subject.strip_prefix(request).map(|names| names.split(|byte| *byte == b'.'));
        names.is_some_and(|names| names.count() == 2)
    };
    matches!(subject, b"$JS.API.META.LEADER.STEPDOWN" | b"$JS.API.SERVER.REMOVE")
        || is_of_stream(b"$JS.API.ACCOUNT.STREAM.MOVE.")
        || is_of_stream(b"$JS.API.ACCOUNT.STREAM.CANCEL_MOVE.")
}

impl System {
    /// Deletes all streams of an account, and what it has left on disk: it may have no streams any more, or not exist.
    fn purge(&self, name: &str, now: Time, scratch: &mut Scratch) -> Result<(), ApiError> {
        if name.contains(['/', '\\']) {
            return Err(ApiError::stream_general("account name can not contain path separators"));
        }
        let account = lock(&self.accounts).get(name).cloned();
        let streams = account.as_ref().map_or(0, |account| account.units().len());
        let exists = account.is_some();
        tracing::info!(
            "Purge request for account {name} (streams: {streams}, hasAccount: {exists})"
        );
        if let Some(account) = account {
            account.purge(now, scratch)?;
        }
        let Some(directory) = self.server.directory() else { return Ok(()) };
        directory.remove_account(name).map_err(ApiError::stream_general)
    }
}

impl Responder for System {
    fn name(&self) -> &str {
        &self.name
    }

    /// Does nothing: it has no limits.
    fn follow(&self) {}

    fn serve(&self, request: &ApiRequest<'_>, scratch: &mut Scratch) {
        let Some(name) = request.subject.strip_prefix(api::ACCOUNT_PURGE) else { return };
        let now = self.server.now();
        let result = self.purge(name, now, scratch);
        let publisher = &mut *lock(&self.publisher);
        let out = &mut BrokerOutbox { publisher, scratch };
        api::answer_account_purge(&mut ServerOrigin(&self.server), request, result, now, out);
    }
}

/// The server, as advisories name it.
struct ServerOrigin<'a>(&'a Server);

impl Origin for ServerOrigin<'_> {
    fn identity(&self) -> Arc<Identity> {
        self.0.identity()
    }

    fn unique_id(&mut self) -> String {
        self.0.unique_id()
    }
}
