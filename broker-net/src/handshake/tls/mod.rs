//! TLS of both sides: for accepted connections, and for dialled ones.
//!
//! A connection begins in the clear and is upgraded, before or after INFO; where either is allowed, the client's
//! first bytes decide. The handshake runs on the connection's task.

mod admission;
mod algorithms;
mod buffers;
mod client;
mod client_config;
mod client_error;
mod client_options;
mod client_verify;
mod config;
mod error;
mod expiry;
mod file_watch;
mod handshaking;
mod issuer;
mod leftover;
pub(crate) mod listener;
mod options;
mod pieces;
mod provider;
mod route_options;
mod server_name;
mod side;
mod state;
mod transport;
mod upgrade;
mod verify;
mod x509;

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::{Broker, ClientFault, Security};
pub(in crate::handshake) use config::pins;
use handshaking::Progress;
use rustls::CommonState;
use rustls::crypto::hash::Hash;
use rustls::pki_types::CertificateDer;
use upgrade::Upgrade;

pub use algorithms::TlsAlgorithms;
pub(crate) use client::{TlsClientTransport, secure};
pub(crate) use client_config::TlsClientConfig;
pub use client_error::TlsClientError;
pub use client_options::TlsClientOptions;
pub use config::TlsConfig;
pub use error::TlsError;
pub use options::{
    ClientCertificates, HandshakeFirst, Pem, TlsCertificate, TlsOptions, TlsVersion,
};
#[cfg(feature = "testing-tls")]
pub(crate) use provider::default_provider;
pub use route_options::RouteTls;
pub(crate) use transport::TlsTransport;

use super::{AcceptedConnection, BoxFuture, Handshake, ListenerConfig};
use crate::clock;
use crate::transport::{Socket, Transport};

/// The first byte of a TLS client: that of a handshake record, or of an alert if it ends the handshake at once.
const HANDSHAKE_RECORD: u8 = 0x16;
const ALERT_RECORD: u8 = 0x15;

/// The interval at which the number of connections refused by the rate limit is logged.
const RATE_PERIOD: Duration = Duration::from_secs(1);

/// Admits a connection that must or may use TLS.
pub(crate) fn admit<T: Transport>(
    listener_config: &Arc<ListenerConfig>,
    below: T,
    mut arrival: Arrival,
    config: Arc<TlsConfig>,
) -> AcceptedConnection {
    let socket = Arc::new(Socket::new(TlsTransport::new(below)));
    let is_first = config.handshake_first != HandshakeFirst::Never;
    arrival.handshake =
        if is_first { HandshakeOrder::BeforeInfo } else { HandshakeOrder::AfterInfo };
    arrival.is_mapped = config.maps();
    let deadline = clock::now() + config.timeout;
    let upgrade = Arc::clone(&socket) as Arc<dyn Upgrade>;
    let handshake = TlsHandshake {
        upgrade,
        config,
        listener_config: Arc::clone(listener_config),
        deadline,
        is_first,
    };
    AcceptedConnection { socket, arrival, handshake: Some(Box::new(handshake)) }
}

/// Runs the handshake of a client that has no session yet. After an error, its input can still be read.
#[cfg(feature = "websocket")]
pub(crate) async fn shake_hands<T: Transport>(
    listener_config: &Arc<ListenerConfig>,
    socket: &Arc<Socket<TlsTransport<T>>>,
    config: Arc<TlsConfig>,
) -> Result<Security, ClientFault> {
    let deadline = clock::now() + config.timeout;
    let upgrade = Arc::clone(socket) as Arc<dyn Upgrade>;
    let listener_config = Arc::clone(listener_config);
    let handshake = TlsHandshake { upgrade, config, listener_config, deadline, is_first: true };
    let shaking = tokio::time::timeout_at(deadline.into(), handshake.shake_hands());
    match shaking.await {
        Ok(Ok(Some(security))) => Ok(security),
        Ok(Ok(None)) => Err(failed("EOF")),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(ClientFault::TlsTimeout),
    }
}

/// Sets the configuration of later connections, `None` for no TLS. Updates INFO of `broker`, if there is one.
pub(crate) fn set(
    listener_config: &Arc<ListenerConfig>,
    broker: Option<&Broker>,
    next: Option<(TlsOptions, TlsConfig)>,
) {
    listener_config.tls.set(next);
    if let Some(broker) = broker {
        tell(broker, listener_config.tls.config().as_deref());
    }
    listener_config.tls.tend(file_watch::tend(Arc::downgrade(listener_config), broker.cloned()));
}

