//! What an endpoint is.

/// What an endpoint is. Where a rule depends on that, it is a method here: nothing else compares kinds.
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
}

impl Kind {
    /// Returns true for connections of clients: `max_connections` counts them, and monitoring lists them.
    pub fn is_client_connection(self) -> bool {
        matches!(self, Self::Client | Self::Mqtt)
    }

    /// Returns true for other servers. One message goes to a peer once, with all that wants it there.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Route | Self::Leaf | Self::Gateway)
    }

    /// Returns true if the server itself is at the other end: it may use the subjects, replies and queue
    /// groups that are reserved for servers.
    pub fn may_use_reserved(self) -> bool {
        matches!(self, Self::System | Self::Route | Self::Leaf | Self::Gateway)
    }

    /// Returns true if what an endpoint of kind `from` has brought may go on to one of this kind. Servers of
    /// one cluster all know each other, so that a message takes one hop between them, and what one
    /// cluster got from another stays there.
    // NATS 2.14: client.go deliverMsg, processMsgResults.
    pub fn accepts_from(self, from: Self) -> bool {
        match self {
            Self::Route => !matches!(from, Self::Route),
            Self::Gateway => !matches!(from, Self::Route | Self::Gateway),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 7] = [
        Kind::Client,
        Kind::Internal,
        Kind::System,
        Kind::Route,
        Kind::Leaf,
        Kind::Gateway,
        Kind::Mqtt,
    ];

    #[test]
    fn a_message_takes_one_hop_within_a_cluster() {
        for from in ALL {
            assert_eq!(Kind::Route.accepts_from(from), from != Kind::Route, "{from:?}");
            assert!(Kind::Client.accepts_from(from), "{from:?}");
        }
        assert!(Kind::Leaf.accepts_from(Kind::Route), "a leaf node hangs on one server only");
        assert!(
            !Kind::Gateway.accepts_from(Kind::Route),
            "the server that got it has sent it there"
        );
    }

    #[test]
    fn peers_are_no_clients() {
        for kind in ALL {
            assert!(!(kind.is_peer() && kind.is_client_connection()), "{kind:?}");
        }
    }
}
