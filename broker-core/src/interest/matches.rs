//! Who would get one message.

use super::Interested;
use crate::sync::Arc;

/// The plain subscriptions that each get a message, and the queue groups of which one member does.
#[derive(Debug)]
pub(crate) struct Matches<S> {
    pub(crate) plain: Vec<Arc<S>>,
    pub(crate) groups: Vec<Vec<Arc<S>>>,
    /// Do all plain subscriptions belong to different owners?
    pub(crate) owners_differ: bool,
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self { plain: Vec::new(), groups: Vec::new(), owners_differ: true }
    }
}

impl<S: Interested> Matches<S> {
    pub(crate) fn clear(&mut self) {
        self.plain.clear();
        self.groups.clear();
        self.owners_differ = true;
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
        match self.groups.iter_mut().find(same_name) {
            Some(group) => group.push(Arc::clone(subscription)),
            None => self.groups.push(vec![Arc::clone(subscription)]),
        }
    }

    /// Puts the subscriptions of one owner side by side, in an order that does not depend on hashes.
    pub(super) fn arrange(&mut self) {
        if self.plain.len() < 2 {
            return;
        }
        self.plain.sort_by_key(|subscription| subscription.owner());
        self.owners_differ = self.plain.windows(2).all(|pair| pair[0].owner() != pair[1].owner());
    }

    /// About how much memory it takes.
    pub(super) fn cost(&self) -> usize {
        let members: usize = self.groups.iter().map(|group| group.len() + 3).sum();
        size_of::<Self>() + 8 * (self.plain.len() + members)
    }
}
