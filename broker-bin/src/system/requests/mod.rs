//! Requests to the server: they wait in bounded queues, and each is answered off the threads that serve clients.

mod answers;
mod elsewhere;
mod fields;
mod options;
mod reload;
mod service;
mod user_info;

use std::sync::Arc;
use std::time::Instant;

use broker_core::auth::Grant;
use broker_core::system::ServiceRequest;
use broker_core::{Broker, Encoding, HandlerSubscription, RawMessage, Subject, SubscribeError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::recipient::Recipient;
use super::sender::Sender;
use answers::Answer;
pub use reload::{ReloadRequest, ReloadRequests};
use service::{AccountService, DEBUG_SUBSCRIBERS, Service};
use user_info::UserInfo;

/// The number of requests that may wait in each queue.
const QUEUED_REQUESTS: usize = 1024;

/// The longest payload of a request: options take a hundred bytes.
const MAX_PAYLOAD_BYTES: usize = 16 << 10;

/// A request that waits for its answer.
#[derive(Debug)]
struct Request {
    service: Service,
    /// The account of the requester.
    account: Arc<str>,
    /// `None` asks for an event in place of an answer.
    reply: Option<Subject>,
    encoding: Encoding,
    payload: Payload,
    user: Option<UserInfo>,
}

#[derive(Debug)]
enum Payload {
    Whole(Vec<u8>),
    TooLong,
}

impl Payload {
    fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= MAX_PAYLOAD_BYTES { Self::Whole(bytes.to_vec()) } else { Self::TooLong }
    }
}

/// Takes requests without waiting.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: Arc<Sender>,
    /// Requests of operators that are answered at once.
    quick: mpsc::Sender<Request>,
    /// Other requests of operators.
    thorough: mpsc::Sender<Request>,
    /// Requests of other accounts, which do not delay operators.
    others: mpsc::Sender<Request>,
}

impl Inbox {
    pub(super) fn new(
        sender: Arc<Sender>,
        reloads: Option<mpsc::Sender<ReloadRequest>>,
    ) -> (Arc<Self>, Work) {
        let [quick, thorough, others] = [(); 3].map(|()| mpsc::channel(QUEUED_REQUESTS));
        let work = Work {
            sender: Arc::clone(&sender),
            queues: [(quick.1, 0), (thorough.1, 0), (others.1, 1)],
            reloads,
        };
        (Arc::new(Self { sender, quick: quick.0, thorough: thorough.0, others: others.0 }), work)
    }

    /// Takes a request of an operator.
    fn take(&self, message: &RawMessage<'_>) {
        let service = std::str::from_utf8(message.subject()).ok().and_then(Service::of);
        let Some(service) = service else { return };
        if message.reply().is_some_and(|reply| self.is_own(reply)) {
            return;
        }
        let reply = match message.reply() {
            Some(reply) => match answerable(reply, &service) {
                Some(reply) => Some(reply),
                None => return,
            },
            None if service == Service::Statsz => None,
            None => return,
        };
        let queue = if service.is_quick() { &self.quick } else { &self.thorough };
        let request = Request {
            service,
            account: Arc::clone(self.sender.system_account()),
            reply,
            encoding: Encoding::accepted_in(message.headers()),
            payload: Payload::new(message.payload()),
            user: None,
        };
        self.put(queue, request);
    }

    /// Returns true if this server itself waits for the answer of others.
    fn is_own(&self, reply: &[u8]) -> bool {
        let of_members = reply.strip_prefix(b"$SYS._INBOX_.");
        of_members == Some(self.sender.server_id().as_bytes())
            || reply.starts_with(self.sender.questions().prefix().as_bytes())
    }

    /// Takes a request to a service that every account may use. Returns true if it will be answered.
    pub(super) fn take_service(&self, request: &ServiceRequest<'_>) -> bool {
        let is_system = request.account == self.sender.system_account();
        let subject = std::str::from_utf8(request.subject).ok();
        let service = match subject {
            Some(DEBUG_SUBSCRIBERS) if is_system => Some(Service::DebugSubscribers),
            _ => subject.and_then(|subject| Service::for_account(subject, request.account)),
        };
        let Some(service) = service else { return false };
        let Some(reply) = answerable(request.reply, &service) else { return true };
        let user = (service == Service::UserInfo).then(|| UserInfo::new(request));
        let queue = match service {
            _ if !is_system => &self.others,
            Service::DebugSubscribers => &self.thorough,
            _ => &self.quick,
        };
        let request = Request {
            service,
            account: Arc::clone(request.account),
            reply: Some(reply),
            encoding: Encoding::accepted_in(request.headers),
            payload: Payload::new(request.payload),
            user,
        };
        self.put(queue, request);
        true
    }

    fn put(&self, queue: &mpsc::Sender<Request>, request: Request) {
        if queue.try_send(request).is_err() {
            self.sender.observer().system_counters().note_request_dropped();
        }
    }
}

/// Returns the subject of an answer, if the server may publish there on behalf of the requester: not on its own
/// subjects, where it would act with its own rights.
fn answerable(reply: &[u8], service: &Service) -> Option<Subject> {
    let reply = Subject::parse(std::str::from_utf8(reply).ok()?).ok()?;
    let text = reply.as_str();
    // NATS 2.14: other servers ask for the number of connections.
    let is_of_server = matches!(service, Service::Account(AccountService::Conns, _))
        && text.starts_with("$SYS._INBOX_.");
    let is_inbox = text.starts_with("$SYS._INBOX.") || is_of_server;
    (is_inbox || !text.starts_with("$SYS.")).then_some(reply)
}

