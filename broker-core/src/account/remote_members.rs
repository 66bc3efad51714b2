//! The members of an account on other servers, which its limits count too.

use std::collections::BTreeMap;

use crate::limits::REMOTE_SERVERS;

/// The numbers of members that other servers have reported.
#[derive(Default)]
pub(super) struct RemoteMembers {
    servers: BTreeMap<Box<str>, Counts>,
    total: Counts,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) connections: usize,
    pub(super) leaf_nodes: usize,
}

impl RemoteMembers {
    pub(super) fn total(&self) -> Counts {
        self.total
    }

    /// Returns the number of servers with members.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Replaces what a server has reported. A server without members is not remembered, and neither are servers beyond
    /// [`REMOTE_SERVERS`].
    // NATS 2.14: accounts.go updateRemoteServer.
    pub(super) fn set(&mut self, server: &str, counts: Counts) {
        self.remove(server);
        let is_empty = counts.connections == 0 && counts.leaf_nodes == 0;
        if is_empty || self.servers.len() >= REMOTE_SERVERS {
            return;
        }
        self.servers.insert(server.into(), counts);
        let Counts { connections, leaf_nodes } = &mut self.total;
        *connections = connections.saturating_add(counts.connections);
        *leaf_nodes = leaf_nodes.saturating_add(counts.leaf_nodes);
    }

    // NATS 2.14: accounts.go removeRemoteServer.
    pub(super) fn remove(&mut self, server: &str) {
        if let Some(before) = self.servers.remove(server) {
            let Counts { connections, leaf_nodes } = &mut self.total;
            *connections = connections.saturating_sub(before.connections);
            *leaf_nodes = leaf_nodes.saturating_sub(before.leaf_nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_of_each_server_counts() {
        let counts = |connections, leaf_nodes| Counts { connections, leaf_nodes };
        let mut remote = RemoteMembers::default();
        let total = |remote: &RemoteMembers| {
            let Counts { connections, leaf_nodes } = remote.total();
            (connections, leaf_nodes, remote.servers())
        };
        remote.set("a", counts(3, 1));
        remote.set("b", counts(2, 0));
        assert_eq!(total(&remote), (5, 1, 2));
        remote.set("a", counts(1, 0));
        assert_eq!(total(&remote), (3, 0, 2));
        remote.set("b", counts(0, 0));
        assert_eq!(total(&remote), (1, 0, 1));
        remote.remove("a");
        remote.remove("a");
        assert_eq!(total(&remote), (0, 0, 0));
    }

    #[test]
    fn servers_beyond_the_limit_are_not_remembered() {
        let mut remote = RemoteMembers::default();
        for number in 0..REMOTE_SERVERS + 10 {
            remote.set(&number.to_string(), Counts { connections: 1, leaf_nodes: 0 });
        }
        assert_eq!(remote.servers(), REMOTE_SERVERS);
        assert_eq!(remote.total().connections, REMOTE_SERVERS);
    }
}
