//! The number of orders that are carried out at a time.

use std::sync::Weak;

use crate::sync::Arc;

/// Is held by an order and its copies. Tickets make no difference between orders.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket {
    _held: Option<Arc<()>>,
}

/// Tells whether a ticket is still held.
#[derive(Debug)]
pub(super) struct Stub(Weak<()>);

impl Ticket {
    /// Makes a ticket.
    pub(super) fn new() -> (Self, Stub) {
        let ticket = Arc::new(());
        let stub = Stub(Arc::downgrade(&ticket));
        (Self { _held: Some(ticket) }, stub)
    }
}

impl Stub {
    /// Returns true while the order or a copy of it exists.
    pub(super) fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl PartialEq for Ticket {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Ticket {}
