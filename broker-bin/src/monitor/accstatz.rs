//! `/accstatz`: what is sent and got in each account.

use broker_core::snapshot::Account;
use serde::Serialize;

use super::observer::Observer;
use super::time::Moment;

/// What `/accstatz` shows, in the order of the reference.
// NATS 2.14: monitor.go AccountStatz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountStatz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// The accounts, by name.
    pub account_statz: Vec<AccountStat>,
}

/// An account, in the order of the reference.
// NATS 2.14: events.go AccountStat.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountStat {
    /// Its name.
    pub acc: String,
    /// The name that people know it by.
    pub name: String,
    /// Connections in it.
    pub conns: usize,
    /// Leaf nodes in it.
    pub leafnodes: usize,
    /// Both together.
    pub total_conns: usize,
    /// Subscriptions in it.
    pub num_subscriptions: usize,
    /// What its parties were sent.
    pub sent: DataStats,
    /// What its parties sent.
    pub received: DataStats,
    /// Connections in it that were cut because they did not keep up.
    pub slow_consumers: u64,
}

/// Messages and bytes, and where they went or came from beside clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DataStats {
    /// All of them.
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
    /// What is sent and got in each account. `unused`: also those that nobody is in.
    pub fn accstatz(&self, unused: bool) -> AccountStatz {
        let accounts = self.broker().accounts().into_iter();
        let accounts = accounts.filter(|account| unused || account.connections > 0);
        AccountStatz {
            server_id: self.server_id(),
            now: self.now().moment(),
            account_statz: accounts.map(|account| AccountStat::new(&account)).collect(),
        }
    }
}

impl AccountStat {
    pub(super) fn new(account: &Account) -> Self {
        let data = |msgs, bytes| {
            let all = MessagesAndBytes { msgs, bytes };
            DataStats { all, ..DataStats::default() }
        };
        let traffic = account.traffic;
        Self {
            acc: (*account.name).into(),
            name: (*account.name).into(),
            conns: account.connections,
            leafnodes: 0,
            total_conns: account.connections,
            num_subscriptions: account.interest.subscriptions,
            sent: data(traffic.out_messages, traffic.out_bytes),
            received: data(traffic.in_messages, traffic.in_bytes),
            slow_consumers: account.slow_consumers,
        }
    }
}
