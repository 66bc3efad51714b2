//! TCP connections to one of the addresses of a host.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::error::{DialError, FailedAttempt};
use crate::random::Random;
use crate::tcp_options::TcpOptions;

/// Maximum addresses of a name that are tried: more would not fit into the time of one attempt, and a DNS answer can
/// hold hundreds.
const MAX_ADDRESSES: usize = 16;

/// Resolves a name. An address is returned as it is.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let named = || host.to_owned();
    let addresses = lookup_host((host, port)).await;
    let addresses = addresses.map_err(|source| DialError::Resolve { host: named(), source })?;
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() { Err(DialError::NoAddress { host: named() }) } else { Ok(addresses) }
}

/// Shuffles the addresses, so that the members of a cluster behind one name are dialled equally often, and truncates
/// them to the maximum.
// NATS 2.14: server.go getRandomIP, which tries one of them.
pub(crate) fn in_random_order(
    mut addresses: Vec<SocketAddr>,
    random: &mut Random,
) -> Vec<SocketAddr> {
    random.shuffle(&mut addresses);
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// Connects to the first address that accepts.
pub(super) async fn connect_any(
    addresses: Vec<SocketAddr>,
    timeout: Duration,
    tcp: TcpOptions,
) -> Result<(TcpStream, SocketAddr), Vec<FailedAttempt>> {
    let mut attempts = Vec::new();
    for address in addresses {
        match connect(address, timeout, tcp).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => attempts.push(FailedAttempt { address, error }),
        }
    }
    Err(attempts)
}

/// Connects to an address. The error is of kind [`TimedOut`](io::ErrorKind::TimedOut) if it did not answer in time.
pub(crate) async fn connect(
    address: SocketAddr,
    timeout: Duration,
    tcp: TcpOptions,
) -> io::Result<TcpStream> {
    let late =
        |_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {timeout:?}")));
    let connecting = tokio::time::timeout(timeout, connect_unbounded(address, tcp));
    connecting.await.unwrap_or_else(late)
}

async fn connect_unbounded(address: SocketAddr, tcp: TcpOptions) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    tcp.apply(&SockRef::from(&socket));
    let stream = socket.connect(address).await?;
    // The kernel may choose the dialled port as the local port of this connection, if no socket listens there: the
    // connection would then be one with itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    #[test]
    fn each_address_comes_first_about_equally_often_and_the_number_is_bounded() {
        let mut random = Random::new(1);
        let mut first = [0; 3];
        for _ in 0..3_000 {
            let order = in_random_order(addresses(3), &mut random);
            first[usize::from(order[0].port())] += 1;
            assert_eq!(order.len(), 3);
        }
        assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
        assert_eq!(in_random_order(addresses(16), &mut random).len(), 16);
        assert_eq!(in_random_order(addresses(17), &mut random).len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn the_next_address_is_tried_after_a_refusal_and_the_error_names_all() {
        let free = || async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            (socket.local_addr().unwrap(), socket)
        };
        // Bound, but not listening.
        let ((one, _one), (other, _other)) = (free().await, free().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let tcp = TcpOptions::default();
        let second = Duration::from_secs(1);
        let (stream, address) = connect_any(vec![one, there, other], second, tcp).await.unwrap();
        assert_eq!(address, there);
        tcp.assert_applied(&SockRef::from(&stream));
        let failed = connect_any(vec![other, one], second, tcp).await.unwrap_err();
        assert_eq!(failed.iter().map(|attempt| attempt.address).collect::<Vec<_>>(), [other, one]);
        let refused =
            |attempt: &FailedAttempt| attempt.error.kind() == io::ErrorKind::ConnectionRefused;
        assert!(failed.iter().all(refused), "{failed:?}");
    }

    #[tokio::test]
    async fn the_options_of_the_socket_are_applied() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let user_timeout = Some(Duration::from_secs(7));
        let tcp = TcpOptions { keepalive: Duration::from_secs(5), user_timeout };
        let address = listener.local_addr().unwrap();
        let connecting = connect(address, Duration::from_secs(1), tcp);
        tcp.assert_applied(&SockRef::from(&connecting.await.unwrap()));
    }
}
