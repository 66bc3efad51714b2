//! `/jsz`: JetStream.

use serde::Serialize;

use super::jetstream::{JetStreamConfig, JetStreamStats};
use super::jetstream_facts::JetStreamLimits;
use super::observer::Observer;
use super::query::{BadRequest, DEFAULT_LIMIT, Query};
use super::skip::{is_0, is_false};
use super::time::Moment;

/// The parameters of `/jsz`.
#[derive(Clone, Debug, Default)]
pub struct JszOptions {
    /// Reports this account only.
    pub account: String,
    /// Reports all accounts.
    pub accounts: bool,
    /// Reports streams.
    pub streams: bool,
    /// Reports consumers.
    pub consumers: bool,
    /// Reports consumers of mirrors and sources too.
    pub direct_consumers: bool,
    /// Reports configurations.
    pub config: bool,
    /// Only the leader of the cluster answers. A single server leads.
    pub leader_only: bool,
    /// The number of accounts to skip.
    pub offset: i64,
    /// The most accounts; 0 for 1024, and negative for all.
    pub limit: i64,
    /// Reports replication: a single server leads all streams and consumers.
    pub raft: bool,
}

impl JszOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let options = Self {
            account: query.text("acc").to_owned(),
            accounts: query.switch("accounts")?,
            streams: query.switch("streams")?,
            consumers: query.switch("consumers")?,
            direct_consumers: query.switch("direct-consumers")?,
            config: query.switch("config")?,
            offset: query.int("offset")?,
            limit: query.int("limit")?,
            leader_only: query.switch("leader-only")?,
            raft: query.switch("raft")?,
        };
        query.switch("stream-leader-only")?;
        Ok(options)
    }
}

/// The answer of `/jsz`, in the reference's order.
// NATS 2.14: monitor.go JSInfo.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Jsz {
    /// Use.
    #[serde(flatten)]
    pub stats: JetStreamStats,
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// JetStream is disabled.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The limits of JetStream.
    pub config: JetStreamConfig,
    /// The limits of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<JetStreamLimits>,
    /// The number of streams.
    pub streams: usize,
    /// Those that this server leads, if replication was asked for.
    #[serde(skip_serializing_if = "is_0")]
    pub streams_leader: usize,
    /// The number of consumers.
    pub consumers: usize,
    /// Those that this server leads, if replication was asked for.
    #[serde(skip_serializing_if = "is_0")]
    pub consumers_leader: usize,
    /// The number of messages in streams.
    pub messages: u64,
    /// The number of bytes in streams.
    pub bytes: u64,
    /// The accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub account_details: Vec<AccountDetail>,
    /// The number of accounts that could be listed.
    pub total: usize,
}

/// JetStream in an account, in the reference's order.
// NATS 2.14: monitor.go AccountDetail.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct AccountDetail {
    /// The name.
    pub name: String,
    /// The id.
    pub id: String,
    /// Use.
    #[serde(flatten)]
    pub stats: JetStreamStats,
    /// The streams.
    #[cfg(feature = "streams")]
    #[serde(rename = "stream_detail", skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<broker_streams::service::StreamReport>,
}

impl Observer {
    /// Returns the state of JetStream.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if the leader is asked for and there is none, because JetStream is disabled.
    pub fn jsz(&self, options: &JszOptions) -> Result<Jsz, BadRequest> {
        let jetstream = self.jetstream();
        let disabled = jetstream.config.is_none();
        if disabled && options.leader_only {
            return Err(BadRequest("filtered response: not leader".into()));
        }
        let mut jsz = Jsz {
            stats: jetstream.stats.unwrap_or_default(),
            server_id: self.server_id(),
            now: self.now().moment(),
            disabled,
            config: jetstream.config.unwrap_or_default(),
            limits: jetstream.limits,
            streams: 0,
            streams_leader: 0,
            consumers: 0,
            consumers_leader: 0,
            messages: 0,
            bytes: 0,
            account_details: Vec::new(),
            total: 0,
        };
        if !disabled {
            self.add_streams(&mut jsz, options);
        }
        Ok(jsz)
    }

