//! The server as a publisher of many messages in one account.

use super::server::{SERVER, reaches};
use super::sizes::Sizes;
use crate::account::Account;
use crate::endpoint::{Run, Scratch, Subscription};
use crate::interest::{Interested, MatchCache, Matches, PeerMatch};
use crate::message::ServerMessage;
use crate::proto::Publish;
use crate::random::Random;
use crate::routing::{Requesting, ServiceState, deliver, deliver_with_services, is_eligible};
use crate::shared::Shared;
use crate::subject_counts::Verdict;
use crate::sync::Arc;

/// Publishes many messages of the server itself in one account, without permissions.
///
/// Messages with a subject of their own for receivers are expected to go to few subjects, whose matches are cached;
/// others are answers, each to another subject.
pub struct ServerPublisher {
    account: Arc<Account>,
    cache: Box<MatchCache<Subscription>>,
    services: ServiceState,
    random: Random,
    sizes: Sizes,
    /// Headers and payload in one piece.
    body: Vec<u8>,
    /// The matches of an answer.
    matches: Matches<Subscription>,
}

/// The longest message whose memory is kept for the next one.
const KEPT_BODY_BYTES: usize = 64 << 10;

impl std::fmt::Debug for ServerPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerPublisher")
            .field("account", &self.account.name)
            .finish_non_exhaustive()
    }
}

impl ServerPublisher {
    pub(crate) fn new(shared: &Shared, account: Arc<Account>) -> Self {
        let mut random = Random::new(shared.next_seed());
        let hasher = account.interest.hasher();
        let cache = MatchCache::new(hasher, random.next_u64(), Arc::default());
        Self {
            cache: Box::new(cache),
            account,
            services: ServiceState::default(),
            random,
            sizes: Sizes::default(),
            body: Vec::new(),
            matches: Matches::default(),
        }
    }

    /// Returns the name of the account.
    pub fn account(&self) -> &str {
        &self.account.name
    }

    /// Publishes a message. Returns false if it had no receiver. It leaves when the working memory is flushed: by
    /// [`Broker::flush`](crate::Broker::flush), or at the end of the call of the handler that lends it.
    pub fn publish(&mut self, message: &ServerMessage<'_>, scratch: &mut Scratch) -> bool {
        let Self { account, cache, services, random, sizes, body, matches, .. } = self;
        if account.awaits_response(message.to) == Some(false) {
            return false;
        }
        let matches = if message.to == message.subject {
            matches.clear();
            account.interest.collect(message.to, matches);
            &*matches
        } else {
            cache.look_up(&account.interest, message.to, None, |_| Verdict::ALLOWED).matches
        };
        if !reaches(message.to, matches) {
            return false;
        }
        let header_len = Some(message.headers.len()).filter(|len| *len > 0);
        let body = match header_len {
            None => message.payload,
            Some(_) => {
                body.clear();
                body.shrink_to(KEPT_BODY_BYTES);
                body.extend_from_slice(message.headers);
                body.extend_from_slice(message.payload);
                &body[..]
            }
        };
        let publish = Publish {
            subject: message.to,
            reply: message.reply,
            header_len,
            body,
            sizes: sizes.of(header_len, body.len()),
            tail: None,
        };
        let run = Run {
            subject: message.to,
            shown: Some(message.subject).filter(|subject| *subject != message.to),
            messages: std::slice::from_ref(&publish),
            shared: None,
            parsed: None,
            prefetched: None,
        };
        let mut is_delivered = true;
        let unanswered = |_: &Publish<'_>, _: &mut Scratch| is_delivered = false;
        // Only accounts with a context have services.
        let context = account.context().filter(|_| !matches.services().is_empty());
        match context {
            None => deliver(account, SERVER, &run, matches, random, scratch, unanswered),
            Some(context) => {
                let endpoint = &*context.responses;
                let mut requesting = Requesting { endpoint, random, state: services, scratch };
                deliver_with_services(account, &run, matches, &mut requesting, unanswered);
            }
        }
        is_delivered
    }

    /// Returns true if a message to `subject` would have a receiver; in the queue group, if one is named. The receiver of a response to
    /// a request of another account is the client that has sent the request.
    pub fn has_interest(&mut self, subject: &[u8], queue_group: Option<&[u8]>) -> bool {
        let Self { account, cache, .. } = self;
        if let Some(is_awaited) = account.awaits_response(subject) {
            return is_awaited && queue_group.is_none();
        }
        let matches = cache.look_up(&account.interest, subject, None, |_| Verdict::ALLOWED).matches;
        let Some(queue_group) = queue_group else { return reaches(subject, matches) };
        let is_member = |one: &Arc<Subscription>| one.queue() == Some(queue_group);
        let mut here = matches.groups().iter().flatten();
        here.any(|one| is_member(one) && is_eligible(one, SERVER, subject))
            || matches.peers().iter().any(|peer| peer.queues.iter().any(is_member))
    }

    /// Returns true if somebody subscribes to exactly `subject`, and not only to a wildcard that matches it: in the queue
    /// group, if one is named, otherwise in none.
    // NATS 2.14: sublist.go registerNotification.
    pub fn has_literal_interest(&mut self, subject: &[u8], queue_group: Option<&[u8]>) -> bool {
        let Self { account, cache, .. } = self;
        let matches = cache.look_up(&account.interest, subject, None, |_| Verdict::ALLOWED).matches;
        let peers = matches.peers().iter().flat_map(PeerMatch::subscriptions);
        let mut all = matches.plain.iter().chain(matches.groups().iter().flatten()).chain(peers);
        all.any(|one| {
            (one.filter(), one.queue()) == (subject, queue_group)
                && is_eligible(one, SERVER, subject)
        })
    }
}
