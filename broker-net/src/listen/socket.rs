//! A TCP socket that listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::tcp_options::TcpOptions;

/// Maximum connections that the kernel holds until they are accepted. A restart may bring thousands at once; the
/// kernel has a limit of its own.
const BACKLOG: i32 = 4096;

/// A bound TCP socket.
pub(super) struct BoundSocket {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    /// False for a socket that another process may keep for the next run.
    is_own: bool,
}

impl BoundSocket {
    pub(super) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let socket = TcpListener::from_std(listen_tcp(host, port).await?)?;
        let address = socket.local_addr()?;
        Ok(Self { socket: Arc::new(socket), address, is_own: true })
    }

    /// Changes the options of the connections that are accepted from now on.
    pub(super) fn set_options(&self, options: TcpOptions) {
        options.apply(&SockRef::from(&*self.socket));
    }

    /// Takes over a socket that listens already.
    pub(super) fn adopt(socket: StdListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let socket = Socket::from(socket);
        TcpOptions::default().apply(&SockRef::from(&socket));
        let socket = TcpListener::from_std(StdListener::from(socket))?;
        Ok(Self { socket: Arc::new(socket), address, is_own: false })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a guard that closes the listener when dropped.
    pub(super) fn guard(&self) -> ListenerGuard {
        ListenerGuard(Arc::downgrade(&self.socket))
    }

    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.socket.poll_accept(cx)
    }
}

impl Drop for BoundSocket {
    /// Stops listening. Closing the socket is not enough if another thread starts a process at that moment: until the
    /// new process runs its program, it has a copy of each descriptor, and the port would not be free.
    fn drop(&mut self) {
        if self.is_own {
            stop_listening(&self.socket);
        }
    }
}

fn stop_listening(socket: &TcpListener) {
    // On systems where shutdown does not end listening, dropping the socket does.
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

/// Closes a listener when dropped: the port is free then, although the accept task still holds the socket.
#[derive(Debug)]
pub(crate) struct ListenerGuard(Weak<TcpListener>);

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        if let Some(socket) = self.0.upgrade() {
            stop_listening(&socket);
        }
    }
}

/// Listens at `host` and `port` as [`Server`](crate::Server) does, for
/// [`ServerBuilder::tcp_listener`](crate::ServerBuilder::tcp_listener) or a listener of the program's own. The
/// socket does not block. Port 0 is any that is free.
///
/// A host name with several addresses stands for one of them: the first of IPv4, else the first. An empty host,
/// `0.0.0.0` and `::` stand for every address of both families where the machine has both.
///
/// Must be called in a tokio runtime.
///
/// # Errors
///
/// The host name is unknown, or the address cannot be bound. No other address is tried then: a second process with
/// the same configuration would otherwise start beside the first and share its name.
pub async fn listen_tcp(host: &str, port: u16) -> io::Result<StdListener> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = lookup_host((host, port)).await?;
    let no_address = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    listen(choose(addresses).ok_or_else(no_address)?)
}

/// Selects the address of a host name to listen at.
// Go: net/ipsock.go addrList.first, as net.Listen calls it.
fn choose(addresses: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let mut first = None;
    for mut address in addresses {
        if let IpAddr::V4(mapped) = address.ip().to_canonical() {
            address.set_ip(mapped.into());
            return Some(address);
        }
        first = first.or(Some(address));
    }
    first
}

/// Listens at one address. The unspecified address of either family is that of both where the machine has both.
fn listen(address: SocketAddr) -> io::Result<StdListener> {
    if !address.ip().is_unspecified() {
        return open(address, true);
    }
    let wildcard = (Ipv6Addr::UNSPECIFIED, address.port()).into();
    match open(wildcard, false) {
        // Another process would own half of the addresses.
        Err(error) if has_both_families() => Err(error),
        Err(_) => open(address, true),
        listening => listening,
    }
}

/// Returns true if one socket can listen at addresses of both families.
// Go: net/ipsock_posix.go ipStackCapabilities.probe.
fn has_both_families() -> bool {
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0));
    bind(mapped, false).is_ok()
}