/// The subscriptions of the services in the system account.
pub(super) struct Subscriptions(
    #[expect(dead_code, reason = "its end unsubscribes")] HandlerSubscription,
);

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscriptions")
    }
}

impl Subscriptions {
    pub(super) fn new(subscription: HandlerSubscription) -> Self {
        Self(subscription)
    }

    pub(super) fn open(broker: &Broker, inbox: &Arc<Inbox>) -> Result<Self, SubscribeError> {
        let grant = Grant::anonymous().with_account(broker.system_account());
        let mut filters = Service::filters(inbox.sender.server_id()).into_iter();
        let first = filters.next().unwrap_or_default();
        let taker = Arc::clone(inbox);
        let handler = broker.handle(grant, first, None, move |message, _| taker.take(message))?;
        filters.try_for_each(|filter| handler.subscribe(filter, None).map(drop))?;
        Ok(Self(handler))
    }
}

/// The requests that wait, to be answered.
#[derive(Debug)]
pub(super) struct Work {
    sender: Arc<Sender>,
    /// Each with the time between two answers, in multiples of the time that the first took: other accounts together
    /// take at most half of one core.
    queues: [(mpsc::Receiver<Request>, u32); 3],
    reloads: Option<mpsc::Sender<ReloadRequest>>,
}

impl Work {
    pub(super) fn spawn(self) -> impl Iterator<Item = JoinHandle<()>> {
        let Self { sender, queues, reloads } = self;
        queues.into_iter().map(move |(queue, pause)| {
            tokio::spawn(serve(Arc::clone(&sender), queue, pause, reloads.clone()))
        })
    }
}

async fn serve(
    sender: Arc<Sender>,
    mut queue: mpsc::Receiver<Request>,
    pause: u32,
    reloads: Option<mpsc::Sender<ReloadRequest>>,
) {
    while let Some(request) = queue.recv().await {
        let (sender, reloads) = (Arc::clone(&sender), reloads.clone());
        let began = Instant::now();
        let answering = tokio::task::spawn_blocking(move || {
            answer(&sender, request, reloads.as_ref());
        });
        // A panic is ours; its request stays without an answer.
        if answering.await.is_err() {
            tracing::error!("A request to the system account was not answered");
        }
        tokio::time::sleep(began.elapsed() * pause).await;
    }
}

/// Answers a request, if its reply subject has a subscriber.
fn answer(sender: &Arc<Sender>, request: Request, reloads: Option<&mpsc::Sender<ReloadRequest>>) {
    let Request { service, account, reply, encoding, payload, user } = request;
    let Some(reply) = reply else {
        return super::statsz::publish(sender);
    };
    if !sender.observer().broker().has_receivers(&account, &reply) {
        return;
    }
    let to = Recipient { account, reply, encoding };
    if let Payload::Whole(payload) = &payload {
        elsewhere::ask_others(sender, &service, &to, payload);
    }
    let answer = match (&payload, service) {
        (Payload::TooLong, _) => answers::refused(sender, "the request is too long"),
        (Payload::Whole(_), Service::UserInfo) => answers::user_info(sender, user),
        (Payload::Whole(payload), Service::Reload) => match answers::must_reload(sender, payload) {
            Ok(()) => return reload::ask(sender, to, reloads),
            Err(answer) => answer,
        },
        (Payload::Whole(payload), Service::Account(AccountService::Conns, account)) => {
            return answers::connections(sender, &account, payload, &to.reply);
        }
        (Payload::Whole(payload), Service::DebugSubscribers) => {
            return elsewhere::count_subscribers(sender, to, payload);
        }
        (Payload::Whole(payload), service) => answers::answer(sender, &service, payload),
    };
    to.send(sender, answer);
}

impl Recipient {
    fn send(&self, sender: &Sender, answer: Answer) {
        let (body, encoding) = match answer {
            Answer::None => return,
            Answer::Plain(body) => (body, Encoding::None),
            Answer::Encodable(body) => (self.encoding.encode(body), self.encoding),
        };
        let headers =
            encoding.name().map(|name| format!("NATS/1.0\r\nContent-Encoding: {name}\r\n\r\n"));
        let headers = headers.unwrap_or_default();
        let message = RawMessage::new(&self.reply, &body).with_headers(headers.as_bytes());
        sender.observer().broker().publish_from_server(&self.account, &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_nowhere_where_only_the_server_may_publish() {
        let conns = Service::Account(AccountService::Conns, "A".to_owned());
        for (reply, for_idz, for_conns) in [
            ("_INBOX.x", true, true),
            ("$SYS._INBOX.x.y", true, true),
            ("$SYS._INBOX_.x", false, true),
            ("$SYS.REQ.SERVER.X.RELOAD", false, false),
            ("$SYS.SERVER.X.SHUTDOWN", false, false),
            ("a.*", false, false),
            ("", false, false),
        ] {
            let is_answerable = |service| answerable(reply.as_bytes(), service).is_some();
            assert_eq!(is_answerable(&Service::Idz), for_idz, "{reply}");
            assert_eq!(is_answerable(&conns), for_conns, "{reply}");
        }
    }
}
