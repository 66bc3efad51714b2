//! The servers that have sent events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker_core::limits::REMOTE_SERVERS;

/// The time without an event after which a server is forgotten.
// NATS 2.14: events.go orphMax.
const ORPHANED_AFTER: Duration = Duration::from_secs(150);

/// The servers by id, with the time of their last event.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Instant>>);

impl Known {
    /// Returns the number of other servers.
    pub(super) fn count(&self) -> usize {
        self.servers().len()
    }

    /// Notes an event of a server. Returns true if it is the first one. Servers beyond a limit are not remembered.
    pub(super) fn note(&self, id: &str, now: Instant) -> bool {
        let mut servers = self.servers();
        if let Some(last) = servers.get_mut(id) {
            *last = now;
            return false;
        }
        let is_room = servers.len() < REMOTE_SERVERS;
        if is_room {
            servers.insert(id.to_owned(), now);
        }
        is_room
    }

    pub(super) fn forget(&self, id: &str) {
        self.servers().remove(id);
    }

    /// Forgets the servers that no route leads to, and those that are silent. Returns them.
    // NATS 2.14: events.go checkRemoteServers, which waits for the second one.
    pub(super) fn sweep(&self, now: Instant, has_route: impl Fn(&str) -> bool) -> Vec<String> {
        let mut servers = self.servers();
        let is_gone = |(id, last): (&String, &Instant)| {
            let is_silent = now.saturating_duration_since(*last) > ORPHANED_AFTER;
            (is_silent || !has_route(id)).then(|| id.clone())
        };
        let gone: Vec<_> = servers.iter().filter_map(is_gone).collect();
        servers.retain(|id, _| !gone.contains(id));
        gone
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_until_it_is_silent_or_has_no_route() {
        let known = Known::default();
        let began = Instant::now();
        assert!(known.note("a", began) && known.note("b", began));
        assert!(!known.note("a", began + ORPHANED_AFTER));
        assert_eq!(known.count(), 2);
        let later = began + ORPHANED_AFTER + Duration::from_secs(1);
        assert_eq!(known.sweep(later, |_| true), ["b"]);
        assert_eq!(known.sweep(later, |id| id != "a"), ["a"]);
        assert_eq!(known.count(), 0);
        assert!(known.note("a", later));
        known.forget("a");
        assert_eq!(known.count(), 0);
    }
}
