//! Requests, by their subjects.

use super::call::Call;
use super::host::{ApiRequest, Host};
use super::subject::Endpoint;
use super::{account, backup, consumer, consumer_create, message, stream, stream_change};
use crate::config::Time;
use crate::outbox::Outbox;

/// Answers a request. Nothing is answered at subjects that are not [endpoints](Endpoint).
///
/// `out` takes the answer and advisories; an answer that waits for the disk goes through the cell of its stream.
pub fn handle(host: &mut dyn Host, request: &ApiRequest<'_>, now: Time, out: &mut dyn Outbox) {
    let Some(endpoint) = Endpoint::parse(request.subject) else { return };
    let identity = host.identity();
    let mut call = Call { host, identity, request, now, out };
    match endpoint {
        Endpoint::AccountInfo => account::info(&mut call),
        Endpoint::StreamCreate(name) => stream_change::create(&mut call, name),
        Endpoint::StreamUpdate(name) => stream_change::update(&mut call, name),
        Endpoint::StreamInfo(name) => stream::info(&mut call, name),
        Endpoint::StreamDelete(name) => stream_change::delete(&mut call, name),
        Endpoint::StreamPurge(name) => stream_change::purge(&mut call, name),
        Endpoint::StreamNames => stream::names(&mut call),
        Endpoint::StreamList => stream::list(&mut call),
        Endpoint::StreamSnapshot(name) => backup::snapshot(&mut call, name),
        Endpoint::StreamRestore(name) => backup::restore(&mut call, name),
        Endpoint::StreamPeerRemove(_) => call.needs_cluster("stream_remove_peer"),
        Endpoint::StreamStepDown(_) => call.needs_cluster("stream_leader_stepdown"),
        Endpoint::MessageGet(name) => message::get(&mut call, name),
        Endpoint::MessageDelete(name) => message::delete(&mut call, name),
        Endpoint::ConsumerCreate(form) => consumer_create::create(&mut call, form),
        Endpoint::ConsumerNames(stream) => consumer::names(&mut call, stream),
        Endpoint::ConsumerList(stream) => consumer::list(&mut call, stream),
        Endpoint::ConsumerInfo(stream, name) => consumer::info(&mut call, stream, name),
        Endpoint::ConsumerDelete(stream, name) => consumer::delete(&mut call, stream, name),
        Endpoint::ConsumerPause(stream, name) => consumer::pause(&mut call, stream, name),
        Endpoint::ConsumerUnpin(stream, name) => consumer::unpin(&mut call, stream, name),
        Endpoint::ConsumerReset(stream, name) => consumer::reset(&mut call, stream, name),
        Endpoint::ConsumerStepDown(..) => call.needs_cluster("consumer_leader_stepdown"),
    }
}
