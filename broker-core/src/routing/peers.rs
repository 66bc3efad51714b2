//! Messages to other servers: one frame a message and peer, with the queue groups that the peer was picked for.

use smallvec::SmallVec;

use super::audience::Audience;
use super::deliver::{
    can_distribute, deliver_to_group, deliver_to_plain, distribute, schedule_flush,
};
use crate::account::Account;
use crate::endpoint::{Run, Scratch, Sender, Subscription};
use crate::interest::{Interested, Matches, PeerMatch};
use crate::proto::Publish;
use crate::random::Random;
use crate::sync::Arc;

/// The members of one queue group, here and behind peers.
struct Group<'m> {
    name: &'m [u8],
    local: &'m [Arc<Subscription>],
    /// Peers with members, by their place among the matches.
    remote: SmallVec<[(usize, u32); 4]>,
}

impl Group<'_> {
    /// Picks a peer, with a probability proportional to the number of its members.
    fn pick_peer(&self, random: &mut Random) -> Option<usize> {
        let total: u64 = self.remote.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let total = usize::try_from(total).ok().filter(|total| *total > 0)?;
        let mut left = random.below(total);
        for (peer, weight) in &self.remote {
            let weight = *weight as usize;
            if left < weight {
                return Some(*peer);
            }
            left -= weight;
        }
        None
    }
}

/// The queue groups that one message goes to, for each peer.
type Picks<'m> = SmallVec<[(usize, &'m [u8]); 4]>;

/// The parameters of one delivery.
pub(super) struct Delivery<'d> {
    pub(super) account: &'d Account,
    pub(super) from: Sender,
    pub(super) matches: &'d Matches<Subscription>,
}

/// Delivers a run whose matches contain peers. Calls `no_responders` with each message that reached no receiver.
///
/// Local members of a queue group are preferred; a peer is picked by the number of its members if no local member
/// takes the message. Every message is sent to a peer once.
// NATS 2.14: client.go processMsgResults.
pub(super) fn deliver_with_peers<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    (matches, audience): (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let delivery = Delivery { account, from, matches };
    let groups = groups(&delivery, audience);
    let mut delivered: SmallVec<[bool; 64]> = SmallVec::from_elem(false, run.messages.len());
    if audience.has_plain() {
        deliver_locally(&delivery, run, scratch, &mut delivered);
    }
    let mut picks: Vec<Picks<'_>> = run.messages.iter().map(|_| Picks::new()).collect();
    for group in &groups {
        if run.messages.len() > 1
            && !group.local.is_empty()
            && can_distribute(from, run, group.local)
        {
            distribute(account, run, group.local, random, scratch);
            delivered.fill(true);
            continue;
        }
        for (place, message) in run.messages.iter().enumerate() {
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            let is_local = !group.local.is_empty()
                && deliver_to_group(account, from, &one, group.local, random, scratch);
            if is_local {
                delivered[place] = true;
            } else if let Some(peer) = group.pick_peer(random) {
                picks[place].push((peer, group.name));
            }
        }
    }
    for (place, peer) in matches.peers().iter().enumerate() {
        let has_plain = peer.plain.is_some() && audience.has_plain();
        if accepts(peer, from) {
            deliver_to_peer(
                &delivery,
                run,
                (place, peer, has_plain),
                &picks,
                &mut delivered,
                scratch,
            );
        }
    }
    for (message, _) in run.messages.iter().zip(&delivered).filter(|(_, delivered)| !**delivered) {
        no_responders(message, scratch);
    }
}

/// Delivers a run of one message to the peers among its matches. `is_taken` tells whether a local member of a queue
/// group has taken it; `may_send` decides about each peer before it is sent the message. Returns true if a peer took it.
pub(super) fn deliver_to_peers_alone(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    random: &mut Random,
    scratch: &mut Scratch,
    is_taken: impl Fn(&[u8]) -> bool,
    may_send: impl Fn(&Subscription, &mut Scratch) -> bool,
) -> bool {
    let groups = groups(delivery, Audience::All);
    let left = groups.iter().filter(|group| !is_taken(group.name));
    let picks: Picks<'_> =
        left.filter_map(|group| Some((group.pick_peer(random)?, group.name))).collect();
    let mut delivered = [false];
    for (place, peer) in delivery.matches.peers().iter().enumerate() {
        let is_meant = peer.plain.is_some() || picks.iter().any(|(picked, _)| *picked == place);
        let Some(subscription) = peer.subscriptions().next() else { continue };
        if accepts(peer, delivery.from) && is_meant && may_send(subscription, scratch) {
            let to = (place, peer, peer.plain.is_some());
            let picks = std::slice::from_ref(&picks);
            deliver_to_peer(delivery, run, to, picks, &mut delivered, scratch);
        }
    }
    delivered == [true]
}

