//! Sessions whose transport performs a TLS handshake before it reads input.

use std::time::Instant;

use super::{ClientSession, Phase};
use crate::auth::{Credentials, Grant, TlsDetails};
use crate::endpoint::Scratch;
use crate::error::{ClientFault, Quoted};
use crate::security::Security;
use crate::session::ping::Ping;
use crate::sync::Arc;

/// The handshake that precedes the input of a client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HandshakeOrder {
    /// No handshake.
    #[default]
    None,
    /// TLS after INFO, unless the client continues without TLS.
    AfterInfo,
    /// TLS first. INFO follows it, or is sent by [`ClientSession::greet`].
    BeforeInfo,
}

/// The progress of the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Securing {
    is_done: bool,
    has_greeted: bool,
}

impl Securing {
    pub(super) fn new(handshake: HandshakeOrder) -> Self {
        Self {
            is_done: handshake == HandshakeOrder::None,
            has_greeted: handshake != HandshakeOrder::BeforeInfo,
        }
    }

    pub(super) fn is_done(self) -> bool {
        self.is_done
    }
}

impl ClientSession {
    pub(super) fn greet_at_first(&mut self, scratch: &mut Scratch) {
        if self.securing.has_greeted {
            self.send_greeting(|_| {}, scratch);
        }
    }

    /// Sends INFO before the handshake, because the client waits for it. Only for
    /// [`HandshakeOrder::BeforeInfo`].
    pub fn greet(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        if !std::mem::replace(&mut self.securing.has_greeted, true) {
            self.send_greeting(|_| {}, scratch);
        }
        self.byte_queue.drain(now, false, scratch);
    }

    /// Completes the handshake; `None` if the client continues without TLS. Input is read from now on,
    /// and the client must authenticate.
    pub fn handle_secured(
        &mut self,
        security: Option<Security>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        scratch.start(now);
        if let Some(security) = &security {
            tracing::debug!(client = %self.label(), "TLS handshake complete");
            let Security { version, cipher_suite, .. } = security;
            tracing::debug!(
                client = %self.label(),
                "TLS version {version}, cipher suite {cipher_suite}"
            );
        }
        let security = security.map(|mut security| {
            if !self.authenticator().reads_certificates() {
                security.verified_chain = Arc::default();
            }
            Arc::new(security)
        });
        self.endpoint.security.store(security);
        self.securing.is_done = true;
        let shared = Arc::clone(&self.shared);
        let limits = &shared.options.load().limits;
        // NATS 2.14: the authentication timeout begins after the handshake.
        self.ping = Ping::new(now, limits, self.endpoint.transport.ping_interval());
        if let Phase::Unauthenticated(deadline) = &mut self.phase {
            let auth_timeout = self.endpoint.transport.auth_timeout();
            *deadline = now + auth_timeout.unwrap_or(limits.auth_timeout);
            self.let_in_as_is(now);
        }
        if !std::mem::replace(&mut self.securing.has_greeted, true) {
            // Set even if other clients need no TLS.
            self.send_greeting(|info| info.tls_required = true, scratch);
        }
        self.byte_queue.drain(now, true, scratch);
    }

    /// Closes the session because the handshake failed.
    pub fn handle_insecure(&mut self, fault: &ClientFault, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        self.fault(fault, scratch);
        self.byte_queue.drain(now, true, scratch);
    }

    /// Returns the TLS parameters of the connection.
    pub fn security(&self) -> Option<Arc<Security>> {
        self.endpoint.security.load_full()
    }

    /// Returns the credentials provided by the transport.
    pub(super) fn shown_by_carrier(&self) -> Credentials {
        let security = self.endpoint.security.load();
        Credentials {
            client_id: self.endpoint.id,
            time: Some(self.shared.clock.wall()),
            tls: security.as_ref().map(|security| TlsDetails {
                version: security.version,
                cipher_suite: security.cipher_suite,
                verified_chain: Arc::clone(&security.verified_chain),
            }),
            certificate: security.as_ref().and_then(|security| security.certificate.clone()),
            is_mapped: self.is_mapped,
            kind: self.endpoint.transport.kind(),
            ..Credentials::default()
        }
    }

    /// Takes the user name from the certificate, in place of that in CONNECT.
    pub(super) fn take_mapped_name(&mut self, grant: &Grant) {
        let Some(user) = grant.user.as_ref().filter(|_| self.is_mapped) else { return };
        let claimed = &self.options.user;
        if !claimed.is_empty() && **claimed != **user {
            tracing::warn!(
                client = %self.label(),
                "User {} found in connect proto, but user required from cert",
                Quoted::from(&**claimed)
            );
        }
        self.options.user = user.as_ref().into();
    }
}
