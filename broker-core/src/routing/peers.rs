//! Messages to other servers: one frame a message and peer, with the queue groups that the peer was picked for.

use smallvec::SmallVec;

use super::audience::Audience;
use super::deliver::{
    can_distribute, deliver_to_group, deliver_to_plain, distribute, schedule_flush,
};
use crate::account::Account;
use crate::endpoint::{Accepted, Endpoint, Kind, Run, Scratch, Sender, Subscription};
use crate::interest::{Interested, Matches, PeerMatch};
use crate::proto::Publish;
use crate::random::Random;
use crate::reserved::join_ack_reply;
use crate::sync::{Arc, Ordering};

/// The members of one queue group, here and behind peers.
struct Group<'m> {
    name: &'m [u8],
    local: &'m [Arc<Subscription>],
    /// Peers with members, by their place among the matches, and the number of members.
    remote: SmallVec<[(usize, u32); 4]>,
    /// The number of members behind peers that are picked as those here are.
    equal: usize,
    /// The resort of these peers.
    resort: Resort,
}

/// The rank of a peer as receiver of a message of a queue group; peers of the first rank that occurs receive it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Resort {
    /// It accepts messages from the sender.
    Usual,
    /// The message came from a server of the cluster, and goes to another one: no member here is left.
    OtherServer,
    /// It goes back to where it came from.
    Sender,
}

impl Resort {
    fn of(peer: &PeerMatch<Subscription>, member: &Subscription, from: Sender) -> Self {
        if accepts(peer, from) {
            Self::Usual
        } else if member.endpoint.id != from.id {
            Self::OtherServer
        } else {
            Self::Sender
        }
    }
}

/// The receiver that a message of a queue group is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Receiver {
    /// A member here.
    Local,
    /// A member behind the peer with this place among the matches.
    Peer(usize),
}

impl Group<'_> {
    fn remote_members(&self) -> usize {
        self.remote.iter().map(|(_, weight)| *weight as usize).sum()
    }

    /// Picks a receiver: each member with the same probability, here or behind servers of this cluster.
    // NATS 2.14: client.go processMsgResults; sublist.go lists a peer as often as it has members.
    fn pick(&self, random: &mut Random) -> Option<Receiver> {
        if self.local.is_empty() {
            return self.pick_peer(random).map(Receiver::Peer);
        }
        if self.equal == 0 {
            return Some(Receiver::Local);
        }
        let place = random.below(self.local.len() + self.equal);
        // Equal peers are listed first.
        Some(match place.checked_sub(self.local.len()) {
            None => Receiver::Local,
            Some(place) => Receiver::Peer(self.peer_at(place)),
        })
    }

    /// Picks a peer.
    fn pick_peer(&self, random: &mut Random) -> Option<usize> {
        let remote = self.remote_members();
        (remote > 0).then(|| self.peer_at(random.below(remote)))
    }

    /// Returns the peer of a member that is not here.
    fn peer_at(&self, mut member: usize) -> usize {
        for (peer, weight) in &self.remote {
            match member.checked_sub(*weight as usize) {
                None => return *peer,
                Some(rest) => member = rest,
            }
        }
        self.remote.last().map_or(0, |(peer, _)| *peer)
    }
}

/// A queue group for which a peer was picked.
#[derive(Clone, Copy)]
struct Pick<'m> {
    /// The place of the peer among the matches.
    peer: usize,
    /// The place of the message in the run.
    message: usize,
    queue: &'m [u8],
}

/// The picks of one run.
type Picks<'m> = SmallVec<[Pick<'m>; 8]>;

/// The messages of a run that reached a receiver.
type Delivered = SmallVec<[bool; 64]>;

/// The parameters of one delivery.
pub(super) struct Delivery<'d> {
    pub(super) account: &'d Account,
    pub(super) from: Sender,
    pub(super) matches: &'d Matches<Subscription>,
}

/// Delivers a run whose matches contain peers. Calls `no_responders` with each message that reached no receiver.
///
/// Of a queue group each member gets a message with the same probability, here or behind a peer; if no member here takes
/// it, one behind a peer does. Every message is sent to a peer once.
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
    let mut delivered = Delivered::from_elem(false, run.messages.len());
    if audience.has_plain() && !matches.plain.is_empty() {
        deliver_locally(&delivery, run, scratch, &mut delivered);
    }
    let (mut picks, mut refused) = (Picks::new(), Picks::new());
    let groups = groups(&delivery, audience, run.subject);
    for group in &groups {
        deliver_in_group(&delivery, run, group, &mut picks, &mut delivered, random, scratch);
    }
    sort(&mut picks);
    for (place, peer) in matches.peers().iter().enumerate() {
        let is_allowed = |one: &Arc<Subscription>| accepts(peer, from) && may_get(one, run.subject);
        let has_plain = audience.has_plain() && peer.plain.as_ref().is_some_and(is_allowed);
        let to = (place, peer, has_plain);
        deliver_to_peer(&delivery, run, to, &picks, &mut delivered, &mut refused, scratch);
    }
    for pick in refused {
        if let Some(group) = groups.iter().find(|group| group.name == pick.queue) {
            deliver_again(&delivery, run, group, pick, &mut delivered, random, scratch);
        }
    }
    for (message, _) in run.messages.iter().zip(&delivered).filter(|(_, delivered)| !**delivered) {
        no_responders(message, scratch);
    }
}

