//! Answers to requests.

use std::time::{Duration, SystemTime};

use broker_core::auth::jwt::{AccountClaims, Severity, decode_account, decode_generic};
use broker_core::auth::nkey::{KeyKind, PublicKey};
use broker_core::operator::OperatorMode;
use broker_core::{RawMessage, Subject, WeakBroker, go_json};
use serde::Serialize;
use serde_json::Value;

use super::claims::{Failure, Listed, Status, Updated};
use super::{Kind, OperatorKeys, PACK, Request};
use crate::resolver::{Directory, DirectoryKind, Source};

/// The time between two looks at JWTs that have ended.
// NATS 2.14: dirstore.go NewExpiringDirJWTStore.
const TIDY: Duration = Duration::from_secs(60);

pub(super) struct Answers {
    pub(super) broker: WeakBroker,
    pub(super) mode: OperatorMode,
    pub(super) operator: OperatorKeys,
    pub(super) source: Source,
}

/// The result of an update: the account, a message, and the error.
struct Outcome {
    account: String,
    message: String,
    error: Option<String>,
}

impl Outcome {
    fn done(account: &str, message: impl Into<String>) -> Self {
        Self { account: account.to_owned(), message: message.into(), error: None }
    }

    fn failed(account: &str, message: impl Into<String>, error: &dyn ToString) -> Self {
        Self {
            account: account.to_owned(),
            message: message.into(),
            error: Some(error.to_string()),
        }
    }
}

impl Answers {
    pub(super) fn interval(&self) -> Duration {
        match &self.source {
            Source::Directory(directory) => directory.interval().min(TIDY),
            Source::Memory(_) | Source::Url(_) => TIDY,
        }
    }

    /// Answers a request. Blocks.
    pub(super) fn answer(&self, request: Request, now: SystemTime) {
        let Request { kind, reply, payload } = request;
        let text = std::str::from_utf8(&payload).unwrap_or_default();
        let directory = match &self.source {
            Source::Directory(directory) => Some(directory),
            Source::Memory(_) | Source::Url(_) => None,
        };
        match (kind, directory) {
            (Kind::Update(account), Some(directory)) => {
                let outcome = self.store(directory, account.as_deref(), text, now);
                self.respond(reply.as_ref(), outcome);
            }
            (Kind::Update(Some(account)), None) => {
                self.respond(reply.as_ref(), self.update(&account, text));
            }
            (Kind::Delete, Some(directory)) => {
                self.respond(reply.as_ref(), self.delete(directory, text));
            }
            (Kind::Merge, Some(directory)) => self.merge(directory, text, now),
            (kind, Some(directory)) => {
                // Without a reply subject there is nothing to do.
                let Some(reply) = reply else { return };
                match kind {
                    Kind::LookUp(account) => self.look_up(directory, &account, &reply, now),
                    Kind::List => self.list(directory, &reply, now),
                    Kind::Pack => self.pack(directory, &payload, &reply, now),
                    Kind::Update(_) | Kind::Delete | Kind::Merge => {}
                }
            }
            (_, None) => {}
        }
    }

    /// Removes JWTs that have ended, and asks another server for those that this one lacks. Blocks.
    pub(super) fn tidy(&self, inbox: &str, now: SystemTime) {
        let Source::Directory(directory) = &self.source else { return };
        directory.store().expire(now);
        if directory.kind() == DirectoryKind::Cache {
            return;
        }
        let hash = directory.store().hash();
        tracing::debug!("DirResolver - Checking store state: {}", hex(&hash));
        if let (Some(broker), Ok(subject), Ok(inbox)) =
            (self.broker.upgrade(), Subject::parse(PACK), Subject::parse(inbox))
        {
            let message = RawMessage::new(&subject, &hash).with_reply(&inbox);
            broker.publish_from_server(&broker.system_account(), &message);
        }
    }

    /// Updates an account that is loaded, for a source that stores nothing.
    // NATS 2.14: events.go accountClaimUpdate.
    fn update(&self, account: &str, jwt: &str) -> Outcome {
        const FAILED: &str = "jwt update resulted in error";
        if jwt.is_empty() {
            return Outcome::failed(account, "jwt update error", &"request body is empty");
        }
        let claims = match decode_account(jwt) {
            Ok(claims) => claims,
            Err(error) => return Outcome::failed(account, FAILED, &error),
        };
        if claims.subject != account {
            return Outcome::failed(account, FAILED, &"subject does not match jwt content");
        }
        if !self.mode.uses_account(account) {
            return Outcome::done(account, "jwt update skipped");
        }
        match self.mode.update_account(jwt) {
            Ok(_) => Outcome::done(account, "jwt updated"),
            Err(error) => Outcome::failed(account, FAILED, &error),
        }
    }

