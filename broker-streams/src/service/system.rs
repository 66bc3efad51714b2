//! The API in the system account, which has no streams: its clients learn so.

use broker_core::{Broker, HandlerSubscription, go_json};
use serde::Serialize;

use crate::error::ApiError;

/// The request for the usage of an account.
const INFO: &[u8] = b"$JS.API.INFO";

#[derive(Serialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: &'static str,
    error: ApiError,
}

/// Answers the requests of the system account. It ends when the result is dropped.
// NATS 2.14: jetstream_api.go apiDispatch.
pub(super) fn open(broker: &Broker) -> HandlerSubscription {
    let account = broker.system_account();
    let handler = broker.handle_as_server(&account, |message, context| {
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
