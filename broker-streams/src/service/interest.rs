//! Interest in what the push consumers of an account deliver to: streams are told when it begins and ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use broker_core::endpoint::Kinds;
use broker_core::{Broker, InterestChange, InterestEvents};

use super::lock::lock;

/// The slices of existing interest that one look passes on: some milliseconds.
const SLICES: usize = 50;

/// A stream with push consumers.
pub(super) trait Concerned: Send + Sync {
    /// Looks again whether somebody subscribes to what its consumers deliver to. It must not wait.
    fn look_soon(self: Arc<Self>);
}

/// Follows the interest of one account, while it has push consumers.
pub(super) struct PushInterest {
    broker: Broker,
    account: Arc<str>,
    subjects: Arc<Mutex<Subjects>>,
    events: Mutex<Option<InterestEvents>>,
    /// Interest from before was passed on as well: every change is noticed.
    is_told: AtomicBool,
}

/// The subjects that push consumers deliver to.
#[derive(Default)]
struct Subjects {
    /// With the numbers of the streams, once for each consumer.
    streams_of: HashMap<Box<[u8]>, Vec<u64>>,
    streams: HashMap<u64, StreamSubjects>,
}

/// A stream with the subjects that its consumers deliver to.
type StreamSubjects = (Weak<dyn Concerned>, Vec<Box<[u8]>>);

impl Subjects {
    fn set(&mut self, number: u64, stream: Weak<dyn Concerned>, subjects: Vec<Box<[u8]>>) {
        self.remove(number);
        if subjects.is_empty() {
            return;
        }
        for subject in &subjects {
            self.streams_of.entry(subject.clone()).or_default().push(number);
        }
        self.streams.insert(number, (stream, subjects));
    }

    fn remove(&mut self, number: u64) {
        let Some((_, subjects)) = self.streams.remove(&number) else { return };
        for subject in subjects {
            if let Some(streams) = self.streams_of.get_mut(&subject) {
                streams.retain(|other| *other != number);
                if streams.is_empty() {
                    self.streams_of.remove(&subject);
                }
            }
        }
    }

    /// Returns the streams with a consumer that delivers to a subject. Interest by wildcards is of no concern to them.
    fn concerned(&self, subject: &[u8]) -> Vec<Arc<dyn Concerned>> {
        let Some(numbers) = self.streams_of.get(subject) else { return Vec::new() };
        let stream = |number| self.streams.get(number)?.0.upgrade();
        numbers.iter().filter_map(stream).collect()
    }
}

impl PushInterest {
    pub(super) fn new(broker: &Broker, account: &str) -> Self {
        Self {
            broker: broker.clone(),
            account: account.into(),
            subjects: Arc::default(),
            events: Mutex::default(),
            is_told: AtomicBool::new(false),
        }
    }

    /// Replaces the subjects that the push consumers of a stream deliver to. The stream has to look again afterwards: what has changed
    /// before was not told.
    pub(super) fn set(&self, number: u64, stream: Weak<dyn Concerned>, subjects: Vec<Box<[u8]>>) {
        lock(&self.subjects).set(number, stream, subjects);
        self.follow();
    }

    /// Forgets a stream.
    pub(super) fn remove(&self, number: u64) {
        lock(&self.subjects).remove(number);
        self.follow();
    }

    /// Listens to the interest if a stream is concerned, and no longer otherwise.
    fn follow(&self) {
        let mut events = lock(&self.events);
        let is_needed = !lock(&self.subjects).streams.is_empty();
        if is_needed == events.is_some() {
            return;
        }
        self.is_told.store(false, Ordering::Release);
        let before = std::mem::replace(&mut *events, is_needed.then(|| self.listen()));
        drop(events);
        // Waits for a call of the listener that is under way.
        drop(before);
    }

    fn listen(&self) -> InterestEvents {
        let subjects = Arc::clone(&self.subjects);
        let tell = move |change: &InterestChange<'_>| {
            if (change.before == 0) == (change.now == 0) {
                return;
            }
            let concerned = lock(&subjects).concerned(change.filter);
            concerned.into_iter().for_each(|stream| stream.look_soon());
        };
        self.broker.interest_events(&self.account, Kinds::ALL, tell)
    }

    /// Returns true if each change is told. Until then, streams look from time to time.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// Comes closer to [`Self::is_told`].
    pub(super) fn catch_up(&self) {
        if self.is_told() {
            return;
        }
        if let Some(events) = &mut *lock(&self.events)
            && (0..SLICES).any(|_| !events.catch_up())
        {
            self.is_told.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Concerned for Named {
        fn look_soon(self: Arc<Self>) {
            lock(&self.1).push(self.0);
        }
    }

    #[test]
    fn streams_are_told_of_interest_in_what_they_deliver_to() {
        let clock = (std::time::Instant::now, std::time::SystemTime::now);
        let broker = Broker::new(broker_core::Options::default(), clock);
        let interest = PushInterest::new(&broker, "$G");
        let told = Arc::default();
        let stream = |name| Arc::new(Named(name, Arc::clone(&told)));
        let (one, other) = (stream("one"), stream("other"));
        let weak = |stream: &Arc<Named>| -> Weak<dyn Concerned> {
            let weak: Weak<Named> = Arc::downgrade(stream);
            weak
        };
        interest.set(1, weak(&one), vec![b"to.1"[..].into(), b"to.2"[..].into()]);
        interest.set(2, weak(&other), vec![b"to.3"[..].into()]);
        while !interest.is_told() {
            interest.catch_up();
        }
        let names = || std::mem::take(&mut *lock(&told));
        let handler = broker.handle_as_server("$G", |_, _| {});
        let subscribe = |filter: &str, group| handler.subscribe(filter, group).unwrap();
        let first = subscribe("to.1", None);
        assert_eq!(names(), ["one"]);
        let second = subscribe("to.1", None);
        handler.unsubscribe(first);
        assert!(names().is_empty(), "there is interest as before");
        handler.unsubscribe(second);
        assert_eq!(names(), ["one"]);
        subscribe("elsewhere", None);
        assert!(names().is_empty());
        subscribe("to.*", None);
        assert!(names().is_empty(), "a wildcard does not make a consumer deliver");
        subscribe("to.3", Some("group"));
        assert_eq!(names(), ["other"]);
        interest.remove(2);
        subscribe("to.3", None);
        assert!(names().is_empty());
        interest.set(1, weak(&one), Vec::new());
        assert!(!interest.is_told(), "nobody is concerned");
    }
}
