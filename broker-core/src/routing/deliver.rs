//! Stage 6 of 8: delivery of messages to their matches. Before it: the interest; after it: destinations.
//!
//! Only this folder picks queue members. Consecutive messages of one publisher to one subject are delivered
//! as a run, receiver by receiver: the queue of each receiver is locked once for the run, and its memory is
//! in the cache. A receiver with several matching subscriptions could see the difference, so for it the run is
//! delivered message by message.
//!
//! A run to a queue group is distributed: all members are picked first, then each gets its part. This needs
//! ample room at all members. What a member does not take, because it ends in that moment, goes to another one; what none takes
//! counts as a message without a receiver here.

use std::task::Waker;

use smallvec::SmallVec;

use crate::account::Account;
use crate::endpoint::{
    Accepted, Endpoint, Link, Place, Run, Scratch, Sender, SubscriberQueue, Subscription,
    run_handlers,
};
use crate::interest::{Interested, Matches};
use crate::limits::{DISTRIBUTED_MEMBERS, FLUSH_ALL_AT_BYTES, FLUSH_AT_BYTES, RUN_MESSAGES};
use crate::message::Message;
use crate::proto::Publish;
use crate::random::Random;
use crate::subject::SubjectBuffer;
use crate::sync::{Arc, Ordering};

/// Delivers a run whose matches contain no peers. Calls `no_responders` with each message that reached no receiver.
pub(super) fn deliver_to_local<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    scratch: &mut Scratch,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let groups = matches.groups();
    let is_whole = matches.owners_differ()
        && (run.messages.len() == 1 || groups.iter().all(|group| can_distribute(from, run, group)));
    if !is_whole {
        for message in run.messages {
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            let mut delivered = deliver_to_plain(account, from, &one, matches, scratch) > 0;
            for group in groups {
                delivered |= deliver_to_group(account, from, &one, group, random, scratch);
            }
            if !delivered {
                no_responders(message, scratch);
            }
        }
        return;
    }
    let mut delivered = deliver_to_plain(account, from, run, matches, scratch);
    let mut left: Option<Left> = None;
    for group in groups {
        if run.messages.len() > 1 {
            let mut of_group = distribute(account, from, run, group, random, scratch);
            if let Some(others) = &left {
                of_group.retain(|place| others.contains(place));
            }
            left = Some(of_group);
        } else if deliver_to_group(account, from, run, group, random, scratch) {
            delivered = 1;
        }
    }
    match left {
        None => run.messages[delivered..].iter().for_each(|one| no_responders(one, scratch)),
        Some(left) => {
            for place in left.into_iter().filter(|place| *place >= delivered) {
                no_responders(&run.messages[place], scratch);
            }
        }
    }
}

/// Returns the queue of the subscription that is all that matches, if a message without headers may be [handed
/// over](place) to it.
#[inline(always)]
pub(crate) fn queue_of_only<'a>(
    account: &Account,
    from: Sender,
    only: &'a Subscription,
    has_reply: bool,
) -> Option<&'a SubscriberQueue> {
    let queue = only.local_queue()?;
    let endpoint = &*only.endpoint;
    let may_be_handed_over = (endpoint.id != from.id || from.echo)
        && only.is_ordinary()
        && !(has_reply && endpoint.tracks_replies())
        && !account.is_probed();
    may_be_handed_over.then_some(queue)
}

/// Hands a message over by value. Returns the task to be woken when no lock is held.
#[inline(always)]
pub(crate) fn hand_over(
    only: &Arc<Subscription>,
    place: Place<'_>,
    message: Message,
) -> Option<Waker> {
    let is_last = place.is_last;
    let reader = place.put(message);
    if is_last {
        end_at_home(only);
    }
    reader
}

/// As [`deliver_to_local`], for matches that are only plain subscriptions of different owners, as most are.
#[inline(always)]
pub(super) fn deliver_to_all_plain<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    scratch: &mut Scratch,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let delivered = deliver_to_plain(account, from, run, matches, scratch);
    for message in &run.messages[delivered..] {
        no_responders(message, scratch);
    }
}

/// The messages of a run, by their places, that no member of a queue group has taken. Usually there are none.
pub(super) type Left = SmallVec<[usize; 4]>;

/// Returns true if each member of the group can take all of the messages.
pub(super) fn can_distribute(from: Sender, run: &Run<'_>, group: &[Arc<Subscription>]) -> bool {
    // Each member's queue must be checked, which few messages are not worth.
    if group.len() > DISTRIBUTED_MEMBERS
        || !(group.len()..=RUN_MESSAGES).contains(&run.messages.len())
    {
        return false;
    }
    let bytes = run.messages.iter().map(|message| message.body.len()).sum();
    group.iter().all(|member| {
        is_eligible(member, from, run.subject)
            && !member.ends_by_itself()
            && member.endpoint.destination.has_plenty_of_room(member, run.messages.len(), bytes)
    })
}

