//! The purge of an account: the system account has all streams of another one deleted.
// NATS 2.14: jetstream_api.go jsLeaderAccountPurgeRequest.

use super::advisory::{self, Action};
use super::host::{ApiRequest, Host, Origin};
use super::response::{AccountPurged, encode, send_to};
use crate::config::Time;
use crate::error::ApiError;
use crate::outbox::Outbox;

/// The prefix of the subjects of such requests; the name of the account follows.
pub(crate) const PREFIX: &str = "$JS.API.ACCOUNT.PURGE.";

/// Deletes all streams of an account.
///
/// # Errors
///
/// That of the first stream that cannot be deleted; those after it stay.
pub(crate) fn delete_all(
    host: &mut dyn Host,
    now: Time,
    out: &mut dyn Outbox,
) -> Result<(), ApiError> {
    for stream in host.stream_names() {
        if host.delete_stream(&stream, now)? {
            advisory::stream_action(host, &stream, Action::Delete, now, out);
        }
    }
    Ok(())
}

/// Answers the request, and publishes its audit advisory.
pub(crate) fn answer(
    origin: &mut dyn Origin,
    request: &ApiRequest<'_>,
    result: Result<(), ApiError>,
    now: Time,
    out: &mut dyn Outbox,
) {
    let answer = encode("account_purge", result.map(|()| AccountPurged { initiated: true }));
    if !request.reply.is_empty() {
        send_to(out, request.reply, &answer);
    }
    advisory::audit(origin, request, &answer, now, out);
}
