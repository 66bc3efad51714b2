//! Monitoring data of a running server: as typed values ([`Observer`]), over HTTP ([`Monitor`]) in
//! the format of nats-server, and for Prometheus at `/metrics`.
//!
//! | what | where |
//! | --- | --- |
//! | collecting data | [`Observer`]: one file per endpoint |
//! | the listener, its limits, authorization | `http/` |
//! | the live page at `/` | `page/` |
//! | `/metrics` | `metrics/`: prometheus-nats-exporter's names, and our own |
//! | settings | [`MonitorOptions`] |
//!
//! Each answer is computed on request from the counters of the sessions, so that monitoring adds
//! nothing to the path of a message. Answers are generated one or two at a time, off the threads
//! that serve clients, and the memory for slow readers is bounded.

#![cfg_attr(
    not(feature = "monitoring"),
    expect(dead_code, reason = "without HTTP some data is not used")
)]

mod accountz;
mod accstatz;
mod clusterz;
mod connz;
mod gatewayz;
mod healthz;
#[cfg(feature = "monitoring")]
mod http;
mod jetstream;
mod jetstream_facts;
mod jsz;
mod leafz;
mod metrics;
mod observer;
mod operator_facts;
#[cfg(feature = "monitoring")]
mod page;
mod process;
mod query;
mod routez;
mod shares;
mod skip;
#[cfg(feature = "streams")]
mod streamz;
mod subsz;
mod system_counters;
mod system_shares;
mod time;
mod varz;
mod websocketz;

pub use crate::options::MonitorOptions;
pub use accountz::{AccountInfo, Accountz, MapDest};
pub use accstatz::{AccountStat, AccountStatz, DataStats, MessagesAndBytes, ShareCounts};
pub use clusterz::ClusterVarz;
pub use connz::{ConnInfo, ConnState, Connz, ConnzOptions, PeerCert, SortBy, SubscriptionLists};
pub use gatewayz::Gatewayz;
pub use healthz::{Health, HealthError, Healthz, HealthzOptions};
#[cfg(feature = "monitoring")]
pub use http::Monitor;
#[cfg(feature = "monitoring")]
pub(crate) use http::MonitorSocket;
pub use jetstream::{ApiStats, JetStreamConfig, JetStreamStats, JetStreamVarz};
#[cfg(feature = "streams")]
pub use jetstream_facts::JetStreamFacts;
pub use jetstream_facts::JetStreamLimits;
pub use jsz::{AccountDetail, Jsz, JszOptions};
pub use leafz::Leafz;
pub use observer::{Facts, Observer};
pub use operator_facts::OperatorFacts;
pub use query::BadRequest;
pub use routez::{RouteInfo, Routez, RoutezOptions};
pub use shares::{ExportInfo, ImportInfo, ImportType, LatencyInfo, SamplingInfo};
#[cfg(feature = "streams")]
pub use streamz::{MessageDetail, Messagez, MessagezOptions, StreamOrder, Streamz, StreamzOptions};
pub use subsz::{SubDetail, SublistStats, Subsz, SubszOptions};
pub use time::{Moment, go_duration, round_trip, uptime};
pub use varz::{Absent, ByKind, DiskWaits, Varz};
pub use websocketz::WebsocketVarz;
