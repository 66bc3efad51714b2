//! Imported streams: each subscription that overlaps one has a shadow in the interest of the exporting account.

use std::collections::HashMap;

use super::State;
use crate::account::Account;
use crate::endpoint::{Link, Subscription};
use crate::interest::Interested;
use crate::subject::{Rewrite, SubjectBuffer, SubjectFilter, intersection};
use crate::sync::{Arc, Mutex, Weak};

/// The import of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct StreamImport {
    pub(super) exporter: Arc<str>,
    /// The subjects in the exporting account.
    pub(super) subject: SubjectFilter,
    /// The subjects in the importing account.
    pub(super) local: SubjectFilter,
    /// From the exporting to the importing account.
    pub(super) forward: Arc<Rewrite>,
    pub(super) back: Rewrite,
    /// Message traces continue in the importing account.
    pub(super) allow_trace: bool,
}

impl StreamImport {
    /// Returns the filter of the shadow of a subscription; `None` if they do not overlap.
    // NATS 2.14: client.go addShadowSubscriptions.
    fn source_of(&self, filter: &[u8]) -> Option<Vec<u8>> {
        let both = intersection(filter, self.local.as_bytes())?;
        let mut buffer = SubjectBuffer::new();
        Some(self.back.apply(&both, &mut buffer).to_vec())
    }
}

/// An import with its exporting account.
pub(super) struct BoundStream {
    pub(super) import: StreamImport,
    pub(super) exporter: Weak<Account>,
}

/// The shadows of the subscriptions of one account, by the address of the subscription.
#[derive(Default)]
pub(super) struct Shadows {
    table: Mutex<HashMap<usize, Vec<Shadow>>>,
}

struct Shadow {
    exporter: Arc<Account>,
    rewrite: Arc<Rewrite>,
    subscription: Arc<Subscription>,
}

impl Shadow {
    fn is(&self, exporter: &Arc<Account>, filter: &[u8], import: &StreamImport) -> bool {
        let link = self.subscription.link();
        matches!(link, Some(Link::Shadow { allow_trace, .. }) if *allow_trace == import.allow_trace)
            && Arc::ptr_eq(&self.exporter, exporter)
            && self.subscription.filter() == filter
            && *self.rewrite == *import.forward
    }

    fn remove(&self) {
        self.exporter.remove_linked(std::slice::from_ref(&self.subscription));
    }
}

fn key(subscription: &Arc<Subscription>) -> usize {
    Arc::as_ptr(subscription).addr()
}

impl Shadows {
    /// Makes the shadows of a subscription those of the imports of this state. Shadows that exist already stay, so that no
    /// message is lost or doubled.
    pub(super) fn update(
        &self,
        subscription: &Arc<Subscription>,
        state: impl FnOnce() -> Arc<State>,
    ) {
        let mut added = Vec::new();
        let mut table = self.table.lock();
        // Read with the table locked: a thread with an older state does not come after one with a newer state.
        let imports = &state().streams;
        // The caller that ends a subscription sees the mark, or this thread sees that it has ended.
        let is_alive = subscription.set_shadowed();
        let mut before = table.remove(&key(subscription)).unwrap_or_default();
        let mut now = Vec::new();
        for BoundStream { import, exporter } in imports.iter().filter(|_| is_alive) {
            let Some(exporter) = exporter.upgrade() else { continue };
            let Some(filter) = import.source_of(subscription.filter()) else { continue };
            let known = before.iter().position(|one| one.is(&exporter, &filter, import));
            if let Some(known) = known {
                now.push(before.swap_remove(known));
                continue;
            }
            let shadow = Subscription::linked(
                Arc::clone(&subscription.endpoint),
                &filter,
                subscription.queue(),
                subscription.sid(),
                Link::Shadow {
                    origin: Arc::clone(subscription),
                    rewrite: Arc::clone(&import.forward),
                    allow_trace: import.allow_trace,
                },
            );
            let shadow = Arc::new(shadow);
            added.push((Arc::clone(&exporter), Arc::clone(&shadow)));
            let rewrite = Arc::clone(&import.forward);
            now.push(Shadow { exporter, rewrite, subscription: shadow });
        }
        if !now.is_empty() {
            table.insert(key(subscription), now);
        }
        drop(table);
        // The interest of another account is changed without the lock: its listeners may need it.
        before.iter().for_each(Shadow::remove);
        for (exporter, shadow) in added {
            exporter.add_linked(Arc::clone(&shadow));
            if !self.has(subscription, &shadow) {
                exporter.remove_linked(std::slice::from_ref(&shadow));
            }
        }
    }

    /// Returns true if it is still a shadow of the subscription, which may have ended meanwhile.
    fn has(&self, subscription: &Arc<Subscription>, shadow: &Arc<Subscription>) -> bool {
        let table = self.table.lock();
        let shadows = table.get(&key(subscription));
        shadows.is_some_and(|all| all.iter().any(|one| Arc::ptr_eq(&one.subscription, shadow)))
    }

    /// Removes the shadows of a subscription that has ended.
    pub(super) fn end(&self, subscription: &Arc<Subscription>) {
        let shadows = self.table.lock().remove(&key(subscription));
        shadows.iter().flatten().for_each(Shadow::remove);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::account::{AccountConfig, Export, Import};
    use crate::auth::NoAuth;
    use crate::endpoint::{Endpoint, Kind, LocalQueues};
    use crate::interest::Matches;
    use crate::options::Options;
    use crate::shared::Shared;
    use crate::transport::TransportInfo;

    /// A client subscribes while a reload removes the import.
    #[test]
    fn shadows_are_those_of_the_newest_imports() {
        let filter = |text| SubjectFilter::parse(text).unwrap();
        let options = Options {
            accounts: vec![
                AccountConfig::new("A").with_export(Export::stream(filter("news.>"))).into(),
                AccountConfig::new("B").with_import(Import::stream("A", filter("news.>"))).into(),
            ],
            ..Options::default()
        };
        let clock = Arc::new((Instant::now, SystemTime::now));
        let shared = Shared::new(options, clock, Box::new(NoAuth));
        let [a, b] = ["A", "B"].map(|name| shared.known_account(name).unwrap());
        let (memory, queues) = (TransportInfo::Memory, Arc::new(LocalQueues::default()));
        let endpoint = Endpoint::new(1, 1, None, memory, Instant::now(), queues, Kind::Client);
        let one = Subscription::new(Arc::new(endpoint), b"news.eu", None, b"1", false);
        let (one, share) = (Arc::new(one), b.sharing.share());
        let has_shadow = || {
            let mut matches = Matches::default();
            a.interest.collect(b"news.eu", &mut matches);
            !matches.plain.is_empty()
        };
        b.update_shadows(&one);
        assert!(has_shadow());
        let (has_begun, begun) = mpsc::channel();
        let (overtakes, overtaken) = mpsc::channel::<()>();
        let before = share.state();
        std::thread::scope(|threads| {
            let one = &one;
            threads.spawn(move || {
                share.shadows.update(one, || {
                    has_begun.send(()).unwrap();
                    let _ = overtaken.recv_timeout(Duration::from_millis(200));
                    before
                });
            });
            begun.recv().unwrap();
            share.shadows.update(one, Arc::default);
            let _ = overtakes.send(());
        });
        assert!(!has_shadow());
    }
}
