//! Delivery of a traced message: one message, whose every receiver is noted in the trace of the call.

use smallvec::SmallVec;

use super::audience::Audience;
use super::deliver::{deliver_to, group_from, is_eligible};
use super::peers::{Delivery, ForPeer, deliver_to_peers_alone, is_for_local};
use crate::account::Account;
use crate::endpoint::{Kind, Link, Run, Scratch, Sender, Subscription};
use crate::header_block;
use crate::interest::{Interested, Matches};
use crate::message_trace::{MessageTrace, NotDelivered, StreamReport};
use crate::proto::Publish;
use crate::random::Random;
use crate::reserved::TRACE_HOP;
use crate::subject::{Rewrite, SubjectBuffer};
use crate::sync::{Arc, Ordering};

/// Delivers a run of one message, which [is traced](Scratch::message_trace). Returns true if at least one receiver got
/// it, or would have got it if the message is only to be traced.
// NATS 2.14: client.go processMsgResults, deliverMsg.
pub(super) fn deliver_all(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    (matches, audience): (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
) -> bool {
    let mut is_delivered = false;
    let plain = matches.plain.iter().filter(|_| audience.has_plain());
    for subscription in plain.filter(|one| !is_exported_again(one, from)) {
        let outcome = attempt(account, subscription, from, run, false, scratch);
        note(subscription, outcome, scratch);
        is_delivered |= outcome.is_ok();
    }
    let mut taken: SmallVec<[&[u8]; 4]> = SmallVec::new();
    let delivery = Delivery { account, from, matches };
    for group in matches.groups() {
        let queue = group.first().and_then(|member| member.queue()).unwrap_or_default();
        let is_meant = audience.has_queue(queue)
            && (matches.peers().is_empty() || is_for_local(&delivery, run.subject, queue, random));
        if is_meant && deliver_to_group(account, from, run, group, random, scratch) {
            taken.push(queue);
        }
    }
    is_delivered |= !taken.is_empty();
    if matches.peers().is_empty() {
        return is_delivered;
    }
    let goes_to_peer = |name: &[u8]| audience.has_queue(name) && !taken.contains(&name);
    is_delivered | deliver_to_peers_alone(&delivery, run, random, scratch, goes_to_peer, for_peer)
}

/// Notes the peer. Returns the form in which it gets the message: with its place in the path of the message if it
/// continues the trace; otherwise none if the message is only to be traced.
// NATS 2.14: client.go processMsgResults, deliverMsg.
fn for_peer(peer: &Subscription, message: &Publish<'_>, scratch: &mut Scratch) -> ForPeer {
    let traces = peer.endpoint.traces_messages.load(Ordering::Relaxed);
    let Some(trace) = scratch.message_trace() else { return ForPeer::AsItIs };
    if traces {
        let hop = trace.begin_hop();
        note(peer, Ok(()), scratch);
        let mut body = header_block::set(message.headers(), TRACE_HOP, hop.as_bytes());
        let header_len = body.len();
        body.extend_from_slice(message.payload());
        return ForPeer::Changed { header_len, body };
    }
    let is_only = trace.is_only();
    let why = if is_only { NotDelivered::PeerCannotTrace } else { NotDelivered::PeerDoesNotTrace };
    note(peer, Err(why), scratch);
    if is_only { ForPeer::Nothing } else { ForPeer::AsItIs }
}

/// Delivers to one member, and notes those before it that could not take the message.
fn deliver_to_group(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    group: &[Arc<Subscription>],
    random: &mut Random,
    scratch: &mut Scratch,
) -> bool {
    let mut crowded = None;
    for member in group_from(group, random).filter(|member| !is_exported_again(member, from)) {
        let outcome = attempt(account, member, from, run, true, scratch);
        if outcome == Err(NotDelivered::Crowded) && crowded.is_none() {
            crowded = Some(member);
            continue;
        }
        note(member, outcome, scratch);
        if outcome.is_ok() {
            if let Some(member) = crowded {
                note(member, Err(NotDelivered::Crowded), scratch);
            }
            return true;
        }
    }
    // No member has room: the first pick becomes a slow consumer, as without a queue group.
    let Some(member) = crowded else { return false };
    let outcome = attempt(account, member, from, run, false, scratch);
    note(member, outcome, scratch);
    outcome.is_ok()
}

/// Delivers to a subscription, unless the message is only traced.
fn attempt(
    account: &Account,
    subscription: &Arc<Subscription>,
    from: Sender,
    run: &Run<'_>,
    may_refuse: bool,
    scratch: &mut Scratch,
) -> Result<(), NotDelivered> {
    let mut is_traced = true;
    if let Some(Link::Shadow { rewrite, allow_trace, .. }) = subscription.link() {
        note_export(subscription, rewrite, run.subject, scratch);
        is_traced = *allow_trace;
    }
    if !is_traced && scratch.message_trace().is_some_and(|trace| trace.is_only()) {
        return Ok(());
    }
    if !is_eligible(subscription, from, run.subject) {
        return Err(reason(subscription, from));
    }
    if let Some(stream) = subscription.endpoint.destination.stream().filter(|_| is_traced) {
        let stream_trace = scratch.message_trace().map(|trace| trace.note_stream(stream));
        scratch.stream_trace = stream_trace.map(Box::new);
    } else if scratch.message_trace().is_some_and(|trace| trace.is_only()) {
        return Ok(());
    }
    let delivered = deliver_to(account, subscription, run, may_refuse, scratch);
    if let Some(refused) = scratch.stream_trace.take() {
        // The publisher has not done its part, so that the event does not leave yet.
        let error = Some("The queue of the stream is full".to_owned());
        refused.report(StreamReport { error, ..StreamReport::default() });
    }
    if delivered > 0 {
        return Ok(());
    }
    Err(match (has_ended(subscription), may_refuse) {
        (true, _) => NotDelivered::MaxReached,
        (false, true) => NotDelivered::Crowded,
        (false, false) => NotDelivered::ClientClosed,
    })
}

/// Notes that the message goes to an account that imports the stream.
fn note_export(
    subscription: &Subscription,
    rewrite: &Rewrite,
    subject: &[u8],
    scratch: &mut Scratch,
) {
    let membership = subscription.endpoint.membership_in(subscription.slot());
    let account = membership.as_ref().map(|it| &**it.account()).unwrap_or_default();
    let mut buffer = SubjectBuffer::new();
    if let Some(trace) = scratch.message_trace() {
        trace.note_stream_export(account, rewrite.apply(subject, &mut buffer));
    }
}

/// Returns true for a stream of another account that is imported, if the message came as a request to a service: it is
/// not exported again.
// NATS 2.14: client.go pmrMsgImportedFromService.
fn is_exported_again(subscription: &Subscription, from: Sender) -> bool {
    from.is_served && matches!(subscription.link(), Some(Link::Shadow { .. }))
}

/// Returns the reason why a subscription that is not eligible does not get the message.
fn reason(subscription: &Subscription, from: Sender) -> NotDelivered {
    if subscription.endpoint.id == from.id && !from.echo {
        NotDelivered::NoEcho
    } else if has_ended(subscription) {
        NotDelivered::SubscriptionClosed
    } else {
        NotDelivered::SubscriptionDenied
    }
}

/// Returns true if the subscription has ended, or that of which it is a shadow.
fn has_ended(subscription: &Subscription) -> bool {
    match subscription.link() {
        Some(Link::Shadow { origin, .. }) => origin.is_over(),
        _ => subscription.is_over(),
    }
}

/// Notes an egress in the trace.
fn note(subscription: &Subscription, outcome: Result<(), NotDelivered>, scratch: &mut Scratch) {
    // NATS 2.14: the server's own subscriptions are not listed, nor those behind an import that ends the trace.
    let is_hidden = matches!(subscription.link(), Some(Link::Shadow { allow_trace: false, .. }));
    if subscription.endpoint.kind == Kind::System || is_hidden {
        return;
    }
    if let Some(trace) = scratch.message_trace() {
        note_in(trace, subscription, outcome);
    }
}

fn note_in(
    trace: &mut MessageTrace,
    subscription: &Subscription,
    outcome: Result<(), NotDelivered>,
) {
    let endpoint = &subscription.endpoint;
    let membership = endpoint.membership_in(subscription.slot());
    let account = membership.as_ref().map(|it| &**it.account()).unwrap_or_default();
    let to = endpoint.as_party(account);
    // NATS 2.14: a peer gets a message once, for all of its subscriptions.
    let (filter, queue) = match endpoint.kind.is_peer() {
        true => (&[][..], None),
        false => (subscription.filter(), subscription.queue()),
    };
    trace.note_egress(to, filter, queue, outcome);
}
