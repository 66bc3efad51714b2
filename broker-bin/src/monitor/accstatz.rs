//! `/accstatz`: traffic of each account.

use broker_core::snapshot::Account;
use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;

/// The answer of `/accstatz`, in the reference's order.
// NATS 2.14: monitor.go AccountStatz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountStatz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// The accounts, by name.
    pub account_statz: Vec<AccountStat>,
}

/// An account, in the reference's order.
// NATS 2.14: events.go AccountStat.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountStat {
    /// The account's name.
    pub acc: String,
    /// The display name.
    pub name: String,
    /// The number of its connections.
    pub conns: usize,
    /// The number of its leaf nodes.
    pub leafnodes: usize,
    /// The sum of both.
    pub total_conns: usize,
    /// The number of its subscriptions.
    pub num_subscriptions: usize,
    /// Traffic from the server to the account's connections.
    pub sent: DataStats,
    /// Traffic from the account's connections to the server.
    pub received: DataStats,
    /// The number of connections closed as slow consumers.
    pub slow_consumers: u64,
    /// The numbers of its imports and exports, if they were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<ShareCounts>,
}

/// The extent to which an account shares its subjects. Not in the reference.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShareCounts {
    /// The number of exported streams and services.
    pub exports: usize,
    /// The number of imported streams and services.
    pub imports: usize,
    /// The number of mappings.
    pub mappings: usize,
}

/// Messages and bytes: in total, and by kind of peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DataStats {
    /// The total.
    #[serde(flatten)]
    pub all: MessagesAndBytes,
    /// Gateways.
    pub gateways: MessagesAndBytes,
    /// Routes.
    pub routes: MessagesAndBytes,
    /// Leaf nodes.
    pub leafs: MessagesAndBytes,
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct MessagesAndBytes {
    /// Messages.
    pub msgs: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Observer {
    /// Returns the traffic of each account. `unused` includes accounts without connections.
    pub fn accstatz(&self, unused: bool) -> AccountStatz {
        self.accstatz_of(&self.broker().accounts(), unused)
    }

    fn accstatz_of(&self, accounts: &[Account], unused: bool) -> AccountStatz {
        let shown = accounts.iter().filter(|account| unused || account.connections > 0);
        AccountStatz {
            server_id: self.server_id(),
            now: self.now().moment(),
            account_statz: shown.map(AccountStat::new).collect(),
        }
    }
}

impl Observer {
    /// As [`accstatz`](Self::accstatz), with the number of exports, imports and mappings of each account.
    pub fn accstatz_with_shares(&self, unused: bool) -> AccountStatz {
        let mut accounts = self.broker().accounts();
        accounts.retain(|account| unused || account.connections > 0);
        let mut found = self.accstatz_of(&accounts, true);
        for (stat, account) in found.account_statz.iter_mut().zip(&accounts) {
            stat.shares = Some(ShareCounts {
                exports: account.exports,
                imports: account.imports,
                mappings: account.mappings.len(),
            });
        }
        found
    }
}

impl AccountStat {
    /// The form with another number of connections than the present one.
    pub(crate) fn with_connections(account: &Account, connections: usize) -> Self {
        Self { conns: connections, total_conns: connections, ..Self::new(account) }
    }

    pub(crate) fn new(account: &Account) -> Self {
        let data = |all: (u64, u64), routes: (u64, u64)| {
            let [all, routes] = [all, routes].map(|(msgs, bytes)| MessagesAndBytes { msgs, bytes });
            DataStats { all, routes, ..DataStats::default() }
        };
        let (traffic, routes) = (account.traffic, account.route_traffic);
        Self {
            acc: (*account.name).into(),
            name: (*account.name).into(),
            conns: account.connections,
            leafnodes: 0,
            total_conns: account.connections,
            num_subscriptions: account.interest.subscriptions,
            sent: data(
                (traffic.out_messages, traffic.out_bytes),
                (routes.out_messages, routes.out_bytes),
            ),
            received: data(
                (traffic.in_messages, traffic.in_bytes),
                (routes.in_messages, routes.in_bytes),
            ),
            slow_consumers: account.slow_consumers,
            shares: None,
        }
    }
}
