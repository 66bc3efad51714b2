//! The server's own messages, and the program's part of the system account.

use super::Broker;
use crate::auth::Grant;
use crate::endpoint::{Kind, Scratch, Subscription};
use crate::interest::{Interested, Matches};
use crate::message::RawMessage;
use crate::message_trace::{StreamReport, StreamTrace};
use crate::random::Random;
use crate::routing::{flush_touched, tell_answered_there};
use crate::session::handler::{HandlerContext, HandlerSubscription};
use crate::session::server::{
    has_receivers, has_service, publish_awaited_event, publish_from_server,
};
use crate::session::server_publisher::ServerPublisher;
use crate::subject::{Subject, SubjectFilter};
use crate::sync::{Arc, Ordering};
use crate::system::SystemListener;

/// The reason why a client cannot be told that the server ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LameDuckInfoError {
    /// There is no connection with this id.
    // NATS 2.14: server.go LDMClientByID.
    #[error("no such client id")]
    UnknownClient,
    /// The client does not understand INFO after its login, or has not yet sent its first PING.
    #[error("client does not support Lame Duck Mode or is not ready to receive the notification")]
    NotReady,
}

impl Broker {
    /// Reports events of the server to `listener`, and lets it answer the requests that any account may send to the
    /// server. `None` ends that.
    pub fn set_system_listener(&self, listener: Option<Box<dyn SystemListener>>) {
        self.shared.context.remote.set_taken(listener.is_some());
        self.shared.system.store(listener.map(Arc::new));
    }

    /// Returns the subject in the system account on which other servers report the response times of services that their
    /// clients offer.
    pub fn remote_latency_subject(&self) -> String {
        self.shared.context.remote.subject()
    }

    /// Takes such a report, and publishes the measurement if it is complete.
    ///
    /// # Errors
    ///
    /// Returns the error of the parser if it is no report.
    // NATS 2.14: events.go remoteLatencyUpdate.
    pub fn take_remote_latency(&self, report: &[u8]) -> Result<(), serde_json::Error> {
        let shared = &self.shared;
        let is_open = |account: &str, reply: &[u8]| {
            let account = shared.known_account(account);
            account.is_some_and(|account| {
                account.owed_responses().is_some_and(|responses| responses.is_open(reply))
            })
        };
        if let Some((here, there)) = shared.context.remote.put_there(report, is_open)? {
            let mut scratch = Scratch::new();
            scratch.start_by(&shared.clock);
            tell_answered_there(&here, &there, &mut Random::new(shared.next_seed()), &mut scratch);
            flush_touched(&mut scratch);
        }
        Ok(())
    }

    /// Returns the name of the system account.
    pub fn system_account(&self) -> Arc<str> {
        Arc::clone(&self.shared.system_account)
    }

    /// Returns the names of all accounts, in order.
    pub fn account_names(&self) -> Vec<Arc<str>> {
        let accounts = self.shared.all_accounts().into_iter();
        accounts.filter(|account| !account.is_removed()).map(|one| Arc::clone(&one.name)).collect()
    }

    /// Returns true if there is an account of this name, whether or not it has members.
    pub fn has_account(&self, name: &str) -> bool {
        self.shared.is_shown(name)
    }

    /// Notes the numbers of an account's connections and leaf nodes on another server, which its limits count too: see
    /// [`AccountLimits`](crate::limits::AccountLimits). The newest connections here beyond a limit are closed. An account
    /// that is not there is passed over.
    pub fn set_remote_members(
        &self,
        account: &str,
        server_id: &str,
        connections: usize,
        leaf_nodes: usize,
    ) {
        self.shared.set_remote_members(account, server_id, connections, leaf_nodes);
    }

    /// Forgets the members of all accounts on another server, because it has ended.
    pub fn forget_remote_server(&self, server_id: &str) {
        self.shared.forget_remote_server(server_id);
    }

    /// Returns the number of other servers that have reported members of an account.
    pub fn remote_servers_of(&self, account: &str) -> usize {
        self.shared.known_account(account).map_or(0, |account| account.remote_servers())
    }

    /// Returns true if a message of the server to `subject` in that account would have a receiver.
    pub fn has_receivers(&self, account: &str, subject: &Subject) -> bool {
        let account = self.shared.known_account(account);
        account.is_some_and(|account| has_receivers(&account, subject.as_ref()))
    }

    /// Returns true if that account imports a service of another one that takes messages to `subject`.
    pub fn imports_service(&self, account: &str, subject: &Subject) -> bool {
        let account = self.shared.known_account(account);
        account.is_some_and(|account| has_service(&account, subject.as_ref()))
    }

