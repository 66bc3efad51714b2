//! Requests of the system account about the JWTs of accounts: update, look up, list, pack, delete.
// NATS 2.14: accounts.go DirAccResolver.Start and CacheDirAccResolver.Start, events.go accountClaimUpdate.

mod answers;
mod claims;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use broker_core::auth::Grant;
use broker_core::operator::{MemoryResolver, OperatorMode, Trust};
use broker_core::{Broker, HandlerSubscription, RawMessage, Subject, SubscribeError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{DirectoryKind, Source};
use answers::Answers;

/// The number of requests that wait. Each may take a megabyte; further ones are dropped, and their senders ask again.
const QUEUED_REQUESTS: usize = 256;

/// The subject by which directories are compared.
const PACK: &str = "$SYS.REQ.CLAIMS.PACK";

/// The group of those that answer it.
const RESPONDERS: &str = "responder";

/// The keys of the operator of the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct OperatorKeys {
    /// Its own key.
    pub(crate) key: String,
    /// The keys that may sign requests.
    pub(crate) signers: BTreeSet<String>,
    /// Only signing keys may sign accounts.
    pub(crate) is_strict: bool,
    /// The system account, which cannot be removed.
    pub(crate) system_account: String,
}

/// Answers requests until it is dropped.
pub(crate) struct ClaimRequests {
    task: JoinHandle<()>,
    _subscriptions: Vec<HandlerSubscription>,
}

impl std::fmt::Debug for ClaimRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimRequests")
    }
}

impl Drop for ClaimRequests {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request about JWTs.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// `None`: the account that the JWT names.
    Update(Option<String>),
    LookUp(String),
    List,
    Pack,
    Delete,
    /// A package that was asked for.
    Merge,
}

struct Request {
    kind: Kind,
    reply: Option<Subject>,
    payload: Vec<u8>,
}

impl Kind {
    fn of(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.split('.').collect();
        Some(match *tokens {
            ["$SYS", "REQ", "CLAIMS", "UPDATE"] => Self::Update(None),
            ["$SYS", "REQ", "CLAIMS", "LIST"] => Self::List,
            ["$SYS", "REQ", "CLAIMS", "PACK"] => Self::Pack,
            ["$SYS", "REQ", "CLAIMS", "DELETE"] => Self::Delete,
            ["$SYS", "REQ", "ACCOUNT", account, "CLAIMS", "UPDATE"]
            | ["$SYS", "ACCOUNT", account, "CLAIMS", "UPDATE"] => {
                Self::Update(Some(account.to_owned()))
            }
            ["$SYS", "REQ", "ACCOUNT", account, "CLAIMS", "LOOKUP"] => {
                Self::LookUp(account.to_owned())
            }
            ["$SYS", "_INBOX", ..] => Self::Merge,
            _ => return None,
        })
    }
}

/// Returns the subjects that a source answers, each with its queue group.
fn subjects(source: &Source) -> Vec<(&'static str, Option<&'static str>)> {
    let mut subjects =
        vec![("$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE", None), ("$SYS.ACCOUNT.*.CLAIMS.UPDATE", None)];
    let Source::Directory(directory) = source else { return subjects };
    subjects.extend([
        ("$SYS.REQ.CLAIMS.UPDATE", None),
        ("$SYS.REQ.CLAIMS.LIST", None),
        ("$SYS.REQ.CLAIMS.DELETE", None),
    ]);
    if directory.kind() == DirectoryKind::Full {
        subjects.extend([("$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", None), (PACK, Some(RESPONDERS))]);
    }
    subjects
}

pub(super) fn serve(
    source: Source,
    broker: &Broker,
    mode: &OperatorMode,
    operator: OperatorKeys,
) -> Result<ClaimRequests, SubscribeError> {
    let (sender, requests) = mpsc::channel(QUEUED_REQUESTS);
    let inbox = format!("$SYS._INBOX.{}.claims", unique(broker));
    let mut filters = subjects(&source);
    filters.push((&inbox, None));
    let grant = || Grant::anonymous().with_account(broker.system_account());
    let subscriptions = filters.into_iter().map(|(filter, group)| {
        let sender = sender.clone();
        broker.handle(grant(), filter, group, move |message, _| take(&sender, message))
    });
    let subscriptions = subscriptions.collect::<Result<Vec<_>, _>>()?;
    let answers = Answers { broker: broker.downgrade(), mode: mode.clone(), operator, source };
    let task = tokio::spawn(work(Arc::new(answers), requests, inbox));
    Ok(ClaimRequests { task, _subscriptions: subscriptions })
}

/// Answers updates of accounts on a server without operators: nothing that is sent is an account there.
///
/// # Errors
///
/// [`SubscribeError`], which does not happen.
// NATS 2.14: events.go initEventTracking.
pub(crate) fn serve_without_operators(broker: &Broker) -> Result<ClaimRequests, SubscribeError> {
    let source = Source::Memory(MemoryResolver::default());
    let mode = OperatorMode::builder(Trust::keys([]), source.clone()).build();
    serve(source, broker, &mode, OperatorKeys::default())
}

/// Returns a token for subjects of this server.
fn unique(broker: &Broker) -> String {
    broker.client().new_inbox().chars().filter(char::is_ascii_alphanumeric).collect()
}

fn take(sender: &mpsc::Sender<Request>, message: &RawMessage<'_>) {
    let subject = std::str::from_utf8(message.subject()).ok();
    let Some(kind) = subject.and_then(Kind::of) else { return };
    let reply = message.reply().and_then(|reply| std::str::from_utf8(reply).ok());
    let reply = reply.and_then(|reply| Subject::parse(reply).ok());
    let request = Request { kind, reply, payload: message.payload().to_vec() };
    if sender.try_send(request).is_err() {
        tracing::warn!("Request about account claims dropped: too many wait");
    }
}

/// Answers one request after the other, off the threads that serve clients, because they read and write files; removes
/// JWTs that have ended, and compares the directory with those of other servers.
async fn work(answers: Arc<Answers>, mut requests: mpsc::Receiver<Request>, inbox: String) {
    let interval = answers.interval();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let request = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
            _ = ticks.tick() => None,
        };
        let (answers, inbox) = (Arc::clone(&answers), inbox.clone());
        let working = tokio::task::spawn_blocking(move || match request {
            Some(request) => answers.answer(request, SystemTime::now()),
            None => answers.tidy(&inbox, SystemTime::now()),
        });
        if working.await.is_err() {
            tracing::error!("A request about account claims could not be answered");
        }
    }
}

#[cfg(test)]
mod tests;