/// Distributes the messages over the members, each with equal probability. Returns those that none has taken.
pub(super) fn distribute(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    group: &[Arc<Subscription>],
    random: &mut Random,
    scratch: &mut Scratch,
) -> Left {
    let mut left = Left::new();
    let mut picks = [0u8; RUN_MESSAGES];
    let picks = &mut picks[..run.messages.len()];
    // The beginning of each member's part, and later its end.
    let mut ends = [0usize; DISTRIBUTED_MEMBERS];
    for pick in &mut *picks {
        let member = random.below(group.len());
        *pick = member as u8;
        ends[member] += 1;
    }
    let mut begin = 0;
    for end in &mut ends[..group.len()] {
        begin += std::mem::replace(end, begin);
    }
    let mut distributed = scratch.take_distributed();
    distributed.extend_from_slice(run.messages);
    for (pick, message) in picks.iter().zip(run.messages) {
        let at = &mut ends[usize::from(*pick)];
        distributed[*at] = *message;
        *at += 1;
    }
    let mut begin = 0;
    for (number, (member, end)) in group.iter().zip(ends).enumerate() {
        if end > begin {
            let part = Run { messages: &distributed[begin..end], ..*run };
            let taken = deliver_to(account, member, &part, false, scratch);
            // The member has ended meanwhile.
            for message in begin + taken..end {
                let one = Run { messages: &distributed[message..=message], ..*run };
                if !deliver_to_group(account, from, &one, group, random, scratch) {
                    let mut places =
                        (0..picks.len()).filter(|at| usize::from(picks[*at]) == number);
                    left.extend(places.nth(message - begin));
                }
            }
        }
        begin = end;
    }
    scratch.keep_distributed(distributed);
    left
}

/// Returns the number of messages, from the first on, that at least one receiver took.
#[inline(always)]
pub(super) fn deliver_to_plain(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    scratch: &mut Scratch,
) -> usize {
    let mut delivered = 0;
    for subscription in &matches.plain {
        if is_eligible(subscription, from, run.subject) {
            delivered = delivered.max(deliver_here(account, subscription, run, false, scratch));
        }
    }
    delivered
}

/// Delivers one message to one member that has room, each with equal probability.
pub(super) fn deliver_to_group(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    group: &[Arc<Subscription>],
    random: &mut Random,
    scratch: &mut Scratch,
) -> bool {
    let mut refused = None;
    for member in group_from(group, random) {
        if !is_eligible(member, from, run.subject) {
            continue;
        }
        if deliver_to(account, member, run, true, scratch) > 0 {
            return true;
        }
        refused = refused.or(Some(member));
    }
    // No member has room: the first pick becomes a slow consumer, as it would without a queue group.
    refused.is_some_and(|member| deliver_to(account, member, run, false, scratch) > 0)
}

/// Returns the members of a group in their order from a random one on.
#[inline]
pub(super) fn group_from<'g>(
    group: &'g [Arc<Subscription>],
    random: &mut Random,
) -> impl Iterator<Item = &'g Arc<Subscription>> {
    let (before, after) = group.split_at(random.below(group.len()));
    after.iter().chain(before)
}

#[inline(always)]
pub(crate) fn is_eligible(subscription: &Subscription, from: Sender, subject: &[u8]) -> bool {
    let endpoint = &*subscription.endpoint;
    (endpoint.id != from.id || from.echo)
        && (subscription.is_ordinary() || may_get(subscription, from, subject))
}

/// Returns true if a subscription that is filtered, or a shadow of another account's, gets a message.
#[cold]
#[inline(never)]
fn may_get(subscription: &Subscription, from: Sender, subject: &[u8]) -> bool {
    let endpoint = &*subscription.endpoint;
    let may_get = |subject: &[u8]| endpoint.may_get(subject, subscription.queue());
    match subscription.link() {
        None => !subscription.is_over() && (!subscription.is_filtered() || may_get(subject)),
        // NATS 2.14: client.go processMsgResults, pmrMsgImportedFromService.
        Some(Link::Shadow { .. }) if from.is_served => false,
        // The permissions name the subjects of the importing account.
        Some(Link::Shadow { origin, rewrite, .. }) => {
            let mut buffer = SubjectBuffer::new();
            !origin.is_over()
                && (!origin.is_filtered() || may_get(rewrite.apply(subject, &mut buffer)))
        }
        Some(Link::Service(_) | Link::Responses) => false,
    }
}