    #[cfg(not(feature = "streams"))]
    fn add_streams(&self, _: &mut Jsz, _: &JszOptions) {}

    #[cfg(feature = "streams")]
    fn add_streams(&self, jsz: &mut Jsz, options: &JszOptions) {
        let Some(viewer) = self.streams() else { return };
        let totals = viewer.totals();
        (jsz.streams, jsz.consumers) = (totals.streams, totals.consumers);
        (jsz.messages, jsz.bytes) = (totals.messages, totals.bytes);
        if options.raft {
            (jsz.streams_leader, jsz.consumers_leader) = (totals.streams, totals.consumers);
        }
        let names = viewer.account_names();
        jsz.total = names.len();
        let details = selected(names, options).into_iter();
        jsz.account_details =
            details.filter_map(|name| self.account_detail(&name, options)).collect();
    }

    /// Returns JetStream in an account.
    ///
    /// # Errors
    ///
    /// Returns the text of the answer if there is none.
    // NATS 2.14: monitor.go JszAccount.
    pub(crate) fn jsz_account(
        &self,
        name: &str,
        options: &JszOptions,
    ) -> Result<AccountDetail, String> {
        if self.jetstream().config.is_none() {
            return Err("jetstream not enabled".to_owned());
        }
        let quoted = broker_core::error::Quoted::from(name);
        if !self.broker().accounts().iter().any(|account| *account.name == *name) {
            return Err(format!("account {quoted} not found"));
        }
        let detail = self.account_detail(name, options);
        detail.ok_or_else(|| format!("account {quoted} not jetstream enabled"))
    }

    #[cfg(not(feature = "streams"))]
    fn account_detail(&self, _: &str, _: &JszOptions) -> Option<AccountDetail> {
        None
    }

    /// Returns JetStream in an account; `None` if the account may have no streams.
    #[cfg(feature = "streams")]
    fn account_detail(&self, name: &str, options: &JszOptions) -> Option<AccountDetail> {
        let selection = broker_streams::service::AccountSelection {
            streams: options.streams || options.consumers,
            consumers: options.consumers,
            direct_consumers: options.direct_consumers,
            config: options.config,
        };
        let found = self.streams()?.account(name, selection)?;
        Some(AccountDetail {
            name: name.to_owned(),
            id: name.to_owned(),
            stats: JetStreamStats::of(&found.usage, 0),
            streams: found.streams,
        })
    }
}

/// Returns the accounts to report: the one that is asked for, or a page of all.
// NATS 2.14: monitor.go Jsz.
#[cfg_attr(not(feature = "streams"), expect(dead_code, reason = "without streams there are none"))]
fn selected(names: Vec<String>, options: &JszOptions) -> Vec<String> {
    if names.contains(&options.account) {
        return vec![options.account.clone()];
    }
    let with_streams = options.streams || options.consumers;
    let has_all = options.accounts || with_streams && options.account.is_empty();
    if !has_all {
        return Vec::new();
    }
    let limit = match options.limit {
        ..0 => return names,
        0 => DEFAULT_LIMIT,
        limit => super::query::at_least_0(limit),
    };
    names.into_iter().skip(super::query::at_least_0(options.offset)).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(query: &str) -> String {
        let options = JszOptions::parse(&Query::parse(query)).unwrap();
        selected(["A", "B", "C"].map(str::to_owned).to_vec(), &options).join(" ")
    }

    #[test]
    fn accounts_are_selected_as_by_the_reference() {
        for (query, accounts) in [
            ("", ""),
            ("accounts=1", "A B C"),
            ("streams=1", "A B C"),
            ("consumers=1&limit=2", "A B"),
            ("accounts=1&offset=1&limit=1", "B"),
            ("accounts=1&offset=9", ""),
            ("accounts=1&offset=-9&limit=-1", "A B C"),
            ("acc=B", "B"),
            ("acc=B&accounts=1&offset=2", "B"),
            ("acc=X&streams=1", ""),
            ("acc=X&accounts=1", "A B C"),
        ] {
            assert_eq!(select(query), accounts, "{query}");
        }
    }
}
