//! Stage 6 of 8: messages to their matches. Before it: the interest; after it: outlets.
//!
//! Only this file picks a queue member. Messages of one publisher to one subject that came in one
//! chunk are delivered as a run, receiver by receiver: each receiver's queue is locked once for all
//! of them, and its memory is warm. Where that could be told from message by message, because a
//! receiver has several matching subscriptions, it is message by message.
//!
//! A run to a queue group is dealt: all picks are made, then each member gets its part. That is done only
//! while all members have plenty of room, because who is picked then gets the message for good. (A member
//! that is cut in that very moment takes its part with it, as it would a moment later.)

use crate::account::Account;
use crate::interest::{Interested, Matches};
use crate::limits::{DEALT_MEMBERS, FLUSH_ALL_AT_BYTES, FLUSH_AT_BYTES, RUN_MESSAGES};
use crate::outlet::{Accepted, Run, Work};
use crate::proto::Publish;
use crate::random::Random;
use crate::receiver::Receiver;
use crate::subscription::Subscription;
use crate::sync::{Arc, Ordering};

/// Delivers a run and calls `unheard` with each message that reached nobody.
#[inline]
pub(crate) fn deliver<'a>(
    account: &Account,
    from: &Receiver,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    work: &mut Work,
    unheard: impl FnMut(&Publish<'a>, &mut Work),
) {
    #[cfg(feature = "testing")]
    if account.seam.probe().is_some() {
        return crate::probe::deliver_watched(account, from, run, matches, random, work, unheard);
    }
    deliver_run(account, from, run, matches, random, work, unheard);
}

/// The same, unwatched.
pub(crate) fn deliver_run<'a>(
    account: &Account,
    from: &Receiver,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    work: &mut Work,
    mut unheard: impl FnMut(&Publish<'a>, &mut Work),
) {
    let groups = matches.groups();
    let is_whole = matches.owners_differ()
        && (run.messages.len() == 1 || groups.iter().all(|group| can_deal(from, run, group)));
    if !is_whole {
        for message in run.messages {
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            let mut heard = to_plain(account, from, &one, matches, work) > 0;
            for group in groups {
                heard |= to_group(account, from, &one, group, random, work);
            }
            if !heard {
                unheard(message, work);
            }
        }
        return;
    }
    let mut heard = to_plain(account, from, run, matches, work);
    for group in groups {
        if run.messages.len() > 1 {
            deal(account, run, group, random, work);
            heard = run.messages.len();
        } else if to_group(account, from, run, group, random, work) {
            heard = 1;
        }
    }
    for message in &run.messages[heard..] {
        unheard(message, work);
    }
}

/// Can each member of the group have any of the messages, and all of them?
fn can_deal(from: &Receiver, run: &Run<'_>, group: &[Arc<Subscription>]) -> bool {
    // Looking at each member must be worth it.
    if group.len() > DEALT_MEMBERS || !(group.len()..=RUN_MESSAGES).contains(&run.messages.len()) {
        return false;
    }
    let bytes = run.messages.iter().map(|message| message.body.len()).sum();
    group.iter().all(|member| {
        may_have(member, from, run.subject)
            && !member.ends_by_itself()
            && member.receiver.outlet.has_plenty_of_room(member, run.messages.len(), bytes)
    })
}

/// Each message to any one member, each as likely as the others.
fn deal(
    account: &Account,
    run: &Run<'_>,
    group: &[Arc<Subscription>],
    random: &mut Random,
    work: &mut Work,
) {
    let mut picks = [0u8; RUN_MESSAGES];
    let picks = &mut picks[..run.messages.len()];
    // Where each member's part begins, and then where it ends.
    let mut ends = [0usize; DEALT_MEMBERS];
    for pick in &mut *picks {
        let member = random.below(group.len());
        *pick = member as u8;
        ends[member] += 1;
    }
    let mut begin = 0;
    for end in &mut ends[..group.len()] {
        begin += std::mem::replace(end, begin);
    }
    let mut dealt = work.take_dealt();
    dealt.extend_from_slice(run.messages);
    for (pick, message) in picks.iter().zip(run.messages) {
        let at = &mut ends[usize::from(*pick)];
        dealt[*at] = *message;
        *at += 1;
    }
    let mut begin = 0;
    for (member, end) in group.iter().zip(ends) {
        if end > begin {
            let part = Run { messages: &dealt[begin..end], ..*run };
            hand_over(account, member, &part, false, work);
        }
        begin = end;
    }
    work.keep_dealt(dealt);
}

