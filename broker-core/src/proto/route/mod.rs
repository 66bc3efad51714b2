//! The protocol between servers of one cluster.

mod connect;
mod info;
mod op;

pub use connect::RouteConnect;
pub use info::{GossipMode, RouteInfo};
pub use op::{RouteMessage, RouteOp, RouteSubscription};
