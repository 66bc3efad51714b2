//! The protocol between servers of one cluster.

mod connect;
mod fault;
mod info;
mod op;
mod parser;

pub use connect::RouteConnect;
pub use fault::RouteFault;
pub use info::{GossipMode, RouteInfo};
pub use op::{RouteMessage, RouteOp, RouteSubscription};
pub use parser::{RouteLimits, RouteParsed, RouteParser, traced};

pub mod encode;
mod stub;
