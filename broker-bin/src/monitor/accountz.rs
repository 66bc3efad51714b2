//! `/accountz`: the list of accounts, or one account in detail.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(feature = "jwt")]
use std::time::{Duration, SystemTime};

use broker_core::account::{AccountShares, Mapping};
#[cfg(feature = "jwt")]
use broker_core::auth::jwt::{AccountClaims, Issue, Severity};
#[cfg(feature = "jwt")]
use broker_core::operator::LoadedAccount;
use broker_core::snapshot::Account;
use broker_core::sort::to_map;
use serde::Serialize;

use super::observer::Observer;
use super::query::BadRequest;
use super::shares::{ExportInfo, ImportInfo};
use super::skip::is_false;
use super::subsz::SublistStats;
use super::system_shares;
use super::time::Moment;

/// The answer of `/accountz`, in the reference's order.
// NATS 2.14: monitor.go Accountz.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Accountz {
    /// The server's id.
    pub server_id: String,
    /// The time of the answer.
    pub now: Moment,
    /// The system account.
    pub system_account: Arc<str>,
    /// The names of all accounts, unless one was requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The requested account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_detail: Option<AccountInfo>,
}

/// An account, in the reference's order.
// NATS 2.14: monitor.go AccountInfo.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountInfo {
    /// The account's name.
    pub account_name: String,
    /// The time of the last change.
    pub update_time: Moment,
    /// True for the system account.
    #[serde(skip_serializing_if = "is_false")]
    pub is_system: bool,
    /// The account's JWT has expired.
    pub expired: bool,
    /// All of its imports are present.
    pub complete: bool,
    /// The account may use JetStream.
    pub jetstream_enabled: bool,
    /// The number of its leaf nodes.
    pub leafnode_connections: usize,
    /// The number of its client connections.
    pub client_connections: usize,
    /// The number of its subscriptions.
    pub subscriptions: usize,
    /// The mappings of published subjects, by source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, Vec<MapDest>>,
    /// Its exports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<ExportInfo>,
    /// Its imports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<ImportInfo>,
    /// The account's JWT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// The operator's key that has signed the JWT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_key: String,
    /// The display name.
    pub name_tag: String,
    /// The tags in the JWT.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The claims in the JWT.
    #[cfg(feature = "jwt")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoded_jwt: Option<AccountClaims>,
    /// The fault of the JWT.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_result_jwt: Vec<JwtIssue>,
    /// The users whose JWTs are revoked, and until when they were issued.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked_user: BTreeMap<String, Moment>,
    /// Statistics of the subscription index.
    pub sublist_stats: SublistStats,
    /// The requests that its services have yet to answer, at most 1,024, by their reply subjects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub responses: BTreeMap<String, ImportInfo>,
}

/// The fault of a JWT.
// NATS 2.14: monitor.go ExtVrIssues.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JwtIssue {
    /// A description.
    pub description: String,
    /// The JWT is not valid.
    pub blocking: bool,
    /// The JWT is not valid at this time.
    pub time_check: bool,
}

/// A destination of a mapping.
// NATS 2.14: accounts.go MapDest.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MapDest {
    /// The destination as it was written.
    pub subject: String,
    /// The sum of the weights of the destinations for the same cluster up to this one, as the reference shows it.
    pub weight: u8,
    /// The cluster for whose servers it is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl MapDest {
    fn by_source(mappings: &[Mapping]) -> BTreeMap<String, Vec<Self>> {
        to_map(mappings.iter().map(|one| (one.source.to_string(), Self::all_of(one))))
    }

    fn all_of(mapping: &Mapping) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::with_capacity(mapping.destinations.len());
        for destination in &mapping.destinations {
            let cluster = destination.cluster.as_deref().map(str::to_owned);
            let before = all.last().filter(|last| last.cluster == cluster);
            let weight = destination.weight + before.map_or(0, |last| last.weight);
            all.push(Self { subject: destination.transform.destination().into(), weight, cluster });
        }
        all
    }
}

