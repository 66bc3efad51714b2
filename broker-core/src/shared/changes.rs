//! Changes of options and authenticator while sessions are here.

use std::collections::HashSet;

use super::Shared;
use crate::auth::Authenticator;
use crate::endpoint::{AckGuard, Applied, Endpoint};
use crate::error::ClientFault;
use crate::options::Options;
use crate::proto::Info;
use crate::sync::{Arc, Ordering};

/// The outcome of a change.
#[derive(Debug)]
pub struct ChangeReport {
    /// The number of connections that are closed because `max_connections` is lower now.
    pub excess: usize,
    /// Resolves when every connection has applied the change.
    pub applied: Applied,
}

impl Shared {
    /// Returns the number of changes so far. A session that sees another number than before has missed one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn apply(
        &self,
        change: impl FnOnce(&mut Options, &mut Option<Box<dyn Authenticator>>),
    ) -> ChangeReport {
        let _changing = self.changing.lock();
        let before = self.options.load_full();
        let mut options = Options::clone(&before);
        let mut authenticator = None;
        change(&mut options, &mut authenticator);
        options.server_name.clone_from(&before.server_name);
        options.seed = before.seed;
        let options = Arc::new(options);
        let has_authenticator = authenticator.is_some();
        self.options.store(Arc::clone(&options));
        self.queues.memory.set_limits(&options.limits);
        if let Some(authenticator) = authenticator {
            self.authenticator.store(Arc::new(authenticator));
        }
        self.info.rcu(|info| Info {
            max_payload: options.limits.max_payload_bytes,
            ..Info::clone(info)
        });
        // A session that opens now with the old options is either among the endpoints below, or sees by the
        // version that it has missed a change.
        self.version.fetch_add(1, Ordering::AcqRel);
        let endpoints = self.endpoints();
        let excess = excess(&endpoints, options.limits.max_connections);
        let (ack, applied) = AckGuard::new();
        for endpoint in &endpoints {
            let is_excess = excess.contains(&endpoint.id);
            let is_told = endpoint.control.leave(Some(&ack), |control| {
                control.options = true;
                control.authenticator |= has_authenticator;
                if is_excess {
                    control.fault = Some(ClientFault::MaxConnections);
                }
            });
            if is_told {
                endpoint.destination.wake();
            }
        }
        if !excess.is_empty() {
            tracing::info!("Closed {} connections to fall within max_connections", excess.len());
        }
        ChangeReport { excess: excess.len(), applied }
    }
}

/// Returns the newest connections beyond the first `max`.
fn excess(endpoints: &[Arc<Endpoint>], max: Option<usize>) -> HashSet<u64> {
    let is_connected = |endpoint: &&Arc<Endpoint>| endpoint.kind.is_client_connection();
    let mut ids: Vec<u64> =
        endpoints.iter().filter(is_connected).map(|endpoint| endpoint.id).collect();
    ids.sort_unstable();
    ids.split_off(max.unwrap_or(usize::MAX).min(ids.len())).into_iter().collect()
}
