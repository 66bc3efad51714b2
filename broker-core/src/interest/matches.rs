//! Who would get one message.

use smallvec::SmallVec;

use super::Interested;
use crate::sync::Arc;

/// The plain subscriptions that each get a message, and the queue groups of which one member does.
///
/// Small, because sessions remember thousands of them: mostly there is one subscription, or two.
#[derive(Debug)]
pub(crate) struct Matches<S> {
    pub(crate) plain: SmallVec<[Arc<S>; 2]>,
    /// What is rare.
    more: Option<Box<More<S>>>,
}

#[derive(Debug)]
struct More<S> {
    groups: Vec<Vec<Arc<S>>>,
    owners_differ: bool,
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self { plain: SmallVec::new(), more: None }
    }
}

impl<S> Default for More<S> {
    fn default() -> Self {
        Self { groups: Vec::new(), owners_differ: true }
    }
}

impl<S: Interested> Matches<S> {
    /// The queue groups.
    #[inline]
    pub(crate) fn groups(&self) -> &[Vec<Arc<S>>] {
        self.more.as_ref().map_or(&[], |more| &more.groups)
    }

    /// Do all subscriptions, those in groups as well, belong to different owners?
    #[inline]
    pub(crate) fn owners_differ(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.owners_differ)
    }

    /// How many deliveries one message causes.
    pub(super) fn fan_out(&self) -> usize {
        self.plain.len() + self.groups().len()
    }

    pub(crate) fn clear(&mut self) {
        self.plain.clear();
        self.more = None;
    }

    /// Members of a group of one name are one group, whatever their filters are.
    // NATS 2.14: findQSlot.
    pub(super) fn add(&mut self, subscription: &Arc<S>) {
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

    /// Puts the subscriptions of one owner side by side, in an order that does not depend on hashes, and
    /// learns whether any owner has several. To be called when all are added.
    pub(super) fn arrange(&mut self) {
        self.plain.sort_by_key(|subscription| subscription.owner());
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

    /// About how much memory it takes beside itself.
    pub(super) fn cost(&self) -> usize {
        let plain = if self.plain.spilled() { self.plain.capacity() } else { 0 };
        let groups = self.groups();
        let members: usize = groups.iter().map(|group| group.len() + 3).sum();
        let more = if self.more.is_some() { size_of::<More<S>>() } else { 0 };
        8 * (plain + members) + more
    }
}
