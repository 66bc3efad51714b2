//! The protocol between servers of one cluster.
//!
//! [`RouteParser`] reads the operations of other servers, [`encode`] writes those of this one, except for messages:
//! the encoder of a route writes them into its queue.

mod connect;
pub mod encode;
mod fault;
mod info;
mod op;
pub(crate) mod parser;

pub use connect::{NotRouteConnect, RouteConnect};
pub use fault::RouteFault;
pub use info::{GossipMode, NotRouteInfo, RouteInfo};
pub use op::{RouteMessage, RouteOp, RouteSubscription};
pub use parser::{RouteLimits, RouteParsed, RouteParser, traced};
