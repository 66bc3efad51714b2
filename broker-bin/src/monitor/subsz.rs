//! `/subsz`: subscriptions and their index.

use broker_core::snapshot::Subscription;
use broker_core::stats::InterestStats;
use broker_core::{Subject, snapshot};
use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, DEFAULT_LIMIT, Query, at_least_0};
use super::time::Moment;

/// The parameters of `/subsz`.
#[derive(Clone, Debug, Default)]
pub struct SubszOptions {
    /// Lists the subscriptions.
    pub subscriptions: bool,
    /// The number of subscriptions to skip.
    pub offset: usize,
    /// The maximum number of subscriptions; 0 for 1,024.
    pub limit: usize,
    /// Selects the subscriptions of this account; empty for all.
    pub account: String,
    /// Selects the subscriptions that match this subject; empty for all.
    pub test: String,
}

impl SubszOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, BadRequest> {
        Ok(Self {
            subscriptions: query.switch("subs")?,
            offset: at_least_0(query.int("offset")?),
            limit: at_least_0(query.int("limit")?),
            account: query.text("acc").to_owned(),
            test: query.text("test").to_owned(),
        })
    }
}

/// The answer of `/subsz`, in the reference's order.
// NATS 2.14: monitor.go Subsz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Subsz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// Statistics of the index.
    #[serde(flatten)]
    pub stats: SublistStats,
    /// The number of selected subscriptions; 0 if none are listed.
    pub total: usize,
    /// The number of subscriptions skipped.
    pub offset: usize,
    /// The maximum number of subscriptions listed.
    pub limit: usize,
    /// The subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<SubDetail>,
}

/// Statistics of the subscription index, in the reference's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SublistStats {
    /// The number of subscriptions.
    pub num_subscriptions: usize,
    /// The number of subjects cached by sessions.
    pub num_cache: usize,
    /// The number of subscriptions ever made.
    pub num_inserts: u64,
    /// The number of subscriptions that have ended.
    pub num_removes: u64,
    /// The number of lookups by sessions: one for each message whose subject differs from that of
    /// the message before.
    pub num_matches: u64,
    /// The share of lookups answered by the cache, from 0 to 1.
    pub cache_hit_rate: f64,
    /// The maximum number of deliveries per message over all cached subjects.
    pub max_fanout: usize,
    /// The average number of deliveries per message.
    pub avg_fanout: f64,
}

impl From<InterestStats> for SublistStats {
    fn from(stats: InterestStats) -> Self {
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self {
            num_subscriptions: stats.subscriptions,
            num_cache: stats.cached,
            num_inserts: stats.inserts,
            num_removes: stats.removes,
            num_matches: stats.look_ups,
            cache_hit_rate: ratio(stats.cache_hits as f64, stats.look_ups as f64),
            max_fanout: stats.max_fan_out,
            avg_fanout: ratio(stats.total_fan_out as f64, stats.cached as f64),
        }
    }
}

/// A subscription, in the reference's order.
// NATS 2.14: monitor.go SubDetail.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SubDetail {
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The display name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_tag: Option<String>,
    /// The subject.
    pub subject: Box<str>,
    /// The queue group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qgroup: Option<Box<str>>,
    /// The client's id of the subscription.
    pub sid: Box<str>,
    /// The number of messages delivered.
    pub msgs: u64,
    /// The number of messages after which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The connection's id.
    pub cid: u64,
}

impl SubDetail {
    /// The form in the list of connections, which states the account.
    pub(super) fn of_connection(subscription: Subscription) -> Self {
        Self { account: None, account_tag: None, ..Self::from(subscription) }
    }
}

impl From<Subscription> for SubDetail {
    fn from(subscription: Subscription) -> Self {
        Self {
            account: Some((*subscription.account).into()),
            account_tag: Some((*subscription.account).into()),
            subject: subscription.filter,
            qgroup: subscription.queue,
            sid: subscription.sid,
            msgs: subscription.delivered,
            max: subscription.max,
            cid: subscription.connection,
        }
    }
}

impl Observer {
    /// Returns the subscriptions and the statistics of their index.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if the subject to test is not a literal subject.
    pub fn subsz(&self, options: &SubszOptions) -> Result<Subsz, BadRequest> {
        let limit = if options.limit == 0 { DEFAULT_LIMIT } else { options.limit };
        let account = Some(&*options.account).filter(|account| !account.is_empty());
        let subject = match &*options.test {
            "" => None,
            text => Some(Subject::parse(text).map_err(|_| {
                let text = format!("invalid test subject, must be valid publish subject: {text}");
                BadRequest(text)
            })?),
        };
        let mut accounts = self.broker().accounts();
        accounts.retain(|one| account.is_none_or(|account| *account == *one.name));
        let page = if options.subscriptions {
            self.broker().subscriptions(account, subject.as_ref(), options.offset, limit)
        } else {
            snapshot::Page::default()
        };
        Ok(Subsz {
            total: page.total,
            offset: options.offset,
            limit,
            subscriptions_list: page.subscriptions.into_iter().map(Into::into).collect(),
            ..self.subsz_of(&accounts)
        })
    }

    /// Returns the statistics of the index, without subscriptions, from a snapshot.
    pub(super) fn subsz_of(&self, accounts: &[snapshot::Account]) -> Subsz {
        let mut stats = InterestStats::default();
        accounts.iter().for_each(|account| stats += account.interest);
        Subsz {
            server_id: self.server_id(),
            now: self.now().moment(),
            stats: stats.into(),
            total: 0,
            offset: 0,
            limit: DEFAULT_LIMIT,
            subscriptions_list: Vec::new(),
        }
    }
}