/// Puts the requirement for TLS into INFO.
// NATS 2.14: server.go NewServer.
fn tell(broker: &Broker, config: Option<&TlsConfig>) {
    let is_optional = config.is_some_and(|config| config.allow_non_tls);
    broker.update_info(|info| {
        info.tls_required = config.is_some() && !is_optional;
        info.tls_available = is_optional;
        info.tls_verify = config.is_some_and(TlsConfig::verifies);
    });
}

/// Logs the number of connections that the rate limit has refused within a second.
// NATS 2.14: server.go logRejectedTLSConns.
async fn log_refused(listener_config: Weak<ListenerConfig>) {
    tokio::time::sleep(RATE_PERIOD).await;
    if let Some(listener_config) = listener_config.upgrade() {
        let refused = listener_config.tls.take_refused();
        tracing::warn!("Rejected {refused} connections due to TLS rate limiting");
    }
}

struct TlsHandshake {
    upgrade: Arc<dyn Upgrade>,
    config: Arc<TlsConfig>,
    listener_config: Arc<ListenerConfig>,
    deadline: Instant,
    is_first: bool,
}

impl Handshake for TlsHandshake {
    fn client_begins(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let HandshakeFirst::Within(wait) = self.config.handshake_first else { return true };
            let first = poll_fn(|cx| self.upgrade.poll_first(cx));
            let begins = tokio::time::timeout(wait, first).await.is_ok();
            self.is_first = begins;
            begins
        })
    }

    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>> {
        Box::pin(async {
            let agreeing = tokio::time::timeout_at(self.deadline.into(), self.shake_hands());
            match agreeing.await {
                Ok(result) => result,
                Err(_) if self.upgrade.has_begun() => Err(ClientFault::TlsTimeout),
                // NATS 2.14: a client that is silent that long gets no TLS.
                Err(_) if self.may_be_plain() => Ok(None),
                Err(_) => Err(ClientFault::TlsRequired("timeout".to_owned())),
            }
        })
    }
}

fn failed(reason: impl std::fmt::Display) -> ClientFault {
    ClientFault::TlsHandshake(format!("{reason}"))
}

impl TlsHandshake {
    fn may_be_plain(&self) -> bool {
        self.config.allow_non_tls && !self.is_first
    }

    async fn shake_hands(&self) -> Result<Option<Security>, ClientFault> {
        match poll_fn(|cx| self.upgrade.poll_first(cx)).await {
            Ok(Some(HANDSHAKE_RECORD | ALERT_RECORD)) => {}
            Ok(Some(_)) if self.may_be_plain() => return Ok(None),
            Ok(Some(_)) => {
                let reason = "first record does not look like a TLS handshake";
                return Err(ClientFault::TlsRequired(reason.to_owned()));
            }
            Ok(None) => return Err(failed("EOF")),
            Err(error) => return Err(failed(error)),
        }
        let gate = &self.listener_config.tls;
        if !gate.allows(self.config.connection_rate_limit, clock::now()) {
            if gate.note_refused() {
                tokio::spawn(log_refused(Arc::downgrade(&self.listener_config)));
            }
            return Err(ClientFault::Throttled);
        }
        self.upgrade.begin(Arc::clone(&self.config.server)).map_err(failed)?;
        loop {
            let progress = {
                let _turn = gate.turns().acquire().await;
                self.upgrade.advance().map_err(|error| match verify::take_refused() {
                    Some(certificate) => failed(format_args!("{error} ({certificate})")),
                    None => failed(error),
                })
            };
            // Sends an alert, too, if there is one.
            poll_fn(|cx| self.upgrade.poll_sent(cx)).await;
            if progress? == Progress::Done {
                return Ok(Some(self.security()));
            }
            let shows_chain = self.config.verifies();
            match poll_fn(|cx| self.upgrade.poll_more(shows_chain, cx)).await {
                Ok(0) => return Err(failed("EOF")),
                Ok(_) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn security(&self) -> Security {
        let mut security = Security::default();
        self.upgrade.look(&mut |tls| {
            security = describe(tls, &self.config.authorities, self.config.sha256);
        });
        security.is_first = self.is_first;
        security
    }
}

/// Describes the parameters of a connection, and the certificates of its peer.
fn describe(
    tls: &CommonState,
    authorities: &[CertificateDer<'static>],
    sha256: &dyn Hash,
) -> Security {
    let mut security = Security::default();
    security.version = algorithms::version_name(tls.protocol_version());
    let suite = tls.negotiated_cipher_suite();
    security.cipher_suite = suite.map(algorithms::suite_name).unwrap_or_default();
    let chain = tls.peer_certificates().unwrap_or_default();
    x509::describe(&mut security, chain, authorities, sha256);
    security
}
