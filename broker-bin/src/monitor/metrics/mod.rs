//! `/metrics`: the monitoring data in Prometheus format.
//!
//! Two sets, generated at each scrape from the data of the JSON endpoints: [`compat`], with the
//! names, labels and values of prometheus-nats-exporter, so that existing dashboards work
//! unchanged; and [`own`], in which counters are typed as counters.
//!
//! Each scrape uses its own recorder: no series outlive their subjects, and two servers in one
//! process do not interfere.

mod compat;
mod jsz;
mod own;
#[cfg(feature = "streams")]
mod own_streams;
mod routes;
#[cfg(feature = "streams")]
mod streams;
mod writer;

#[cfg(feature = "monitoring")]
use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "monitoring")]
use super::MonitorOptions;
use super::Observer;
use crate::options::{MetricsPrefix, MetricsServerId};
use writer::Writer;

/// Generates metrics. Cheap to clone.
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
    /// Creates metrics labelled with the server's id, for a server without a listener.
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
        // One snapshot of all sessions serves all endpoints, and one of each connection.
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
        routes::write(&writer, observer);
        #[cfg(feature = "streams")]
        if let Some(viewer) = observer.streams() {
            own_streams::write(&writer, viewer);
        }
        writer.finish()
    }
}

impl Observer {
    /// Returns the text of `/metrics` in the Prometheus text format. Uses its own recorder and
    /// leaves one installed by the program alone. The label `server_id` is the server's id.
    pub fn metrics_text(&self, prefix: MetricsPrefix) -> String {
        Metrics::of_id(prefix).render(self)
    }
}