    /// Publishes a message as the server itself, which has all permissions and may use the subjects that are reserved
    /// for it. Returns false if it had no receiver.
    ///
    /// ```
    /// # use broker_core::{Broker, Options, RawMessage, Subject};
    /// # futures_executor::block_on(async {
    /// # let broker = Broker::new(Options::default(), (std::time::Instant::now, std::time::SystemTime::now));
    /// let mut news = broker.client().subscribe("news").await?;
    /// let subject = Subject::parse("news")?;
    /// assert!(broker.publish_from_server("$G", &RawMessage::new(&subject, b"ready")));
    /// assert_eq!(news.next().await.unwrap().payload, "ready");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn publish_from_server(&self, account: &str, message: &RawMessage<'_>) -> bool {
        let account = self.shared.known_account(account);
        account.is_some_and(|account| publish_from_server(&self.shared, &account, message))
    }

    /// Returns a publisher of many messages of the server in one account, which is created if there is none of that name.
    pub fn server_publisher(&self, account: &str) -> ServerPublisher {
        ServerPublisher::new(&self.shared, self.shared.account(&account.into()))
    }

    /// Begins to publish by [`ServerPublisher`]s outside of a handler, with working memory of the caller, which
    /// [flushes](Self::flush) at the end.
    pub fn begin(&self, scratch: &mut Scratch) {
        scratch.start_by(&self.shared.clock);
        scratch.take_crowded();
    }

    /// Sends what was published with that working memory, and runs the handlers that it has reached. Nothing may be locked
    /// meanwhile that a handler locks.
    pub fn flush(&self, scratch: &mut Scratch) {
        flush_touched(scratch);
        if self.shared.queues.memory.excess_bytes() > 0 {
            self.shared.guard_total(&self.shared.options.load().limits);
        }
    }

    /// Opens a handler of the server in one account, which may use reserved subjects and queue groups, and no limit of the
    /// account or the configuration counts. It has no subscription yet. See [`Self::handle`] for the rules of handlers.
    pub fn handle_as_server<F>(&self, account: &str, handler: F) -> HandlerSubscription
    where
        F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send + 'static,
    {
        let grant = Grant::anonymous().with_account(account);
        HandlerSubscription::open(&self.shared, grant, Kind::System, None, handler)
    }

    /// As [`Self::handle_as_server`], for the messages that a stream stores. Traces of messages name the stream, and wait for
    /// [`Self::report_traced`]; a message that is only to be traced is passed to the handler as well, which must not store it.
    pub fn handle_as_stream<F>(
        &self,
        account: &str,
        stream: &str,
        handler: F,
    ) -> HandlerSubscription
    where
        F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send + 'static,
    {
        let grant = Grant::anonymous().with_account(account);
        HandlerSubscription::open(&self.shared, grant, Kind::System, Some(stream), handler)
    }

    /// Reports what has become of a traced message in a stream. Publishes the event of the trace once it waits for nothing else. No lock may
    /// be held that a handler locks.
    pub fn report_traced(&self, trace: &StreamTrace, report: StreamReport) {
        if let Some((account, trace)) = trace.clone().report(report) {
            publish_awaited_event(&self.shared, &account, trace);
        }
    }

    /// Tells one client that the server ends, so that it connects to another one. The server does not close it.
    ///
    /// # Errors
    ///
    /// [`LameDuckInfoError`].
    pub fn send_lame_duck_info(&self, id: u64) -> Result<(), LameDuckInfoError> {
        let endpoint = self.shared.endpoint(id);
        let endpoint = endpoint.filter(|endpoint| endpoint.kind.is_client_connection());
        let endpoint = endpoint.ok_or(LameDuckInfoError::UnknownClient)?;
        let is_ready = endpoint.follows_info.load(Ordering::Relaxed)
            && endpoint.control.leave(None, |control| control.say_end = true);
        if !is_ready {
            return Err(LameDuckInfoError::NotReady);
        }
        endpoint.destination.wake();
        Ok(())
    }

    /// Returns the number of subscriptions of clients in an account that `filter` covers, or that match it if it is a
    /// subject without wildcards; with `queue`, of those in that queue group.
    // NATS 2.14: events.go debugSubscribers, totalSubs.
    pub fn count_subscribers(
        &self,
        account: &str,
        filter: &SubjectFilter,
        queue: Option<&[u8]>,
    ) -> usize {
        let is_meant = |one: &Subscription| {
            one.endpoint.kind.is_client_connection()
                && queue.is_none_or(|queue| one.queue() == Some(queue))
        };
        if !filter.has_wildcard() {
            let Some(account) = self.shared.known_account(account) else { return 0 };
            let mut matches = Matches::default();
            account.interest.collect(filter.as_bytes(), &mut matches);
            let all = matches.plain.iter().chain(matches.groups().iter().flatten());
            return all.filter(|one| is_meant(one)).count();
        }
        let covers = |one: &Subscription| {
            SubjectFilter::parse(one.filter()).is_ok_and(|other| filter.covers(&other))
        };
        let mut count = 0;
        for endpoint in self.shared.connections() {
            let membership = endpoint.membership.load_full();
            if membership.is_some_and(|membership| **membership.account() == *account) {
                let held = endpoint.sids.list(usize::MAX);
                count += held.iter().filter(|one| is_meant(one) && covers(one)).count();
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use futures_executor::block_on;

    use super::*;
    use crate::auth::{Grant, Permissions};
    use crate::options::Options;
    use crate::session::local::{Client, PublishError, RequestError};
    use crate::sync::Mutex;
    use crate::system::{ServiceRequest, SystemEvent};

    /// Records requests, and answers those with a payload.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl SystemListener for Recorder {
        fn notice(&self, _: SystemEvent<'_>) {}

        fn serve(&self, request: &ServiceRequest<'_>) -> bool {
            let subject = String::from_utf8_lossy(request.subject);
            self.0.lock().push(format!("{} {subject}", request.account));
            !request.payload.is_empty()
        }
    }

    fn broker(system_account: Option<&str>) -> (Broker, Recorder) {
        let system_account = system_account.map(Into::into);
        let options = Options { system_account, ..Options::default() };
        let broker = Broker::new(options, (Instant::now, SystemTime::now));
        let recorder = Recorder::default();
        broker.set_system_listener(Some(Box::new(recorder.clone())));
        (broker, recorder)
    }

    fn client(broker: &Broker, account: &str) -> Client {
        broker.client_as(Grant::anonymous().with_account(account))
    }

    fn publish(client: &Client, subject: &str) -> Result<(), PublishError> {
        block_on(client.publish(subject.to_owned(), "x".into()))
    }

    #[test]
    fn nobody_but_the_server_publishes_its_events() {
        for name in ["$SYS", "OPS"] {
            let (broker, _) = broker(Some(name).filter(|name| *name != "$SYS"));
            assert_eq!(&*broker.system_account(), name);
            let (system, other) = (client(&broker, name), client(&broker, "A"));
            let mut events = block_on(system.subscribe("$SYS.>")).unwrap();
            for subject in ["$SYS.ACCOUNT.A.CONNECT", "$SYS.SERVER.X.SHUTDOWN"] {
                assert!(matches!(publish(&system, subject), Err(PublishError::Denied(_))));
                publish(&other, subject).unwrap();
                let subject = Subject::parse(subject).unwrap();
                assert!(broker.has_receivers(name, &subject));
                assert!(!broker.has_receivers("A", &subject));
                assert!(broker.publish_from_server(name, &RawMessage::new(&subject, b"{}")));
                assert_eq!(block_on(events.next()).unwrap().payload, "{}");
            }
            let own = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";
            assert!(matches!(publish(&other, own), Err(PublishError::Denied(_))));
            assert_eq!(events.dropped(), 0);
        }
    }

    #[test]
    fn services_of_the_server_need_no_subscription_but_permission() {
        let (broker, recorder) = broker(None);
        let requester = client(&broker, "A");
        let ask = |client: &Client, payload: &'static str| {
            let request = client.publish_with_reply("$SYS.REQ.USER.INFO", "answer", payload.into());
            block_on(request)
        };
        ask(&requester, "x").unwrap();
        ask(&client(&broker, "$SYS"), "x").unwrap();
        assert_eq!(*recorder.0.lock(), ["A $SYS.REQ.USER.INFO", "$SYS $SYS.REQ.USER.INFO"]);

        let denied = Permissions::builder().publish_deny(["$SYS.>"]).build().unwrap();
        let denied = broker.client_as(Grant::anonymous().with_permissions(denied));
        assert!(matches!(ask(&denied, "x"), Err(PublishError::Denied(_))));
        assert_eq!(recorder.0.lock().len(), 2);

        let unanswered = block_on(requester.request("$SYS.REQ.USER.INFO", "".into()));
        assert!(matches!(unanswered, Err(RequestError::NoResponders)));
        broker.set_system_listener(None);
        let unanswered = block_on(requester.request("$SYS.REQ.USER.INFO", "x".into()));
        assert!(matches!(unanswered, Err(RequestError::NoResponders)));
    }

    #[test]
    fn only_a_client_that_can_be_told_is_told_of_the_end() {
        let (broker, _) = broker(None);
        assert_eq!(broker.send_lame_duck_info(9), Err(LameDuckInfoError::UnknownClient));
    }
}
