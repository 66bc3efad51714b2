//! The subscriptions of a stream: its subjects, its consumers, direct gets.

use std::collections::BTreeMap;
use std::sync::Weak;

use broker_core::{Broker, HandlerSubscription};

use super::task::Receiver;
use crate::cell::{Change, FeedPlace};
use crate::config::StreamConfig;

/// The queue group of streams and their mirrors that answer direct gets.
// NATS 2.14: stream.go dgetGroup.
const DIRECT_GROUP: &str = "_sys_";

/// The subscriptions of one stream.
pub(super) struct Subscriptions {
    /// Messages to the subjects of the stream.
    messages: HandlerSubscription,
    /// Messages to consumers, and direct gets.
    requests: HandlerSubscription,
    /// The subjects of the stream, with the numbers of their subscriptions.
    subjects: BTreeMap<String, u64>,
    /// The consumers, with the numbers of their subscriptions.
    consumers: BTreeMap<String, Vec<u64>>,
    direct: Vec<(String, u64)>,
    /// The streams that messages are taken from, each with its handlers: of answers, and of messages.
    feeds: Vec<(FeedPlace, [HandlerSubscription; 2])>,
    broker: Broker,
    account: String,
    unit: Weak<dyn Receiver>,
}

impl Subscriptions {
    /// Opens the handlers, without subscriptions yet.
    pub(super) fn open(
        broker: &Broker,
        (account, stream): (&str, &str),
        unit: &Weak<dyn Receiver>,
    ) -> Self {
        let of_messages = Weak::clone(unit);
        let messages = broker.handle_as_stream(account, stream, move |message, context| {
            if let Some(unit) = of_messages.upgrade()
                && unit.publish(message, context.scratch())
            {
                context.fall_behind();
            }
        });
        let of_requests = Weak::clone(unit);
        let requests = broker.handle_as_server(account, move |message, context| {
            if let Some(unit) = of_requests.upgrade() {
                unit.receive(message, context.scratch());
            }
        });
        Self {
            messages,
            requests,
            subjects: BTreeMap::new(),
            consumers: BTreeMap::new(),
            direct: Vec::new(),
            feeds: Vec::new(),
            broker: broker.clone(),
            account: account.to_owned(),
            unit: Weak::clone(unit),
        }
    }

    /// Has publishers go on that wait for the disk.
    pub(super) fn catch_up(&self) {
        self.messages.catch_up();
    }

    /// Follows changes of the stream and its consumers.
    pub(super) fn follow(&mut self, config: &StreamConfig, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Stream => {
                    self.follow_subjects(config);
                    self.follow_direct(config);
                }
                Change::Consumer(name, subjects) => self.add_consumer(name, subjects),
                Change::Feeds(places) => self.follow_feeds(places),
                Change::Removed(name) => {
                    for number in self.consumers.remove(name).into_iter().flatten() {
                        self.requests.unsubscribe(number);
                    }
                }
            }
        }
    }

    fn follow_subjects(&mut self, config: &StreamConfig) {
        self.subjects.retain(|subject, number| {
            let is_kept = config.subjects.contains(subject);
            if !is_kept {
                self.messages.unsubscribe(*number);
            }
            is_kept
        });
        for subject in &config.subjects {
            if !self.subjects.contains_key(subject)
                && let Some(number) = subscribe(&self.messages, subject, None)
            {
                self.subjects.insert(subject.clone(), number);
            }
        }
    }

    // NATS 2.14: stream.go subscribeToDirect.
    fn follow_direct(&mut self, config: &StreamConfig) {
        let mut wanted = Vec::new();
        let mirrored = config.mirror.as_ref().filter(|_| config.mirror_direct);
        let own = config.allow_direct.then_some(&config.name);
        for name in own.into_iter().chain(mirrored.map(|mirrored| &mirrored.name)) {
            let subject = format!("$JS.API.DIRECT.GET.{name}");
            wanted.extend([format!("{subject}.>"), subject]);
        }
        self.direct.retain(|(subject, number)| {
            let is_kept = wanted.contains(subject);
            if !is_kept {
                self.requests.unsubscribe(*number);
            }
            is_kept
        });
        for subject in wanted {
            if !self.direct.iter().any(|(known, _)| *known == subject)
                && let Some(number) = subscribe(&self.requests, &subject, Some(DIRECT_GROUP))
            {
                self.direct.push((subject, number));
            }
        }
    }

    fn follow_feeds(&mut self, places: &[FeedPlace]) {
        self.feeds.retain(|(place, _)| places.contains(place));
        for place in places {
            if !self.feeds.iter().any(|(known, _)| known == place) {
                let handlers = [&place.reply, &place.deliver].map(|to| self.open_feed(place, to));
                self.feeds.push((place.clone(), handlers));
            }
        }
    }

    fn open_feed(&self, place: &FeedPlace, subject: &str) -> HandlerSubscription {
        let (unit, reply) = (Weak::clone(&self.unit), place.reply.clone());
        let handler = self.broker.handle_as_server(&self.account, move |message, context| {
            if let Some(unit) = unit.upgrade() {
                unit.feed(&reply, message, context.scratch());
            }
        });
        subscribe(&handler, subject, None);
        handler
    }

    fn add_consumer(&mut self, name: &str, subjects: &[String]) {
        if self.consumers.contains_key(name) {
            return;
        }
        let numbers =
            subjects.iter().filter_map(|subject| subscribe(&self.requests, subject, None));
        self.consumers.insert(name.to_owned(), numbers.collect());
    }
}

fn subscribe(handler: &HandlerSubscription, subject: &str, group: Option<&str>) -> Option<u64> {
    handler
        .subscribe(subject, group)
        .inspect_err(|error| tracing::error!("A stream cannot subscribe to {subject:?}: {error}"))
        .ok()
}
