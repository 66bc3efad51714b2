//! TLS between the servers of a cluster: before any other byte, and each side verifies the other.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use broker_core::cluster::RouteDial;
use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::{ClientFault, Security};

use super::listener_tls::{self, BuiltTls, TlsFault};
use super::tls::{TlsClientConfig, TlsClientError, TlsClientTransport, TlsTransport, secure};
use super::{AcceptedConnection, BoxFuture, Handshake, ListenerConfig, canonical};
use crate::transport::{Socket, Transport};

pub(crate) use super::tls::RouteTls;

/// The configurations of both sides; `None` for routes in the clear.
pub(crate) struct BuiltRouteTls(Option<Built>);

struct Built {
    server: BuiltTls,
    client: TlsClientConfig,
}

/// Reads and checks certificates and keys.
pub(crate) fn build(options: Option<&RouteTls>) -> Result<BuiltRouteTls, TlsFault> {
    let Some(options) = options else { return Ok(BuiltRouteTls(None)) };
    let server = listener_tls::build(Some(&options.server()))?;
    let client = TlsClientConfig::new(&options.client(), "localhost")?;
    Ok(BuiltRouteTls(Some(Built { server, client })))
}

/// Returns the pinned public keys.
pub(crate) fn pinned_keys(options: Option<&RouteTls>) -> Result<HashSet<[u8; 32]>, TlsFault> {
    options.map_or_else(|| Ok(HashSet::new()), |tls| super::tls::pins(&tls.options.pinned_certs))
}

/// Adds TLS to routes of both directions. A replacement applies to later connections.
#[derive(Debug, Default)]
pub(crate) struct RouteSecurity {
    listener: Arc<ListenerConfig>,
    client: ArcSwapOption<TlsClientConfig>,
    unfit: UnfitName,
}

impl RouteSecurity {
    /// Sets the configuration of later connections.
    pub(crate) fn set(&self, next: BuiltRouteTls) {
        let (server, client) = match next.0 {
            Some(built) => (built.server, Some(Arc::new(built.client))),
            None => (None, None),
        };
        listener_tls::set(&self.listener, None, server);
        self.client.store(client);
    }

    /// Returns the earliest expiry of the certificates.
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        self.listener.tls.not_after()
    }

    pub(crate) fn stop_tending(&self) {
        self.listener.tls.stop_tending();
    }

    /// Admits a connection that was accepted.
    pub(crate) fn accept(&self, stream: impl Transport, remote: SocketAddr) -> AcceptedConnection {
        self.listener.admit(stream, remote)
    }

    /// Admits a connection that was dialled.
    pub(crate) fn dialed(
        &self,
        stream: impl Transport,
        remote: SocketAddr,
        dial: &RouteDial,
    ) -> AcceptedConnection {
        let mut arrival = Arrival { remote: Some(canonical(remote)), ..Arrival::default() };
        let Some(client) = self.client.load_full() else {
            return AcceptedConnection::new(stream, arrival);
        };
        arrival.handshake = HandshakeOrder::BeforeInfo;
        let socket = Arc::new(Socket::new(TlsTransport::new(stream)));
        let (name, is_borrowed) = self.unfit.name_of(&dial.address.host, dial.tls_name.as_deref());
        let unfit = if is_borrowed { Some(self.unfit.clone()) } else { None };
        let config = client.named(&name);
        let handshake = ClientHandshake { socket: Arc::clone(&socket), config, name, unfit };
        AcceptedConnection { socket, arrival, handshake: Some(Box::new(handshake)) }
    }
}

/// The name that the addresses of routes are verified for, once a certificate was not for it.
///
/// An address without a name is verified for the name of a configured route: usually one certificate is for all servers.
/// If it is not, addresses are verified as such from then on.
// NATS 2.14: client.go doTLSHandshake, resetTLSName.
#[derive(Clone, Debug, Default)]
struct UnfitName(Arc<Mutex<Option<String>>>);

impl UnfitName {
    /// Returns the name to verify, and whether it is that of another route.
    fn name_of(&self, host: &str, tls_name: Option<&str>) -> (String, bool) {
        let is_address = host.parse::<IpAddr>().is_ok();
        match tls_name {
            Some(name) if is_address && self.lock().as_deref() != Some(name) => {
                (name.to_owned(), true)
            }
            _ => (host.to_owned(), false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handshake of the dialling side.
struct ClientHandshake<T: Transport> {
    socket: Arc<Socket<TlsClientTransport<T>>>,
    config: Result<TlsClientConfig, TlsFault>,
    name: String,
    /// Set if the name is that of another route.
    unfit: Option<UnfitName>,
}

impl<T: Transport> Handshake for ClientHandshake<T> {
    fn client_begins(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }

    fn run(&mut self) -> BoxFuture<'_, Result<Option<Security>, ClientFault>> {
        Box::pin(async {
            let config = self.config.as_ref();
            let config = config.map_err(|error| ClientFault::TlsHandshake(error.to_string()))?;
            let secured = secure(&self.socket, config).await;
            if secured.is_err() {
                // Makes the server close, so that no read waits for more from it.
                let _ = self.socket.transport.shut_down_write();
            }
            secured.map(Some).map_err(|error| self.fault(&error))
        })
    }
}

impl<T: Transport> ClientHandshake<T> {
    fn fault(&self, error: &TlsClientError) -> ClientFault {
        if let (TlsClientError::WrongName { .. }, Some(unfit)) = (error, &self.unfit) {
            *unfit.lock() = Some(self.name.clone());
        }
        match error {
            TlsClientError::Timeout => ClientFault::TlsTimeout,
            TlsClientError::Io(source) => ClientFault::TlsHandshake(format!("{error}: {source}")),
            _ => ClientFault::TlsHandshake(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_verified_for_the_name_of_another_route_until_that_does_not_fit() {
        let unfit = UnfitName::default();
        let name = |host: &str, tls_name: Option<&str>| unfit.name_of(host, tls_name).0;
        assert_eq!(name("a.example", Some("b.example")), "a.example");
        assert_eq!(name("127.0.0.1", Some("b.example")), "b.example");
        assert_eq!(name("127.0.0.1", None), "127.0.0.1");
        assert_eq!(name("::1", Some("b.example")), "b.example");
        *unfit.lock() = Some("b.example".to_owned());
        assert_eq!(name("127.0.0.1", Some("b.example")), "127.0.0.1");
        assert_eq!(name("127.0.0.1", Some("c.example")), "c.example");
    }
}
