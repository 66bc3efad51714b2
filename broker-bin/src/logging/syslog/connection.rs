//! A socket to a syslog.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::address::Address;

/// Timeout for connecting and for sending a message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Usual paths of the local syslog socket.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

#[derive(Debug)]
pub(super) enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Connection {
    pub(super) fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Local => LOCAL
                .iter()
                .find_map(|path| Self::unix(Path::new(path)).ok())
                .ok_or_else(|| io::Error::other("Unix syslog delivery error")),
            Address::Unix(path) => Self::unix(path),
            Address::Udp(host) => first(host, |address| {
                let any = match address {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Udp(socket))
            }),
            Address::Tcp(host) => first(host, |address| {
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Tcp(stream))
            }),
        }
    }

    /// Uses datagrams if supported, since each is one message regardless of its ending.
    fn unix(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        if socket.connect(path).is_ok() {
            socket.set_write_timeout(Some(PATIENCE))?;
            return Ok(Self::Datagram(socket));
        }
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::Stream(stream))
    }

    pub(super) fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(packet).map(drop),
            Self::Datagram(socket) => socket.send(packet).map(drop),
            Self::Tcp(stream) => stream.write_all(packet),
            Self::Stream(stream) => stream.write_all(packet),
        }
    }
}

/// Connects to the first reachable address of `host`.
fn first(
    host: &str,
    open: impl Fn(SocketAddr) -> io::Result<Connection>,
) -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()? {
        match open(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}
