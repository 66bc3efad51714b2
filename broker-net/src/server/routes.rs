//! Prepares the part of a server in a cluster.

use std::sync::Arc;

use broker_core::Broker;
use broker_core::cluster::CompressionMode;

use crate::cluster::{DialConfig, Routes};
use crate::context::ConnectionContext;
use crate::interfaces;
use crate::listen::{RouteAcceptor, RouteListener};
use crate::network::NetworkPort;
use crate::options::ServerOptions;

/// Adds the defaults of what is missing of the options of a cluster, and derives what the core needs to know.
pub(super) fn complete(options: &mut ServerOptions) {
    let ServerOptions { cluster, broker, .. } = options;
    if cluster.is_none() && broker.cluster.is_none() {
        return;
    }
    let listener = cluster.get_or_insert_default();
    let cluster = broker.cluster.get_or_insert_default();
    cluster.is_tls = listener.is_tls();
    if cfg!(not(feature = "compression")) {
        cluster.compression.mode = CompressionMode::NotSupported;
    }
}

/// Prepares the task of the routes. `None` without a cluster.
pub(super) fn prepare(
    bound: Option<(RouteAcceptor, Arc<RouteListener>)>,
    options: &ServerOptions,
    network: Option<NetworkPort>,
    context: &ConnectionContext,
) -> Option<(Routes, Arc<DialConfig>)> {
    let ((acceptor, listener), cluster) = bound.zip(context.broker.cluster().map(Arc::clone))?;
    let ServerOptions { cluster: Some(listener_options), broker, .. } = options else {
        return None;
    };
    cluster.set_address(&listener_options.host, listener_options.port);
    let advertised = broker.cluster.as_ref().and_then(|cluster| cluster.advertise.as_ref());
    let own_port = advertised.map_or(listener_options.port, |(_, port)| *port);
    let dials = Arc::new(DialConfig::new(Arc::clone(&listener.security), own_port, network));
    dials.set_reports(listener_options);
    let (max, context) = (listener_options.max_unauthenticated, context.clone());
    let routes = Routes::new(acceptor, cluster, context, Arc::clone(&dials), max);
    Some((routes, dials))
}

/// Reports the addresses of this server's listeners to the cluster.
pub(super) fn tell_client_urls(broker: &Broker, options: &ServerOptions) {
    if broker.cluster().is_none() {
        return;
    }
    let urls =
        interfaces::connect_urls(options.client_advertise.as_ref(), &options.host, options.port);
    broker.set_client_urls(urls, websocket_urls(options));
}

#[cfg(feature = "websocket")]
fn websocket_urls(options: &ServerOptions) -> Vec<String> {
    let Some(websocket) = &options.websocket else { return Vec::new() };
    if !websocket.connect_urls.is_empty() {
        return websocket.connect_urls.clone();
    }
    interfaces::connect_urls(websocket.advertise.as_ref(), &websocket.host, websocket.port)
}

#[cfg(not(feature = "websocket"))]
fn websocket_urls(_: &ServerOptions) -> Vec<String> {
    Vec::new()
}
