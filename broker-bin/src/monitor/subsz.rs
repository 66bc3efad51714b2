//! `/subsz`: subscriptions, and how they are found.

use broker_core::snapshot::Subscription;
use broker_core::stats::InterestStats;
use broker_core::{Subject, snapshot};
use serde::Serialize;

use super::observer::Observer;
use super::query::{BadRequest, DEFAULT_LIMIT, Query, at_least_0};
use super::time::Moment;

/// What `/subsz` is asked for.
#[derive(Clone, Debug, Default)]
pub struct SubszOptions {
    /// List the subscriptions.
    pub subscriptions: bool,
    /// Leave out so many.
    pub offset: usize,
    /// List so many at most; 0 for 1,024.
    pub limit: usize,
    /// Only those in this account; empty for all.
    pub account: String,
    /// List only those that would get a message to this subject; empty for all.
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

/// What `/subsz` shows, in the order of the reference.
// NATS 2.14: monitor.go Subsz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Subsz {
    /// The server's id.
    pub server_id: String,
    /// When this was looked at.
    pub now: Moment,
    /// How they are found.
    #[serde(flatten)]
    pub stats: SublistStats,
    /// How many there are to list; 0 if they are not to be listed.
    pub total: usize,
    /// How many were left out.
    pub offset: usize,
    /// How many may be listed.
    pub limit: usize,
    /// The subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<SubDetail>,
}

/// How subscriptions are found, in the order of the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SublistStats {
    /// How many there are.
    pub num_subscriptions: usize,
    /// How many answers sessions remember.
    pub num_cache: usize,
    /// How many there ever were.
    pub num_inserts: u64,
    /// How many have ended.
    pub num_removes: u64,
    /// How often a session looked up who wants a subject: once for each message to another subject than
    /// that of the message before.
    pub num_matches: u64,
    /// How many of these it remembered: 1 for all.
    pub cache_hit_rate: f64,
    /// The most deliveries that one message to a remembered subject causes.
    pub max_fanout: usize,
    /// How many it causes on average.
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

/// A subscription, in the order of the reference.
// NATS 2.14: monitor.go SubDetail.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SubDetail {
    /// The account it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The account under the name that people know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_tag: Option<String>,
    /// What it subscribes to.
    pub subject: Box<str>,
    /// The queue group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qgroup: Option<Box<str>>,
    /// The client's name for it.
    pub sid: Box<str>,
    /// How many messages it was delivered.
    pub msgs: u64,
    /// Ends after so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The number of the connection.
    pub cid: u64,
}

impl SubDetail {
    /// As it is shown with its connection, which names the account.
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
    /// Subscriptions, and how they are found.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if what to test is not a subject that can be published to.
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

    /// How subscriptions are found, without any of them, for who has looked already.
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
