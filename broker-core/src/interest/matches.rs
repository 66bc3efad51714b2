//! The receivers of one message.

use smallvec::SmallVec;

use super::Interested;
use crate::sort::sort_by;
use crate::subject::{Mapped, is_valid_literal};
use crate::sync::Arc;

/// The plain subscriptions that each receive a message, and the queue groups of which one member does.
///
/// Small, because sessions cache thousands of them: usually there are one or two subscriptions.
#[derive(Debug)]
pub(crate) struct Matches<S> {
    pub(crate) plain: SmallVec<[Arc<S>; 2]>,
    /// The rare parts.
    more: Option<Box<More<S>>>,
}

#[derive(Debug)]
struct More<S> {
    groups: Vec<Vec<Arc<S>>>,
    peers: Vec<PeerMatch<S>>,
    services: SmallVec<[Arc<S>; 1]>,
    owners_differ: bool,
    mapped: Option<Mapped>,
}

/// A peer server that receives a message once, with all of its subscriptions that match.
#[derive(Debug)]
pub(crate) struct PeerMatch<S> {
    /// Its plain interest.
    pub(crate) plain: Option<Arc<S>>,
    /// Its queue groups, by name.
    pub(crate) queues: Vec<Arc<S>>,
}

impl<S: Interested> PeerMatch<S> {
    /// Returns the subscriptions that matched; at least one.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = &Arc<S>> {
        self.plain.iter().chain(&self.queues)
    }

    fn owner(&self) -> Option<u64> {
        self.subscriptions().next().map(|subscription| subscription.owner())
    }
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self { plain: SmallVec::new(), more: None }
    }
}

impl<S> Default for More<S> {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            peers: Vec::new(),
            services: SmallVec::new(),
            owners_differ: true,
            mapped: None,
        }
    }
}

impl<S: Interested> Matches<S> {
    /// Returns true if there are only plain subscriptions, of different owners.
    #[inline(always)]
    pub(crate) fn are_plain(&self) -> bool {
        self.more.is_none()
    }

    /// Returns the subscription that is all that matches, if there is one.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<&Arc<S>> {
        match (&*self.plain, &self.more) {
            ([only], None) => Some(only),
            _ => None,
        }
    }

    /// Returns the queue groups.
    #[inline]
    pub(crate) fn groups(&self) -> &[Vec<Arc<S>>] {
        self.more.as_ref().map_or(&[], |more| &more.groups)
    }

    /// Returns the peer servers, each once.
    #[inline]
    pub(crate) fn peers(&self) -> &[PeerMatch<S>] {
        self.more.as_ref().map_or(&[], |more| &more.peers)
    }

    /// Returns the imported services, and the responses of exported ones.
    #[inline]
    pub(crate) fn services(&self) -> &[Arc<S>] {
        self.more.as_ref().map_or(&[], |more| &more.services)
    }

    /// Returns true if all local subscriptions, those in groups included, have different owners.
    #[inline]
    pub(crate) fn owners_differ(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.owners_differ)
    }

    /// Returns what the account's mappings make of the subject. If it is always the same subject, these are its
    /// matches, and otherwise there are none.
    #[inline]
    pub(crate) fn mapped(&self) -> Option<&Mapped> {
        self.more.as_ref().and_then(|more| more.mapped.as_ref())
    }

    pub(super) fn set_mapped(&mut self, mapped: Mapped) {
        self.more.get_or_insert_default().mapped = Some(mapped);
    }

    /// Returns the number of deliveries that one message causes.
    #[inline]
    pub(super) fn fan_out(&self) -> usize {
        let more = self
            .more
            .as_ref()
            .map_or(0, |more| more.groups.len() + more.peers.len() + more.services.len());
        self.plain.len() + more
    }

    /// Returns true if a message has any receiver.
    pub(crate) fn has_some(&self) -> bool {
        self.fan_out() > 0
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.plain.clear();
        self.more = None;
    }

    /// Returns true if a subject with these matches is not used again: it is the reply subject of one request.
    #[inline]
    pub(super) fn is_used_once(&self) -> bool {
        match &self.more {
            Some(more) => more.services.iter().any(|service| service.is_used_once()),
            None => self.plain.first().is_some_and(|one| one.is_used_once()),
        }
    }

    /// Adds a subscription. Groups of one name are one group, whatever filters their members have.
    // NATS 2.14: findQSlot.
    pub(super) fn add(&mut self, subscription: &Arc<S>) {
        if subscription.is_peer() {
            return self.add_peer(subscription);
        }
        if subscription.is_service() {
            return self.more.get_or_insert_default().services.push(Arc::clone(subscription));
        }
        let Some(queue) = subscription.queue() else {
            self.plain.push(Arc::clone(subscription));
            return;
        };
        let same_name = |group: &&mut Vec<Arc<S>>| {
            group.first().is_some_and(|member| member.queue() == Some(queue))
        };
        let groups = &mut self.more.get_or_insert_default().groups;
        match groups.iter_mut().find(same_name) {
            Some(group) => group.push(Arc::clone(subscription)),
            None => groups.push(vec![Arc::clone(subscription)]),
        }
    }

    #[cold]
    fn add_peer(&mut self, subscription: &Arc<S>) {
        let owner = subscription.owner();
        let peers = &mut self.more.get_or_insert_default().peers;
        let known = peers.iter().position(|peer| peer.owner() == Some(owner));
        let place = known.unwrap_or_else(|| {
            peers.push(PeerMatch { plain: None, queues: Vec::new() });
            peers.len() - 1
        });
        let peer = &mut peers[place];
        match subscription.queue() {
            // Several filters of a peer may match: the peer matches the subject again by itself. A literal one is kept, for those
            // who ask whether there is one.
            None if peer.plain.is_none() || is_valid_literal(subscription.filter()) => {
                peer.plain = Some(Arc::clone(subscription));
            }
            None => {}
            Some(_) => peer.queues.push(Arc::clone(subscription)),
        }
    }

    /// Orders the subscriptions of one owner next to each other, independently of hashes, and records whether any
    /// owner has several. Must be called when all are added.
    pub(super) fn arrange(&mut self) {
        if self.more.is_none() && self.plain.len() < 2 {
            return;
        }
        self.plain.sort_by_key(|subscription| subscription.owner());
        if let Some(more) = &mut self.more {
            more.peers.sort_by_key(PeerMatch::owner);
            sort_by(&mut more.services, |a, b| a.filter().cmp(b.filter()));
            for peer in &mut more.peers {
                sort_by(&mut peer.queues, |a, b| {
                    (a.queue(), a.filter()).cmp(&(b.queue(), b.filter()))
                });
            }
        }
        let members = self.groups().iter().flatten();
        let mut owners: SmallVec<[u64; 16]> =
            self.plain.iter().chain(members).map(|subscription| subscription.owner()).collect();
        if owners.len() < 2 {
            return;
        }
        owners.sort_unstable();
        if owners.windows(2).any(|pair| pair[0] == pair[1]) {
            self.more.get_or_insert_default().owners_differ = false;
        }
    }

    /// Returns its approximate size beside itself, in bytes.
    pub(super) fn cost(&self) -> usize {
        let plain = if self.plain.spilled() { self.plain.capacity() } else { 0 };
        let groups = self.groups();
        let members: usize = groups.iter().map(|group| group.len() + 3).sum();
        let more = if self.more.is_some() { size_of::<More<S>>() } else { 0 };
        let peers: usize = self.peers().iter().map(|peer| peer.queues.len() + 4).sum();
        let mapped = self.mapped().map_or(0, Mapped::cost);
        8 * (plain + members + peers + self.services().len()) + more + mapped
    }
}
