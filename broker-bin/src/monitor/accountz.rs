//! `/accountz`: accounts, and one of them in detail.

use broker_core::account::SYSTEM;
use broker_core::snapshot::Account;
use serde::Serialize;

use super::observer::Observer;
use super::query::BadRequest;
use super::skip::is_false;
use super::subsz::SublistStats;
use super::time::Moment;

/// What `/accountz` shows, in the order of the reference.
// NATS 2.14: monitor.go Accountz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Accountz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// The account of the system.
    pub system_account: &'static str,
    /// The names of all accounts, if none was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_detail: Option<AccountInfo>,
}

/// An account, in the order of the reference.
// NATS 2.14: monitor.go AccountInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountInfo {
    /// Its name.
    pub account_name: String,
    /// When it was last changed.
    pub update_time: Moment,
    /// It is the system's.
    #[serde(skip_serializing_if = "is_false")]
    pub is_system: bool,
    /// Its claims have run out.
    pub expired: bool,
    /// All that it imports is there.
    pub complete: bool,
    /// It may have streams.
    pub jetstream_enabled: bool,
    /// Leaf nodes in it.
    pub leafnode_connections: usize,
    /// Connections in it.
    pub client_connections: usize,
    /// Subscriptions in it.
    pub subscriptions: usize,
    /// The name that people know it by.
    pub name_tag: String,
    /// How its subscriptions are found.
    pub sublist_stats: SublistStats,
}

impl Observer {
    /// The names of all accounts, or one account in detail.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if there is no such account.
    pub fn accountz(&self, account: Option<&str>) -> Result<Accountz, BadRequest> {
        let now = self.now();
        let all = self.broker().accounts();
        let mut accountz = Accountz {
            server_id: self.server_id(),
            now: now.moment(),
            system_account: SYSTEM,
            accounts: Vec::new(),
            account_detail: None,
        };
        let Some(name) = account else {
            accountz.accounts = all.iter().map(|account| (*account.name).into()).collect();
            return Ok(accountz);
        };
        let found = all.into_iter().find(|account| *account.name == *name);
        let found = found.ok_or_else(|| BadRequest(format!("Account {name} does not exist")))?;
        let update_time = self.facts().config_load_time.unwrap_or_else(|| now.at(self.started()));
        accountz.account_detail = Some(AccountInfo::new(&found, update_time));
        Ok(accountz)
    }
}

impl AccountInfo {
    pub(super) fn new(account: &Account, update_time: Moment) -> Self {
        Self {
            account_name: (*account.name).into(),
            update_time,
            is_system: account.is_system,
            expired: false,
            complete: true,
            jetstream_enabled: false,
            leafnode_connections: 0,
            client_connections: account.connections,
            subscriptions: account.interest.subscriptions,
            name_tag: (*account.name).into(),
            sublist_stats: account.interest.into(),
        }
    }
}
