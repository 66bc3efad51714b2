//! The interface of the cluster to the server.

use super::Shared;
use crate::account::Account;
use crate::cluster::{Cluster, ClusterHost};
use crate::endpoint::{Endpoint, InfoWave};
use crate::options::Options;
use crate::proto::Info;
use crate::proto::route::RouteInfo;
use crate::random::Random;
use crate::sync::Arc;

/// The version of the protocol of servers.
// NATS 2.14: server.go MsgTraceProto.
const SERVER_PROTO: i64 = 3;

/// Makes the server's part in a cluster, if it is to be in one.
pub(super) fn of(
    options: &Options,
    info: &Info,
    system_account: &Arc<str>,
    random: &mut Random,
) -> Option<Arc<Cluster>> {
    let own = RouteInfo {
        server_id: info.server_id.clone(),
        server_name: info.server_name.clone(),
        version: info.version.clone(),
        proto: SERVER_PROTO,
        go: info.go.clone(),
        headers: info.headers,
        max_payload: i64::try_from(info.max_payload).unwrap_or(i64::MAX),
        jetstream: info.jetstream,
        domain: info.domain.clone(),
        lnoc: true,
        lnocu: true,
        ..RouteInfo::default()
    };
    let random = Random::new(random.next_u64());
    let options = options.cluster.as_ref()?;
    Some(Arc::new(Cluster::new(options, own, system_account, random)))
}

impl Shared {
    /// Tells the other servers of the cluster that this one ends. INFO for clients has `ldm` and the addresses of the
    /// others from now on.
    pub(crate) fn announce_end_to_cluster(&self) {
        let end = |urls: Vec<String>| {
            self.info.rcu(|info| Info {
                ldm: true,
                connect_urls: urls.clone(),
                ..Info::clone(info)
            });
        };
        let Some(cluster) = &self.cluster else { return end(Vec::new()) };
        cluster.announce_end(self);
        cluster.tell(|_, urls, websocket_urls| {
            self.websocket_urls.store(Some(Arc::new(websocket_urls)));
            end(urls);
        });
    }

    /// Returns true if there is an account of that name, or may be one later.
    pub(crate) fn may_have_account(&self, name: &str) -> bool {
        self.known_account(name).is_some() || self.authenticator.load().may_name(name)
    }
}

impl ClusterHost for Shared {
    // NATS 2.14: route.go sendAsyncInfoToClients.
    fn tell_clients(&self, cluster: &str, urls: Vec<String>, websocket_urls: Vec<String>) {
        let (mut has_changed, mut is_renamed) = (false, false);
        self.info.rcu(|info| {
            let mut info = Info::clone(info);
            if info.connect_urls != urls {
                info.connect_urls.clone_from(&urls);
                has_changed = true;
            }
            if info.cluster != cluster {
                self.context.cluster.store(Some(Arc::new(cluster.to_owned())));
                cluster.clone_into(&mut info.cluster);
                (has_changed, is_renamed) = (true, true);
            }
            info
        });
        if is_renamed {
            self.all_accounts().iter().for_each(|account| account.follow_cluster());
        }
        let before = self.websocket_urls.swap(Some(Arc::new(websocket_urls.clone())));
        has_changed |= before.is_none_or(|before| *before != websocket_urls);
        if has_changed {
            if let Some(before) = self.info_wave.swap(None) {
                before.end();
            }
            self.info_wave.store(Some(InfoWave::begin(self.connections())));
        }
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.all_accounts()
    }

    fn may_have_account(&self, name: &str) -> bool {
        Self::may_have_account(self, name)
    }

    fn now(&self) -> std::time::Instant {
        self.clock.now()
    }

    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        Shared::endpoints(self)
    }
}
