//! Orders of the core to connect to other servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_core::cluster::{RouteDial, RouteDialer};
use broker_core::limits::MAX_ROUTE_DIALS;
use tokio::sync::mpsc;

/// Passes orders to the task of the routes.
pub(super) struct OrderSender {
    // Unbounded, because the core cannot wait; the number of orders is bounded apart.
    orders: mpsc::UnboundedSender<Order>,
    pending: Arc<AtomicUsize>,
}

/// The orders that were not begun.
pub(super) struct Orders(mpsc::UnboundedReceiver<Order>);

/// An order under way. Dropped when the connection is made, or given up.
pub(super) struct Order {
    pub(super) dial: RouteDial,
    _pending: Pending,
}

/// Counts an order as long as it exists.
struct Pending(Arc<AtomicUsize>);

impl Orders {
    pub(super) fn channel() -> (OrderSender, Self) {
        let (orders, receiver) = mpsc::unbounded_channel();
        (OrderSender { orders, pending: Arc::default() }, Self(receiver))
    }

    pub(super) async fn next(&mut self) -> Option<Order> {
        self.0.recv().await
    }
}

impl RouteDialer for OrderSender {
    fn dial(&self, dial: RouteDial) {
        let pending = self.pending.fetch_add(1, Ordering::Relaxed);
        let order = Order { dial, _pending: Pending(Arc::clone(&self.pending)) };
        // The number of configured routes is bounded by the configuration. Others are reported by other servers.
        if pending >= MAX_ROUTE_DIALS && !order.dial.is_configured {
            let address = &order.dial.address;
            tracing::warn!("Not connecting to route {address}: {pending} others are waited for");
            return;
        }
        // An error means that the server ends.
        let _ = self.orders.send(order);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
