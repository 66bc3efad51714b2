//! A network within the process that carries the routes of test clusters: without ports, and with partitions.
//!
//! Each server has an address in it that exists nowhere else. Connections are [pipes](crate::pipe), between which and
//! their servers a [`Wire`] stands, which stops while the two servers are partitioned.

mod link;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use broker_core::cluster::RouteDial;
use tokio::sync::mpsc;

use crate::handshake::AcceptedConnection;
use crate::handshake::route_tls::RouteSecurity;
use link::Link;
use wire::Wire;

/// The port for routes of all servers.
const PORT: u16 = 6222;

/// The name that certificates of all servers are verified for: their addresses exist nowhere else, so that no certificate is
/// for them.
const TLS_NAME: &str = "localhost";

/// Connections that wait to be accepted, at one server. Further dialers wait, as with a full backlog of a socket.
const BACKLOG: usize = 128;

/// The servers of each network of addresses: the last byte of an address is not 0 or 255.
const SERVERS_OF_A_BYTE: usize = 250;

/// A network of some servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

/// The place of one server in a network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkPort {
    network: Network,
    address: SocketAddr,
}

/// Accepts connections at a place. Dropping it closes those that wait.
#[derive(Debug)]
pub(crate) struct NetworkListener {
    port: NetworkPort,
    number: u64,
    dialled: mpsc::Receiver<Dialled>,
}

/// The end of a connection for the server that accepts it, and the address of the other one.
type Dialled = (Wire, SocketAddr);

#[derive(Debug, Default)]
struct State {
    /// Each with its number: a server that starts again takes the place of its earlier run, which may not have
    /// ended yet.
    listeners: BTreeMap<SocketAddr, (u64, mpsc::Sender<Dialled>)>,
    links: BTreeMap<(IpAddr, IpAddr), Arc<Link>>,
    /// Counts listeners.
    listener_number: u64,
    /// The port of the next connection, at the dialling side.
    next_port: u16,
}

impl Network {
    /// Returns the place of the server of this number.
    pub(crate) fn port(&self, number: usize) -> NetworkPort {
        let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
        let (third, fourth) = (number / SERVERS_OF_A_BYTE, number % SERVERS_OF_A_BYTE + 1);
        let ip = Ipv4Addr::new(10, 0, byte(third), byte(fourth));
        NetworkPort { network: self.clone(), address: SocketAddr::from((ip, PORT)) }
    }

    /// Loses everything that two servers send each other from now on, or no longer.
    pub(crate) fn set_partitioned(&self, one: usize, other: usize, is_partitioned: bool) {
        self.link_of(one, other).set_down(is_partitioned);
    }

    /// Returns true if two servers are partitioned.
    pub(crate) fn is_partitioned(&self, one: usize, other: usize) -> bool {
        self.link_of(one, other).is_down()
    }

    /// Ends partitions.
    pub(crate) fn heal(&self) {
        let links: Vec<Arc<Link>> = self.state().links.values().cloned().collect();
        links.iter().for_each(|link| link.set_down(false));
    }

    /// Resets the connections between two servers.
    pub(crate) fn reset(&self, one: usize, other: usize) {
        self.link_of(one, other).reset();
    }

    fn link_of(&self, one: usize, other: usize) -> Arc<Link> {
        self.link(self.port(one).address.ip(), self.port(other).address.ip())
    }

    fn link(&self, one: IpAddr, other: IpAddr) -> Arc<Link> {
        let key = (one.min(other), one.max(other));
        Arc::clone(self.state().links.entry(key).or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkPort {
    /// Returns its address in the network.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections from now on, in place of an earlier run of the server.
    pub(crate) fn listen(&self) -> NetworkListener {
        let (sender, dialled) = mpsc::channel(BACKLOG);
        let mut state = self.network.state();
        state.listener_number += 1;
        let number = state.listener_number;
        state.listeners.insert(self.address, (number, sender));
        NetworkListener { port: self.clone(), number, dialled }
    }

    /// Connects to another server. While the two are partitioned it waits, as the kernel does that repeats a SYN.
    pub(crate) async fn dial(
        &self,
        dial: &RouteDial,
        security: &RouteSecurity,
    ) -> io::Result<AcceptedConnection> {
        let ip = dial.address.host.parse::<IpAddr>();
        let to = ip.map(|ip| SocketAddr::new(ip, dial.address.port));
        let to = to.map_err(|_| io::Error::from(io::ErrorKind::HostUnreachable))?;
        let wire = self.connect(to).await?;
        let mut dial = dial.clone();
        dial.tls_name.get_or_insert_with(|| TLS_NAME.to_owned());
        Ok(security.dialed(wire, to, &dial))
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Wire> {
        let link = self.network.link(self.address.ip(), to.ip());
        link.wait_up().await;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (listener, from) = {
            let mut state = self.network.state();
            state.next_port = state.next_port.checked_add(1).unwrap_or(1);
            let listener = state.listeners.get(&to).map(|(_, sender)| sender.clone());
            (listener.ok_or_else(refused)?, SocketAddr::new(self.address.ip(), state.next_port))
        };
        let (near, far) = Wire::pair(&link);
        listener.send((far, from)).await.map_err(|_| refused())?;
        Ok(near)
    }
}

impl NetworkListener {
    /// Accepts a connection.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        security: &RouteSecurity,
    ) -> Poll<AcceptedConnection> {
        match ready!(self.dialled.poll_recv(cx)) {
            Some((wire, remote)) => Poll::Ready(security.accept(wire, remote)),
            // A later run of the server has taken the place.
            None => Poll::Pending,
        }
    }
}

impl Drop for NetworkListener {
    fn drop(&mut self) {
        let mut state = self.port.network.state();
        let is_own = state
            .listeners
            .get(&self.port.address)
            .is_some_and(|(number, _)| *number == self.number);
        if is_own {
            state.listeners.remove(&self.port.address);
        }
    }
}
