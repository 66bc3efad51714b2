//! The kinds of endpoints.

/// The kind of an endpoint. A rule that depends on it is a method here: no other code compares kinds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A client of the wire protocol.
    Client,
    /// A client or a service inside of the process.
    Internal,
    /// The server itself, in its system account.
    System,
    /// A server of the same cluster.
    Route,
    /// A leaf node, or the hub of one.
    Leaf,
    /// A server of another cluster.
    Gateway,
    /// A client of MQTT.
    Mqtt,
    /// A service that an account imports.
    Account,
}

impl Kind {
    /// Returns the number of the kind in events.
    // NATS 2.14: client.go CLIENT, ROUTER, …. Clients in the process of nats-server are connections.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Client | Self::Internal | Self::Mqtt => 0,
            Self::Route => 1,
            Self::Gateway => 2,
            Self::System => 3,
            Self::Leaf => 4,
            Self::Account => 6,
        }
    }

    /// Returns true for connections of clients: `max_connections` counts them, and monitoring lists them.
    pub fn is_client_connection(self) -> bool {
        matches!(self, Self::Client | Self::Mqtt)
    }

    /// Returns true for other servers. A message is sent to a peer once, for all of its subscriptions.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Route | Self::Leaf | Self::Gateway)
    }

    /// Returns true if the server itself is at the other end: it may use the subjects, replies and queue
    /// groups that are reserved for servers.
    pub fn may_use_reserved(self) -> bool {
        matches!(self, Self::System | Self::Route | Self::Leaf | Self::Gateway)
    }

    /// Returns true if the mappings of the account replace the subjects of its messages. Another server of the
    /// cluster has done so already.
    // NATS 2.14: parser.go.
    pub(crate) fn is_mapped(self) -> bool {
        matches!(self, Self::Client | Self::Internal | Self::Leaf | Self::Mqtt)
    }

    /// Returns the kinds of endpoints whose interest is sent to an endpoint of this kind; none for clients. An endpoint
    /// that is sent interest of its own (a leaf node) subtracts it.
    // NATS 2.14: route.go updateRouteSubscriptionMap, gateway.go gatewayUpdateSubInterest, leafnode.go
    // initLeafNodeSmapAndSendSubs.
    pub fn is_told_of(self) -> Kinds {
        match self {
            // The requester's server passes a request on to the exporting account.
            Self::Route => {
                Kinds::ALL.without(Self::Route).without(Self::Gateway).without(Self::Account)
            }
            Self::Leaf | Self::Gateway => Kinds::ALL.without(Self::Gateway),
            _ => Kinds::NONE,
        }
    }

    /// Returns true if its subscriptions receive the streams that the account imports. Another server of the cluster, or
    /// another cluster, subscribes in the exporting account itself.
    // NATS 2.14: client.go processSubEx, leafnode.go processLeafSub.
    pub(crate) fn imports_streams(self) -> bool {
        !matches!(self, Self::Route | Self::Gateway)
    }

    /// Returns which limit of an account counts endpoints of this kind. The other limits of an account hold for
    /// the same ones.
    // NATS 2.14: client.go registerWithAccount, applyAccountLimits.
    pub(crate) fn quota(self) -> Option<Quota> {
        match self {
            Self::Client | Self::Mqtt => Some(Quota::Connections),
            Self::Leaf => Some(Quota::LeafNodes),
            Self::Internal | Self::System | Self::Route | Self::Gateway | Self::Account => None,
        }
    }

    /// Returns the bit of the kind in a set of kinds.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Returns true if the sids of its subscriptions are numbers chosen by the broker, and not words of a protocol.
    pub(crate) fn has_numbered_sids(self) -> bool {
        matches!(self, Self::Internal | Self::System)
    }

    /// Returns true if its subscriptions are named by filter and queue group, and not by a sid.
    // NATS 2.14: route.go keyFromSub.
    pub(crate) fn names_interest(self) -> bool {
        self.is_peer()
    }

    /// Returns true if members of a queue group behind an endpoint of this kind get as much of a message from one of kind
    /// `from` as members here. Others get it only if no member here does.
    // NATS 2.14: client.go processMsgResults.
    pub(crate) fn shares_groups_with(self, from: Self) -> bool {
        self == Self::Route && from != Self::Route
    }

    /// Returns true if messages from an endpoint of kind `from` may be forwarded to one of this kind. Servers of
    /// one cluster are all connected, so that a message takes one hop between them, and a message that one
    /// cluster got from another is not forwarded to a third.
    // NATS 2.14: client.go deliverMsg, processMsgResults.
    pub fn accepts_from(self, from: Self) -> bool {
        match self {
            Self::Route => !matches!(from, Self::Route),
            Self::Gateway => !matches!(from, Self::Route | Self::Gateway),
            _ => true,
        }
    }
}

/// A limit of an account that counts endpoints.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Quota {
    Connections,
    LeafNodes,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kinds(u8);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// All kinds.
    pub const ALL: Self = Self(u8::MAX);

    /// The set with another kind in it.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }

    /// The set without a kind.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self(self.0 & !kind.bit())
    }

    /// Returns true if the kind is in it.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 8] = [
        Kind::Client,
        Kind::Internal,
        Kind::System,
        Kind::Route,
        Kind::Leaf,
        Kind::Gateway,
        Kind::Mqtt,
        Kind::Account,
    ];

    #[test]
    fn a_message_takes_one_hop_within_a_cluster() {
        for from in ALL {
            assert_eq!(Kind::Route.accepts_from(from), from != Kind::Route, "{from:?}");
            assert!(Kind::Client.accepts_from(from), "{from:?}");
        }
        assert!(
            Kind::Leaf.accepts_from(Kind::Route),
            "a leaf node is connected to one server only"
        );
        assert!(
            !Kind::Gateway.accepts_from(Kind::Route),
            "the server that received it has forwarded it"
        );
    }

    #[test]
    fn interest_takes_one_hop_within_a_cluster() {
        for kind in ALL {
            let goes_on = Kind::Route.is_told_of().has(kind);
            let stays = matches!(kind, Kind::Route | Kind::Gateway | Kind::Account);
            assert_eq!(goes_on, !stays, "{kind:?}");
            assert!(!Kind::Client.is_told_of().has(kind), "{kind:?}");
        }
        assert!(Kind::Leaf.is_told_of().has(Kind::Route));
        assert_eq!(Kinds::NONE.with(Kind::Leaf).without(Kind::Leaf), Kinds::NONE);
    }

    #[test]
    fn sids_are_words_where_there_is_a_protocol() {
        for kind in ALL.into_iter().filter(|kind| kind.has_numbered_sids()) {
            assert!(!kind.is_peer() && !kind.is_client_connection(), "{kind:?}");
        }
        assert!(Kind::Internal.has_numbered_sids());
    }

    #[test]
    fn peers_are_no_clients() {
        for kind in ALL {
            assert!(!(kind.is_peer() && kind.is_client_connection()), "{kind:?}");
        }
    }
}