/// The number of responses that are shown: a large answer would delay others.
const SHOWN_RESPONSES: usize = 1024;

impl Observer {
    /// Returns the names of all accounts, or the details of one.
    ///
    /// # Errors
    ///
    /// Returns [`BadRequest`] if the account does not exist.
    pub fn accountz(&self, account: Option<&str>) -> Result<Accountz, BadRequest> {
        let now = self.now();
        let all = self.broker().accounts();
        let mut accountz = Accountz {
            server_id: self.server_id(),
            now: now.moment(),
            system_account: self.broker().system_account(),
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
        let shares = self.broker().shares(name, SHOWN_RESPONSES).unwrap_or_default();
        let info = AccountInfo::new(&found, update_time).with_shares(&shares);
        let jetstream_enabled = self.has_streams(name);
        let info = AccountInfo { jetstream_enabled, ..info };
        #[cfg(feature = "jwt")]
        let info = match &self.facts().operators.mode {
            Some(mode) => info.with_claims(mode.loaded_account(name)),
            None => info,
        };
        let info = if self.facts().answers_requests {
            info.with_system_shares(&accountz.system_account)
        } else {
            info
        };
        accountz.account_detail = Some(info);
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
            mappings: MapDest::by_source(&account.mappings),
            exports: Vec::new(),
            imports: Vec::new(),
            jwt: String::new(),
            issuer_key: String::new(),
            name_tag: (*account.name).into(),
            tags: Vec::new(),
            #[cfg(feature = "jwt")]
            decoded_jwt: None,
            validation_result_jwt: Vec::new(),
            revoked_user: BTreeMap::new(),
            sublist_stats: account.interest.into(),
            responses: BTreeMap::new(),
        }
    }

    #[cfg(feature = "jwt")]
    fn with_claims(self, account: Option<LoadedAccount>) -> Self {
        let Some(account) = account else { return self };
        let claims = AccountClaims::clone(&account.claims);
        let issue = |issue: Issue| JwtIssue {
            blocking: issue.severity == Severity::Error,
            time_check: issue.severity == Severity::Time,
            description: issue.text,
        };
        let revoked = |(key, at): (&String, &i64)| {
            let since = Duration::from_secs(u64::try_from(*at).unwrap_or_default());
            (key.clone(), Moment(SystemTime::UNIX_EPOCH + since))
        };
        // NATS 2.14: accounts.go getNameTagLocked.
        let named = Some(&claims.name).filter(|name| !name.is_empty());
        Self {
            update_time: Moment(account.loaded_at),
            expired: account.is_expired,
            jwt: account.token.to_string(),
            issuer_key: claims.issuer.clone(),
            name_tag: named.cloned().unwrap_or(self.name_tag),
            tags: claims.nats.generic.tags.iter().map(ToString::to_string).collect(),
            validation_result_jwt: account.issues.into_iter().map(issue).collect(),
            revoked_user: to_map(claims.nats.revocations.0.iter().map(revoked)),
            decoded_jwt: Some(claims),
            ..self
        }
    }

    fn with_system_shares(mut self, system: &str) -> Self {
        if self.is_system {
            system_shares::add_exports(&mut self.exports);
        }
        system_shares::add_imports(&mut self.imports, &self.account_name, system, self.is_system);
        self
    }

    fn with_shares(self, shares: &AccountShares) -> Self {
        let response = |(subject, response): &(String, _)| {
            (subject.clone(), ImportInfo::of_response(subject, response))
        };
        let is_valid = shares.imports.iter().all(|import| !import.is_invalid);
        Self {
            complete: self.complete && is_valid,
            exports: ExportInfo::all(&shares.exports),
            imports: shares.imports.iter().map(ImportInfo::of).collect(),
            responses: shares.responses.iter().map(response).collect(),
            ..self
        }
    }
}