    /// Stores a JWT and updates its account. `account`: the account that the subject names.
    fn store(
        &self,
        directory: &Directory,
        account: Option<&str>,
        jwt: &str,
        now: SystemTime,
    ) -> Outcome {
        let (cache, updated) = match directory.kind() {
            DirectoryKind::Full => ("", "jwt updated"),
            DirectoryKind::Cache => (" cache", "jwt updated cache"),
        };
        let is_cache = directory.kind() == DirectoryKind::Cache;
        let failed = format!("jwt update{cache} resulted in error");
        let claims = match decode_account(jwt) {
            Ok(claims) => claims,
            Err(error) => {
                let named = account.filter(|_| is_cache).unwrap_or("n/a");
                return Outcome::failed(named, failed, &error);
            }
        };
        let subject = &claims.subject;
        let named = account.unwrap_or(subject);
        // The full directory checks the claims first if the subject names the account, or else the issuer.
        let invalid = || {
            let issues = validate(&claims, now)?;
            let message = if is_cache {
                "jwt update cache validation failed"
            } else {
                "jwt validation failed"
            };
            Some(Outcome::failed(subject, message, &issues))
        };
        if account.is_some()
            && !is_cache
            && let Some(outcome) = invalid()
        {
            return outcome;
        }
        if subject != named {
            return Outcome::failed(named, failed, &"subject does not match jwt content");
        }
        if self.operator.is_strict && claims.issuer == self.operator.key {
            let error = "operator requires issuer to be a signing key";
            return Outcome::failed(named, failed, &error);
        }
        if is_cache && !self.mode.uses_account(named) {
            return Outcome::done(named, "jwt update cache skipped");
        }
        if let Some(outcome) = invalid() {
            return outcome;
        }
        match directory.store().save(named, jwt, now) {
            Ok(has_changed) => {
                if has_changed {
                    directory.changed(named, &self.mode);
                }
                Outcome::done(named, updated)
            }
            Err(error) => Outcome::failed(named, failed, &error),
        }
    }

