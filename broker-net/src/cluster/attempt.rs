//! One attempt to connect to another server: its name is resolved, and its addresses are tried in a random order.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use broker_core::cluster::RouteAddress;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dial::{DialError, connect, in_random_order, resolve};
use crate::random::{Random, random_seed};
use crate::tcp_options::TcpOptions;

/// Maximum time for one address to answer.
// NATS 2.14: DEFAULT_ROUTE_DIAL.
const CONNECT: Duration = Duration::from_secs(1);

/// The pause after which an attempt is repeated beside those that wait for an answer, if the server did not answer before:
/// the kernel repeats one after a second only, and a server that is reachable again is so noticed sooner.
const REPEAT: Duration = Duration::from_millis(250);

/// Maximum time to resolve a name.
const RESOLVE: Duration = Duration::from_secs(10);

/// The outcome of an attempt that did not connect.
#[derive(Debug)]
pub(super) enum NotConnected {
    /// All addresses of the name are this server's.
    Own,
    /// The reason, in the words of Go.
    Failed(String),
}

/// Connects to a server. `own` are the addresses of this server, which are left out if the address is a name: a name may
/// stand for all servers of a cluster. `is_lost`: the server has not answered before.
// NATS 2.14: server.go getRandomIP.
pub(super) async fn connect_to(
    server: &RouteAddress,
    own: &HashSet<SocketAddr>,
    is_lost: bool,
) -> Result<(TcpStream, SocketAddr), NotConnected> {
    let addresses = addresses_of(server, own).await?;
    let mut failed = String::new();
    for address in in_random_order(addresses, &mut Random::new(random_seed())) {
        tracing::debug!("Trying to connect to route on {server} ({address})");
        let connected = match is_lost {
            false => connect(address, CONNECT, TcpOptions::ROUTES).await,
            true => connect_repeatedly(address, REPEAT).await,
        };
        match connected {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failed = format!("dial tcp {address}: {}", in_words_of_go(&error)),
        }
    }
    Err(NotConnected::Failed(failed))
}

/// Waits for a connection that is not TCP, as long as one address has to answer.
pub(super) async fn within<T>(
    connecting: impl Future<Output = io::Result<T>>,
    to: &RouteAddress,
) -> Result<T, NotConnected> {
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected
        .map_err(|error| NotConnected::Failed(format!("dial tcp {to}: {}", in_words_of_go(&error))))
}

/// Connects to an address with several attempts at the same time. The first to end decides; the others are dropped.
async fn connect_repeatedly(address: SocketAddr, repeat: Duration) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut due = tokio::time::interval(repeat);
    loop {
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => {
                return ended.unwrap_or_else(|error| Err(io::Error::other(error)));
            }
            _ = due.tick() => {
                attempts.spawn(connect(address, CONNECT, TcpOptions::ROUTES));
            }
        }
    }
}

async fn addresses_of(
    server: &RouteAddress,
    own: &HashSet<SocketAddr>,
) -> Result<Vec<SocketAddr>, NotConnected> {
    let RouteAddress { host, port, .. } = server;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, *port)]);
    }
    let resolved = tokio::time::timeout(RESOLVE, resolve(host, *port)).await;
    let failed = |why: String| {
        NotConnected::Failed(format!("lookup for host \"{host}\": lookup {host}: {why}"))
    };
    let mut addresses = match resolved {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(DialError::Resolve { source, .. })) => return Err(failed(source.to_string())),
        Ok(Err(_)) => return Err(failed("no such host".to_owned())),
        Err(_) => return Err(failed("i/o timeout".to_owned())),
    };
    // A name of a hosts file may be there twice.
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address) && !own.contains(address));
    if addresses.is_empty() { Err(NotConnected::Own) } else { Ok(addresses) }
}

fn in_words_of_go(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => format!("connect: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn at(host: &str, port: u16) -> RouteAddress {
        RouteAddress { host: host.to_owned(), port, credentials: None }
    }

    #[tokio::test]
    async fn own_addresses_of_a_name_are_left_out_and_addresses_are_dialled_as_they_are() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = address.port();
        let own: HashSet<SocketAddr> =
            [address, SocketAddr::new("::1".parse().unwrap(), port)].into();
        let result = connect_to(&at("localhost", port), &own, false).await;
        assert!(matches!(result, Err(NotConnected::Own)), "{result:?}");
        assert!(connect_to(&at("localhost", port), &HashSet::new(), false).await.is_ok());
        assert!(connect_to(&at("127.0.0.1", port), &own, true).await.is_ok());
    }

    #[tokio::test]
    async fn failures_are_told_in_the_words_of_the_reference() {
        let failure_of = async |server: &RouteAddress, is_lost| match connect_to(
            server,
            &HashSet::new(),
            is_lost,
        )
        .await
        .unwrap_err()
        {
            NotConnected::Failed(why) => why,
            NotConnected::Own => panic!("{server}"),
        };
        let failure = async |server: RouteAddress| {
            let why = failure_of(&server, false).await;
            assert_eq!(failure_of(&server, true).await, why);
            why
        };
        // Bound, but not listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let expected = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(failure(at("127.0.0.1", port)).await, expected);
        let unknown = failure(at("nosuch.invalid", 1)).await;
        let expected = "lookup for host \"nosuch.invalid\": lookup nosuch.invalid: ";
        assert!(unknown.starts_with(expected), "{unknown}");
    }

    #[tokio::test]
    async fn sockets_notice_a_lost_peer_soon() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stream, _) = connect_to(&at("127.0.0.1", port), &HashSet::new(), true).await.unwrap();
        TcpOptions::ROUTES.assert_applied(&socket2::SockRef::from(&stream));
    }

    /// The first attempt is lost, as it is if the other server was not reachable when it was made.
    #[tokio::test(start_paused = true)]
    async fn attempts_are_repeated_while_a_lost_server_does_not_answer() {
        // Its queue of connections that were not accepted is full, so that the kernel drops further attempts.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = socket.listen(0).unwrap();
        let mut full = Vec::new();
        let connect_one = || connect(address, Duration::from_millis(50), TcpOptions::ROUTES);
        while let Ok(stream) = connect_one().await {
            full.push(stream);
        }
        let began = tokio::time::Instant::now();
        let error = connect_repeatedly(address, REPEAT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), CONNECT);
        // There is room again after two attempts; the kernel would repeat neither before they are over.
        let began = tokio::time::Instant::now();
        let accepting = async {
            tokio::time::sleep(REPEAT * 3 / 2).await;
            loop {
                full.push(listener.accept().await.unwrap().0);
            }
        };
        let connected = tokio::select! {
            connected = connect_repeatedly(address, REPEAT) => connected,
            never = accepting => never,
        };
        assert!(connected.is_ok(), "{connected:?}");
        assert_eq!(began.elapsed(), REPEAT * 2);
    }
}