/// Returns how many messages, from the first on, somebody took.
fn to_plain(
    account: &Account,
    from: &Receiver,
    run: &Run<'_>,
    matches: &Matches<Subscription>,
    work: &mut Work,
) -> usize {
    let mut heard = 0;
    for subscription in &matches.plain {
        if may_have(subscription, from, run.subject) {
            heard = heard.max(hand_over(account, subscription, run, false, work));
        }
    }
    heard
}

/// One message to one member: any that can take it, each as likely as the others.
fn to_group(
    account: &Account,
    from: &Receiver,
    run: &Run<'_>,
    group: &[Arc<Subscription>],
    random: &mut Random,
    work: &mut Work,
) -> bool {
    let (before, after) = group.split_at(random.below(group.len()));
    let mut refused = None;
    for member in after.iter().chain(before) {
        if !may_have(member, from, run.subject) {
            continue;
        }
        if hand_over(account, member, run, true, work) > 0 {
            return true;
        }
        refused = refused.or(Some(member));
    }
    // Nobody has room: the first pick is the slow consumer that it would be without its group.
    refused.is_some_and(|member| hand_over(account, member, run, false, work) > 0)
}

/// Is there somebody who would get a message?
pub(crate) fn would_reach(
    from: &Receiver,
    subject: &[u8],
    matches: &Matches<Subscription>,
) -> bool {
    let mut all = matches.plain.iter().chain(matches.groups().iter().flatten());
    all.any(|subscription| may_have(subscription, from, subject))
}

fn may_have(subscription: &Subscription, from: &Receiver, subject: &[u8]) -> bool {
    let receiver = &*subscription.receiver;
    !subscription.is_over()
        && (receiver.id != from.id || receiver.wants_echo())
        && (!subscription.is_filtered() || receiver.may_get(subject, subscription.queue()))
}

fn hand_over(
    account: &Account,
    subscription: &Arc<Subscription>,
    run: &Run<'_>,
    may_refuse: bool,
    work: &mut Work,
) -> usize {
    let receiver = &subscription.receiver;
    let accepted = receiver.outlet.deliver(subscription, run, may_refuse, work);
    if accepted.is_last {
        end(account, subscription);
    }
    if receiver.tracks_replies() {
        let requests = run.messages[..accepted.count].iter().filter(|one| !one.reply.is_empty());
        let lost: u64 = requests.map(|one| receiver.note_reply(one.reply, work.now())).sum();
        if lost > 0 {
            account.lost_replies.fetch_add(lost, Ordering::Relaxed);
        }
    }
    see_to_flush(receiver, accepted, work);
    accepted.count
}

/// A subscription has had its last message: whoever delivered it takes it out.
pub(crate) fn end(account: &Account, subscription: &Arc<Subscription>) {
    if subscription.end() {
        account.interest.remove(std::slice::from_ref(subscription));
        subscription.receiver.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

fn see_to_flush(receiver: &Arc<Receiver>, accepted: Accepted, work: &mut Work) {
    if accepted.must_flush {
        work.touched.push(Arc::clone(receiver));
    }
    if accepted.asks_patience {
        work.note_crowded(receiver, accepted.pending_bytes);
    }
    work.unflushed_bytes += accepted.added_bytes;
    if accepted.added_bytes > 0 && accepted.pending_bytes >= FLUSH_AT_BYTES {
        work.unflushed_bytes = work.unflushed_bytes.saturating_sub(accepted.pending_bytes);
        receiver.outlet.flush(work);
    }
    if work.unflushed_bytes >= FLUSH_ALL_AT_BYTES {
        flush_touched(work);
    }
}

/// Sends off what the call at hand has put into queues.
pub(crate) fn flush_touched(work: &mut Work) {
    work.unflushed_bytes = 0;
    let mut touched = std::mem::take(&mut work.touched);
    for receiver in touched.drain(..) {
        receiver.outlet.flush(work);
    }
    work.touched = touched;
}
