//! Operations of routes.

use smallvec::SmallVec;

use crate::proto::Publish;

/// One operation of another server, borrowed from the read buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteOp<'a> {
    /// `INFO {json}`.
    Info(&'a [u8]),
    /// `CONNECT {json}`.
    Connect(&'a [u8]),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR text`.
    Err(&'a [u8]),
    /// `RS+` and `LS+`.
    Subscribe(RouteSubscription<'a>),
    /// `RS-`, `LS-` and `UNSUB`.
    Unsubscribe(RouteSubscription<'a>),
    /// `RMSG`, `HMSG` and `LMSG`; `PUB` and `HPUB`, whose account is that of the route, or else empty.
    Message(RouteMessage<'a>),
    /// `A+`, `A-` and `SUB`, which have no effect on a route.
    Account,
}

/// Interest of another server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteSubscription<'a> {
    /// The cluster of leaf nodes that has the interest, of `LS+` and `LS-`.
    pub origin: Option<&'a [u8]>,
    /// The account: that of the line, or of the route.
    pub account: &'a [u8],
    /// The filter, unchecked.
    pub filter: &'a [u8],
    /// The queue group.
    pub queue: Option<&'a [u8]>,
    /// The number of its members; 1 without a queue group, 0 of `RS-` and if the number is invalid.
    pub weight: u32,
}

/// A message of another server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteMessage<'a> {
    /// The cluster of leaf nodes that the message comes from, of `LMSG`.
    pub origin: Option<&'a [u8]>,
    /// The account: that of the line, or of the route.
    pub account: &'a [u8],
    /// The queue groups that this server was picked for.
    pub queues: SmallVec<[&'a [u8]; 4]>,
    /// The message. Its `tail` is set if everything behind the subject is spelled as in a delivery to a client.
    pub message: Publish<'a>,
}