#[inline(never)]
pub(super) fn deliver_to(
    account: &Account,
    subscription: &Arc<Subscription>,
    run: &Run<'_>,
    may_refuse: bool,
    scratch: &mut Scratch,
) -> usize {
    deliver_here(account, subscription, run, may_refuse, scratch)
}

/// As [`deliver_to`], compiled into its caller.
#[inline(always)]
fn deliver_here(
    account: &Account,
    subscription: &Arc<Subscription>,
    run: &Run<'_>,
    may_refuse: bool,
    scratch: &mut Scratch,
) -> usize {
    if subscription.is_linked() {
        return deliver_to_origin(account, subscription, run, may_refuse, scratch);
    }
    let endpoint = &subscription.endpoint;
    let accepted = endpoint.destination.deliver(subscription, run, may_refuse, scratch);
    if accepted.is_last {
        end_at_home(subscription);
    }
    if endpoint.tracks_replies() {
        note_replies(account, endpoint, &run.messages[..accepted.count], scratch);
    }
    schedule_flush(endpoint, accepted, scratch);
    accepted.count
}

/// Allows a receiver to answer the requests among the messages that it has got.
#[inline(never)]
fn note_replies(
    account: &Account,
    endpoint: &Endpoint,
    messages: &[Publish<'_>],
    scratch: &mut Scratch,
) {
    let requests = messages.iter().filter(|one| !one.reply.is_empty());
    let lost: u64 = requests.map(|one| endpoint.note_reply(one.reply, scratch.now())).sum();
    if lost > 0 {
        account.lost_replies.fetch_add(lost, Ordering::Relaxed);
    }
}

/// Delivers to the subscription of which this one is a shadow, which belongs to an account that imports the stream.
#[inline(never)]
fn deliver_to_origin(
    account: &Account,
    shadow: &Subscription,
    run: &Run<'_>,
    may_refuse: bool,
    scratch: &mut Scratch,
) -> usize {
    let Some(Link::Shadow { origin, rewrite, .. }) = shadow.link() else { return 0 };
    if rewrite.is_same() {
        return deliver_to(account, origin, run, may_refuse, scratch);
    }
    let mut buffer = SubjectBuffer::new();
    let subject = rewrite.apply(run.subject, &mut buffer);
    let local = Run { subject, parsed: None, prefetched: None, ..*run };
    deliver_to(account, origin, &local, may_refuse, scratch)
}

/// Ends a subscription and removes it from the interest of the account.
pub(crate) fn end(account: &Account, subscription: &Arc<Subscription>) {
    if subscription.end() {
        account.remove_subscriptions(std::slice::from_ref(subscription));
        subscription.endpoint.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends a subscription that has had its last message, in the account whose interest contains it, which may
/// differ from the account of the message.
#[cold]
#[inline(never)]
fn end_at_home(subscription: &Arc<Subscription>) {
    // Looked up before it ends: a session that has left its account ends its subscriptions itself.
    let home = subscription.endpoint.membership_in(subscription.slot());
    let Some(home) = home else { return };
    if subscription.end() {
        home.remove(std::slice::from_ref(subscription));
        subscription.endpoint.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[inline(always)]
pub(super) fn schedule_flush(endpoint: &Arc<Endpoint>, accepted: Accepted, scratch: &mut Scratch) {
    // A queue inside the process whose reader does not wait needs nothing.
    if accepted.must_flush || accepted.asks_patience || accepted.added_bytes > 0 {
        schedule(endpoint, accepted, scratch);
    }
}

#[inline(never)]
fn schedule(endpoint: &Arc<Endpoint>, accepted: Accepted, scratch: &mut Scratch) {
    if accepted.must_flush {
        scratch.touched.push(Arc::clone(endpoint));
    }
    if accepted.asks_patience {
        scratch.note_crowded(endpoint, accepted.pending_bytes);
    }
    scratch.unflushed_bytes += accepted.added_bytes;
    if accepted.added_bytes > 0 && accepted.pending_bytes >= FLUSH_AT_BYTES {
        scratch.unflushed_bytes = scratch.unflushed_bytes.saturating_sub(accepted.pending_bytes);
        endpoint.destination.flush(scratch);
    }
    if scratch.unflushed_bytes >= FLUSH_ALL_AT_BYTES {
        scratch.flush_queues();
    }
}

/// Flushes every endpoint that the current call has delivered to, and runs the handlers among them. Called at
/// the end of a call into the core: a handler publishes in its turn, and no lock may be held then.
#[inline]
pub(crate) fn flush_touched(scratch: &mut Scratch) {
    scratch.flush_queues();
    if !scratch.handlers.is_empty() {
        run_handlers(scratch);
    }
}