fn bind(address: SocketAddr, is_only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(is_only_v6)?;
    }
    // Without it a restart would have to wait until the kernel forgets the connections of the last run.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    TcpOptions::default().apply(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open(address: SocketAddr, is_only_v6: bool) -> io::Result<StdListener> {
    let socket = bind(address, is_only_v6)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(StdListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_port_is_free_although_a_process_that_starts_has_a_copy_of_the_socket() {
        let first = BoundSocket::bind("127.0.0.1", 0).await.unwrap();
        let port = first.address().port();
        let _copy = SockRef::from(&*first.socket).try_clone().unwrap();
        drop(first);
        assert_eq!(BoundSocket::bind("127.0.0.1", port).await.unwrap().address().port(), port);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_socket_of_another_process_goes_on_listening() {
        let socket = listen_tcp("127.0.0.1", 0).await.unwrap();
        let address = socket.local_addr().unwrap();
        let adopted = BoundSocket::adopt(socket.try_clone().unwrap()).unwrap();
        drop(adopted);
        TcpStream::connect(address).await.unwrap();
    }

    const NAMES_OF_ONE_HOST: [&str; 2] = ["[::1]:0", "127.0.0.1:0"];

    fn addresses(of: &[&str], port: u16) -> Vec<SocketAddr> {
        let parse = |text: &&str| {
            let mut address: SocketAddr = text.parse().unwrap();
            address.set_port(port);
            address
        };
        of.iter().map(parse).collect()
    }

    fn chosen(of: &[&str]) -> Option<String> {
        choose(addresses(of, 1).into_iter()).map(|address| address.ip().to_string())
    }

    #[test]
    fn the_first_ipv4_address_of_a_host_is_chosen_else_the_first() {
        assert_eq!(chosen(&NAMES_OF_ONE_HOST).as_deref(), Some("127.0.0.1"));
        assert_eq!(
            chosen(&["127.0.0.2:0", "[::1]:0", "127.0.0.1:0"]).as_deref(),
            Some("127.0.0.2")
        );
        assert_eq!(chosen(&["[::2]:0", "[::1]:0"]).as_deref(), Some("::2"));
        assert_eq!(chosen(&["[::1]:0", "[::ffff:127.0.0.1]:0"]).as_deref(), Some("127.0.0.1"));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn a_host_with_two_addresses_can_be_bound_only_once() {
        let listen_at = |port| {
            let chosen = choose(addresses(&NAMES_OF_ONE_HOST, port).into_iter()).unwrap();
            listen(chosen)
        };
        let first = listen_at(0).unwrap();
        let second = listen_at(first.local_addr().unwrap().port());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_unspecified_address_is_refused_if_either_family_is_in_use() {
        let wildcards = ["0.0.0.0:0", "[::]:0"];
        let wildcards = if has_both_families() { &wildcards[..] } else { &wildcards[..1] };
        for held in NAMES_OF_ONE_HOST {
            // The machine may have no IPv6.
            let Ok(other) = StdListener::bind(held) else { continue };
            let port = other.local_addr().unwrap().port();
            for wildcard in wildcards {
                let error = listen(addresses(&[wildcard], port)[0]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{wildcard} beside {held}");
            }
        }
    }

    #[test]
    fn the_unspecified_address_listens_at_both_families_if_the_machine_has_both() {
        let everywhere = listen(addresses(&["0.0.0.0:0"], 0)[0]).unwrap().local_addr().unwrap();
        assert_eq!(everywhere.is_ipv6(), has_both_families());
    }

    #[tokio::test]
    async fn connections_inherit_the_options_of_the_listener() {
        let listener = BoundSocket::bind("127.0.0.1", 0).await.unwrap();
        for options in [TcpOptions::default(), TcpOptions::ROUTES] {
            listener.set_options(options);
            let connecting = TcpStream::connect(listener.address());
            let (accepted, _client) = tokio::join!(listener.socket.accept(), connecting);
            let (stream, _) = accepted.unwrap();
            options.assert_applied(&SockRef::from(&stream));
        }
    }
}