    // NATS 2.14: accounts.go handleDeleteRequest.
    fn delete(&self, directory: &Directory, jwt: &str) -> Outcome {
        let (subject, accounts) = self.check_removal(directory, jwt);
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => {
                let message = format!("delete accounts request by {subject} failed");
                return Outcome::failed("", message, &error);
            }
        };
        let (mut passed, mut errors) = (0, Vec::new());
        for account in &accounts {
            match directory.store().remove(account) {
                Ok(_) => {
                    passed += 1;
                    tracing::debug!("Disable account {account} due to remove");
                    self.mode.remove_account(account);
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() {
            return Outcome::done("", format!("deleted {passed} accounts"));
        }
        let message = format!("deleted {passed} accounts, failed for {}", errors.len());
        Outcome::failed("", message, &errors.join("\n"))
    }

    /// Returns who asks, and the accounts to be removed.
    fn check_removal(
        &self,
        directory: &Directory,
        jwt: &str,
    ) -> (String, Result<Vec<String>, String>) {
        let claims = match decode_generic(jwt) {
            Ok(claims) => claims,
            Err(error) => return (String::new(), Err(error.to_string())),
        };
        let refused = |error: &str| Err(error.to_owned());
        let result = if !directory.store().may_remove() {
            refused("delete must be enabled in server config")
        } else if !claims.is_self_signed() {
            refused("not self signed")
        } else if !self.operator.signers.contains(&claims.issuer) {
            refused("not trusted")
        } else {
            self.listed(claims.nats.get("accounts")).map_err(str::to_owned)
        };
        (claims.subject, result)
    }

    fn listed(&self, list: Option<&Value>) -> Result<Vec<String>, &'static str> {
        const MALFORMED: &str = "malformed request";
        let list = list.and_then(Value::as_array).ok_or(MALFORMED)?;
        let mut accounts = Vec::with_capacity(list.len());
        for entry in list {
            let account = entry.as_str().ok_or(MALFORMED)?;
            if !PublicKey::is_valid(KeyKind::Account, account) {
                return Err(MALFORMED);
            }
            if account == self.operator.system_account {
                return Err("not allowed to delete system account");
            }
            accounts.push(account.to_owned());
        }
        Ok(accounts)
    }

    fn look_up(&self, directory: &Directory, account: &str, reply: &Subject, now: SystemTime) {
        match directory.store().load(account, now) {
            Ok(Some(jwt)) => self.publish(reply, jwt.as_bytes()),
            Ok(None) => {
                tracing::debug!("DirResolver - Could not find account {account:?}");
                // Tells others that there is none.
                self.publish(reply, b"");
            }
            Err(error) => {
                tracing::error!("DirResolver - Error looking up account {account:?}: {error}");
            }
        }
    }

    // NATS 2.14: accounts.go handleListRequest.
    fn list(&self, directory: &Directory, reply: &Subject, now: SystemTime) {
        let data = directory.store().keys(now);
        tracing::debug!("list request responded with {} account ids", data.len());
        if let Some(broker) = self.broker.upgrade() {
            self.publish_json(reply, &Listed { data, server: broker.server_info() });
        }
    }

    fn pack(&self, directory: &Directory, their_hash: &[u8], reply: &Subject, now: SystemTime) {
        let our_hash = directory.store().hash();
        if their_hash == our_hash {
            self.publish(reply, b"");
            tracing::debug!("DirResolver - Pack request matches hash {}", hex(&our_hash));
            return;
        }
        let packed = directory.store().pack_each(now, |package| {
            self.publish(reply, package.as_bytes());
        });
        match packed {
            Ok(()) => {
                tracing::debug!(
                    "DirResolver - Pack request hash {} - finished responding with hash {}",
                    hex(their_hash),
                    hex(&our_hash)
                );
                self.publish(reply, b"");
            }
            // The other side waits no longer than its time.
            Err(error) => tracing::error!("DirResolver - Pack request error: {error}"),
        }
    }

    fn merge(&self, directory: &Directory, package: &str, now: SystemTime) {
        let before = directory.store().hash();
        if package.is_empty() {
            tracing::debug!("DirResolver - Merging finished and resulting in: {}", hex(&before));
            return;
        }
        match directory.store().merge(package, now) {
            Ok(stored) => {
                stored.iter().for_each(|key| directory.changed(key, &self.mode));
                tracing::debug!(
                    "DirResolver - Merging succeeded and changed {} to {}",
                    hex(&before),
                    hex(&directory.store().hash())
                );
            }
            Err(error) => tracing::error!("DirResolver - Merging resulted in error: {error}"),
        }
    }

    // NATS 2.14: accounts.go respondToUpdate.
    fn respond(&self, reply: Option<&Subject>, outcome: Outcome) {
        let Outcome { account, message, error } = outcome;
        let of = if account.is_empty() { String::new() } else { format!(" - {account}") };
        match &error {
            None => tracing::debug!("{message}{of}"),
            Some(error) => tracing::error!("{message}{of} - {error}"),
        }
        let (Some(reply), Some(broker)) = (reply, self.broker.upgrade()) else { return };
        let server = broker.server_info();
        let answer = match error {
            None => {
                let data = Some(Status { account, code: 200, message });
                Updated { server, data, error: None }
            }
            Some(error) => {
                let description = format!("{message} - {error}");
                let error = Some(Failure { account, code: 500, description });
                Updated { server, data: None, error }
            }
        };
        self.publish_json(reply, &answer);
    }

    fn publish_json(&self, reply: &Subject, value: &impl Serialize) {
        if let Ok(body) = go_json::compact(value) {
            self.publish(reply, &body);
        }
    }

    fn publish(&self, reply: &Subject, payload: &[u8]) {
        if let Some(broker) = self.broker.upgrade() {
            let message = RawMessage::new(reply, payload);
            broker.publish_from_server(&broker.system_account(), &message);
        }
    }
}

/// Returns what is wrong with claims, whatever the time.
// NATS 2.14: accounts.go claimValidate.
fn validate(claims: &AccountClaims, now: SystemTime) -> Option<String> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let issues = claims.issues(now);
    let errors: Vec<String> = issues
        .iter()
        .filter(|issue| issue.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    (!errors.is_empty()).then(|| format!("validation errors: [{}]", errors.join(" ")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