/// Returns true if messages from `from` may be forwarded to this peer.
pub(super) fn accepts(peer: &PeerMatch<Subscription>, from: Sender) -> bool {
    peer.subscriptions().next().is_some_and(|subscription| {
        let endpoint = &subscription.endpoint;
        endpoint.id != from.id && endpoint.kind.accepts_from(from.kind)
    })
}

/// Returns the queue groups that the message is meant for, local ones first.
fn groups<'m>(delivery: &Delivery<'m>, audience: Audience<'_>) -> Vec<Group<'m>> {
    let mut groups: Vec<Group<'m>> = Vec::new();
    for members in delivery.matches.groups() {
        let name = members.first().and_then(|member| member.queue()).unwrap_or_default();
        if audience.has_queue(name) {
            groups.push(Group { name, local: members, remote: SmallVec::new() });
        }
    }
    for (place, peer) in delivery.matches.peers().iter().enumerate() {
        if !accepts(peer, delivery.from) {
            continue;
        }
        for member in &peer.queues {
            let Some(name) = member.queue().filter(|name| audience.has_queue(name)) else {
                continue;
            };
            let known = groups.iter().position(|group| group.name == name);
            let group = known.unwrap_or_else(|| {
                groups.push(Group { name, local: &[], remote: SmallVec::new() });
                groups.len() - 1
            });
            groups[group].remote.push((place, member.weight()));
        }
    }
    groups
}

fn deliver_locally(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    scratch: &mut Scratch,
    delivered: &mut [bool],
) {
    let Delivery { account, from, matches } = *delivery;
    if matches.owners_differ() {
        let count = deliver_to_plain(account, from, run, matches, scratch);
        delivered[..count].fill(true);
        return;
    }
    for (message, delivered) in run.messages.iter().zip(delivered) {
        let one = Run { messages: std::slice::from_ref(message), ..*run };
        *delivered |= deliver_to_plain(account, from, &one, matches, scratch) > 0;
    }
}

/// Delivers a peer's part of a run: consecutive messages for the same queue groups together.
fn deliver_to_peer(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    (place, peer, has_plain): (usize, &PeerMatch<Subscription>, bool),
    picks: &[Picks<'_>],
    delivered: &mut [bool],
    scratch: &mut Scratch,
) {
    let Some(subscription) = peer.subscriptions().next() else { return };
    let endpoint = &subscription.endpoint;
    let queues_of = |message: usize| {
        let of_peer = picks[message].iter().filter(|(peer, _)| *peer == place);
        of_peer.map(|(_, queue)| *queue).collect::<SmallVec<[&[u8]; 4]>>()
    };
    let mut begin = 0;
    while begin < run.messages.len() {
        let queues = queues_of(begin);
        let same = (begin..run.messages.len()).take_while(|at| queues_of(*at) == queues).count();
        let end = begin + same;
        if has_plain || !queues.is_empty() {
            let part = Run { messages: &run.messages[begin..end], ..*run };
            let name = &delivery.account.name;
            let accepted = endpoint.destination.deliver_to_peer(name, &part, &queues, scratch);
            delivered[begin..begin + accepted.count].fill(true);
            note_out(subscription, &part.messages[..accepted.count]);
            schedule_flush(endpoint, accepted, scratch);
        }
        begin = end;
    }
}

/// Counts messages sent to a peer in the account of a subscription.
fn note_out(subscription: &Subscription, messages: &[Publish<'_>]) {
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    let membership = subscription.endpoint.membership_in(subscription.slot());
    if let Some(membership) = membership.filter(|_| !messages.is_empty()) {
        membership.note_out(messages.len() as u64, bytes as u64);
    }
}

#[cfg(test)]
mod tests;
