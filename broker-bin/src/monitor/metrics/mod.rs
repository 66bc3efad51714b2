//! `/metrics`: what there is to see, for Prometheus.
//!
//! Two sets, made at each scrape from the same look that JSON is made from: [`compat`], under the names,
//! labels and values that prometheus-nats-exporter gives, so that dashboards made for it work unchanged;
//! and [`own`], where counters are counters.
//!
//! Each scrape has a recorder of its own: nothing is kept between scrapes, series of what is gone are
//! gone, and two servers in one process never meet.

mod compat;
mod own;
mod writer;

#[cfg(feature = "monitoring")]
use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "monitoring")]
use super::MonitorOptions;
use super::Observer;
use crate::options::{MetricsPrefix, MetricsServerId};
use writer::Writer;

/// Renders metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    how: Arc<How>,
}

#[derive(Debug)]
struct How {
    prefix: MetricsPrefix,
    label: MetricsServerId,
    url: String,
}

impl Metrics {
    /// Of a server that need not be listened to.
    pub(super) fn of_id(prefix: MetricsPrefix) -> Self {
        let how = How { prefix, label: MetricsServerId::Id, url: String::new() };
        Self { how: Arc::new(how) }
    }

    #[cfg(feature = "monitoring")]
    pub(super) fn new(options: &MonitorOptions, address: SocketAddr) -> Self {
        let port = address.port();
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let url = if address.ip().is_unspecified() {
            format!("{scheme}://localhost:{port}")
        } else {
            format!("{scheme}://{address}")
        };
        let how = How { prefix: options.prefix, label: options.server_label, url };
        Self { how: Arc::new(how) }
    }

    pub(super) fn render(&self, observer: &Observer) -> String {
        // One look at everybody for all of it, and one at each connection.
        let (stats, accounts) = observer.broker().stats_and_accounts();
        let varz = observer.varz_of(stats);
        let server_id = match self.how.label {
            MetricsServerId::Url => &self.how.url,
            MetricsServerId::Id => &varz.server_id,
            MetricsServerId::Name => &varz.server_name,
        };
        let writer = Writer::new(server_id);
        let connections = observer.broker().connections();
        compat::write(&writer, self.how.prefix, observer, &varz, &connections, &accounts);
        own::write(&writer, observer, &varz, &connections, &accounts);
        writer.finish()
    }
}

impl Observer {
    /// The text of `/metrics`, in the text format of Prometheus. Made by a recorder of its own, so that it
    /// neither needs nor touches one that the program has installed. The label `server_id` is the server's
    /// id.
    pub fn metrics_text(&self, prefix: MetricsPrefix) -> String {
        Metrics::of_id(prefix).render(self)
    }
}