/// Sorts by peer and message. A function of its own, since the callers are generic, and an instance of the sort takes several KB
/// of the program.
fn sort(picks: &mut [Pick<'_>]) {
    picks.sort_by_key(|pick| (pick.peer, pick.message));
}

/// Delivers each message of a run to one member of a queue group, or picks the peer that it goes to.
fn deliver_in_group<'m>(
    delivery: &Delivery<'m>,
    run: &Run<'_>,
    group: &Group<'m>,
    picks: &mut Picks<'m>,
    delivered: &mut [bool],
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let Delivery { account, from, .. } = *delivery;
    let queue = group.name;
    let mut local: SmallVec<[usize; 64]> = SmallVec::new();
    for message in 0..run.messages.len() {
        match group.pick(random) {
            Some(Receiver::Local) => local.push(message),
            Some(Receiver::Peer(peer)) => picks.push(Pick { peer, message, queue }),
            None => {}
        }
    }
    if local.len() > 1 {
        let messages: SmallVec<[Publish<'_>; 8]> =
            local.iter().map(|message| run.messages[*message]).collect();
        let part = Run { messages: &messages, ..*run };
        if can_distribute(from, &part, group.local) {
            let left = distribute(account, from, &part, group.local, random, scratch);
            for (place, message) in local.into_iter().enumerate() {
                if !left.contains(&place) {
                    delivered[message] = true;
                } else if let Some(peer) = group.pick_peer(random) {
                    picks.push(Pick { peer, message, queue });
                }
            }
            return;
        }
    }
    for message in local {
        let one = Run { messages: &run.messages[message..=message], ..*run };
        if deliver_to_group(account, from, &one, group.local, random, scratch) {
            delivered[message] = true;
        } else if let Some(peer) = group.pick_peer(random) {
            picks.push(Pick { peer, message, queue });
        }
    }
}

/// Delivers a message that a peer has not taken, because its connection has ended and its interest not yet, to another
/// member of the queue group.
// NATS 2.14: client.go processMsgResults, which goes on with the next member.
#[cold]
fn deliver_again(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    group: &Group<'_>,
    pick: Pick<'_>,
    delivered: &mut [bool],
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let Delivery { account, from, matches } = *delivery;
    let one = Run { messages: &run.messages[pick.message..=pick.message], ..*run };
    let is_taken = !group.local.is_empty()
        && deliver_to_group(account, from, &one, group.local, random, scratch);
    let mut others = group.remote.iter().filter(|(place, _)| *place != pick.peer);
    let is_taken = is_taken
        || others.any(|(place, _)| {
            let peer = &matches.peers()[*place];
            // Plain subscriptions there would get the message again.
            peer.plain.is_none() && send(delivery, &one, peer, &[pick.queue], scratch) > 0
        });
    delivered[pick.message] |= is_taken;
}

/// The form in which a peer gets a message.
pub(super) enum ForPeer {
    Nothing,
    AsItIs,
    /// With other headers.
    Changed {
        header_len: usize,
        body: Vec<u8>,
    },
}

/// Delivers a run of one message to the peers among its matches. `goes_to_peer` tells of a queue group whether a member
/// here has not taken it; `for_peer` decides about each peer before it is sent the message. Returns true if a peer took
/// it.
pub(super) fn deliver_to_peers_alone(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    random: &mut Random,
    scratch: &mut Scratch,
    goes_to_peer: impl Fn(&[u8]) -> bool,
    for_peer: impl Fn(&Subscription, &Publish<'_>, &mut Scratch) -> ForPeer,
) -> bool {
    let Some(message) = run.messages.first() else { return false };
    let groups = groups(delivery, Audience::All, run.subject);
    let left = groups.iter().filter(|group| goes_to_peer(group.name));
    let mut picks: Picks<'_> = left
        .filter_map(|group| {
            Some(Pick { peer: group.pick_peer(random)?, message: 0, queue: group.name })
        })
        .collect();
    sort(&mut picks);
    // A traced message states the receivers that it was meant for, and is not picked again.
    let mut refused = Picks::new();
    let mut delivered = [false];
    for (place, peer) in delivery.matches.peers().iter().enumerate() {
        let is_allowed =
            |one: &Arc<Subscription>| accepts(peer, delivery.from) && may_get(one, run.subject);
        let has_plain = peer.plain.as_ref().is_some_and(is_allowed);
        let is_meant = has_plain || picks.iter().any(|pick| pick.peer == place);
        let Some(subscription) = peer.subscriptions().next().filter(|_| is_meant) else { continue };
        let to = (place, peer, has_plain);
        match for_peer(subscription, message, scratch) {
            ForPeer::Nothing => {}
            ForPeer::AsItIs => {
                deliver_to_peer(delivery, run, to, &picks, &mut delivered, &mut refused, scratch);
            }
            ForPeer::Changed { header_len, body } => {
                let sizes = format!("{header_len} {}", body.len());
                let changed = Publish {
                    header_len: Some(header_len),
                    body: &body,
                    sizes: sizes.as_bytes(),
                    tail: None,
                    ..*message
                };
                let messages = std::slice::from_ref(&changed);
                let run = Run { messages, shared: None, ..*run };
                deliver_to_peer(delivery, &run, to, &picks, &mut delivered, &mut refused, scratch);
            }
        }
    }
    delivered == [true]
}

/// Returns true if a message of a queue group goes to a member here first: picked as [`Group::pick`] does.
pub(super) fn is_for_local(
    delivery: &Delivery<'_>,
    subject: &[u8],
    queue: &[u8],
    random: &mut Random,
) -> bool {
    let groups = groups(delivery, Audience::All, subject);
    let group = groups.iter().find(|group| group.name == queue);
    group.is_none_or(|group| group.pick(random) == Some(Receiver::Local))
}

/// Returns true if messages from `from` may be forwarded to this peer.
#[inline]
pub(super) fn accepts(peer: &PeerMatch<Subscription>, from: Sender) -> bool {
    peer.subscriptions().next().is_some_and(|subscription| {
        let endpoint = &subscription.endpoint;
        endpoint.id != from.id && endpoint.kind.accepts_from(from.kind) && !lacks_interest(peer)
    })
}

/// Returns true for a server that was not sent all of the interest yet.
fn lacks_interest(peer: &PeerMatch<Subscription>) -> bool {
    peer.subscriptions()
        .next()
        .is_some_and(|one| one.endpoint.lacks_interest.load(Ordering::Acquire))
}

/// Returns the queue groups that a message to `subject` is meant for, local ones first.
fn groups<'m>(
    delivery: &Delivery<'m>,
    audience: Audience<'_>,
    subject: &[u8],
) -> SmallVec<[Group<'m>; 2]> {
    let mut groups: SmallVec<[Group<'m>; 2]> = SmallVec::new();
    for members in delivery.matches.groups() {
        let name = members.first().and_then(|member| member.queue()).unwrap_or_default();
        if audience.has_queue(name) {
            groups.push(Group {
                name,
                local: members,
                remote: SmallVec::new(),
                equal: 0,
                resort: Resort::Sender,
            });
        }
    }
    for (place, peer) in delivery.matches.peers().iter().enumerate() {
        if !takes_groups(peer, delivery.from) {
            continue;
        }
        for member in &peer.queues {
            let Some(name) = member.queue().filter(|name| audience.has_queue(name)) else {
                continue;
            };
            // NATS 2.14: sublist.go addNodeToResults lists a peer as often as it has members: not at all for 0.
            let weight = member.weight();
            if weight == 0 || !may_get(member, subject) {
                continue;
            }
            let known = groups.iter().position(|group| group.name == name);
            let group = known.unwrap_or_else(|| {
                groups.push(Group {
                    name,
                    local: &[],
                    remote: SmallVec::new(),
                    equal: 0,
                    resort: Resort::Sender,
                });
                groups.len() - 1
            });
            let group = &mut groups[group];
            let resort = Resort::of(peer, member, delivery.from);
            // Plain subscriptions there would get the message again.
            let is_twice = resort != Resort::Usual && peer.plain.is_some();
            if resort > group.resort || is_twice {
                continue;
            }
            if resort < group.resort {
                group.remote.clear();
                group.resort = resort;
            }
            if member.endpoint.kind.shares_groups_with(delivery.from.kind) {
                group.equal += weight as usize;
                group.remote.insert(0, (place, weight));
            } else {
                group.remote.push((place, weight));
            }
        }
    }
    groups
}

/// Returns true if a peer gets messages to `subject` by this subscription.
// NATS 2.14: client.go deliverMsg, checkDenySub.
fn may_get(subscription: &Subscription, subject: &[u8]) -> bool {
    !subscription.is_filtered() || subscription.endpoint.may_get(subject, subscription.queue())
}

/// Returns true if a peer may get a message of a queue group from `from`. Another server of the cluster may get it from
/// a server that has picked this one, whose members have gone meanwhile.
// NATS 2.14: client.go processMsgResults, which keeps a member behind a route in case all else fails.
fn takes_groups(peer: &PeerMatch<Subscription>, from: Sender) -> bool {
    accepts(peer, from) || (from.kind == Kind::Route && !lacks_interest(peer))
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

/// Delivers a peer's part of a run: consecutive messages for the same queue groups together. `picks`: ordered by peer and
/// message. Those that the peer does not take are added to `refused`.
fn deliver_to_peer<'m>(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    (place, peer, has_plain): (usize, &PeerMatch<Subscription>, bool),
    picks: &[Pick<'m>],
    delivered: &mut [bool],
    refused: &mut Picks<'m>,
    scratch: &mut Scratch,
) {
    let begin = picks.partition_point(|pick| pick.peer < place);
    let end = picks.partition_point(|pick| pick.peer <= place);
    let of_peer = &picks[begin..end];
    let mut picks = of_peer;
    let mut not_taken: SmallVec<[usize; 4]> = SmallVec::new();
    if picks.is_empty() {
        if has_plain {
            let count = send(delivery, run, peer, &[], scratch);
            delivered[..count].fill(true);
        }
        return;
    }
    let mut part: SmallVec<[Publish<'_>; 8]> = SmallVec::new();
    let mut places: SmallVec<[usize; 64]> = SmallVec::new();
    let mut queues: SmallVec<[&[u8]; 4]> = SmallVec::new();
    for (message, publish) in run.messages.iter().enumerate() {
        let count = picks.iter().take_while(|pick| pick.message == message).count();
        let (of_message, rest) = picks.split_at(count);
        picks = rest;
        if of_message.is_empty() && !has_plain {
            continue;
        }
        let is_same = of_message.iter().map(|pick| pick.queue).eq(queues.iter().copied());
        if !is_same || part.is_empty() {
            let count =
                send_part(delivery, run, peer, &queues, (&part, &places), delivered, scratch);
            not_taken.extend_from_slice(&places[count..]);
            part.clear();
            places.clear();
            queues = of_message.iter().map(|pick| pick.queue).collect();
        }
        part.push(*publish);
        places.push(message);
    }
    let count = send_part(delivery, run, peer, &queues, (&part, &places), delivered, scratch);
    not_taken.extend_from_slice(&places[count..]);
    if !not_taken.is_empty() {
        refused.extend(of_peer.iter().filter(|pick| not_taken.contains(&pick.message)).copied());
    }
}

/// Sends a part of a run to a peer, and notes which of its messages were taken. Returns their number.
fn send_part(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    peer: &PeerMatch<Subscription>,
    queues: &[&[u8]],
    (messages, places): (&[Publish<'_>], &[usize]),
    delivered: &mut [bool],
    scratch: &mut Scratch,
) -> usize {
    if messages.is_empty() {
        return 0;
    }
    let part = Run { messages, ..*run };
    let count = send(delivery, &part, peer, queues, scratch);
    places[..count].iter().for_each(|place| delivered[*place] = true);
    count
}

/// Sends a run to a peer. Returns the number of messages that were taken.
fn send(
    delivery: &Delivery<'_>,
    run: &Run<'_>,
    peer: &PeerMatch<Subscription>,
    queues: &[&[u8]],
    scratch: &mut Scratch,
) -> usize {
    let Some(subscription) = peer.subscriptions().next() else { return 0 };
    let endpoint = &subscription.endpoint;
    let name = &delivery.account.name;
    let accepted = match run.shown {
        None => endpoint.destination.deliver_to_peer(name, run, queues, scratch),
        Some(shown) => deliver_shown(endpoint, name, run, shown, queues, scratch),
    };
    note_out(subscription, &run.messages[..accepted.count]);
    schedule_flush(endpoint, accepted, scratch);
    accepted.count
}

/// Sends a run to a peer, with the subject that clients see as part of the replies.
#[cold]
fn deliver_shown(
    endpoint: &Endpoint,
    account: &str,
    run: &Run<'_>,
    shown: &[u8],
    queues: &[&[u8]],
    scratch: &mut Scratch,
) -> Accepted {
    let replies: SmallVec<[_; 4]> =
        run.messages.iter().map(|message| join_ack_reply(message.reply, shown)).collect();
    let messages: SmallVec<[Publish<'_>; 4]> = run
        .messages
        .iter()
        .zip(&replies)
        .map(|(message, reply)| match reply {
            Some(reply) => Publish { reply, tail: None, ..*message },
            None => *message,
        })
        .collect();
    let run = Run { messages: &messages, shown: None, ..*run };
    endpoint.destination.deliver_to_peer(account, &run, queues, scratch)
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
