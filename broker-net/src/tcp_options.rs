//! Options of TCP sockets, accepted and dialled.

use std::time::Duration;

use broker_core::limits::ROUTE_PING;
use socket2::{SockRef, TcpKeepalive};

/// Keepalive detects peers that vanished within 45 seconds of their last byte; PINGs every two minutes take minutes
/// for that. The kernel's timers are late by up to a second each.
const KEEPALIVE: Duration = Duration::from_secs(14);
const KEEPALIVE_PROBES: u32 = 3;
/// Equal to the time of all probes together: the kernel checks it with each of them, so a slightly longer timeout
/// would take another interval.
const USER_TIMEOUT: Duration = Duration::from_secs(42);

const _: () = assert!(USER_TIMEOUT.as_secs() == KEEPALIVE.as_secs() * KEEPALIVE_PROBES as u64);
// The three timers are late by a second each at most.
const _: () = assert!(USER_TIMEOUT.as_secs() + KEEPALIVE_PROBES as u64 <= 45);

/// Routes: a peer that has vanished is noticed within 10 seconds, so that its clients' interest ends and it is dialled
/// again. A silent route is probed, and PINGs on it are not answered. There is no `TCP_USER_TIMEOUT`, which would also
/// end the connection to a server that is alive and does not read: that is for `write_deadline` to decide.
const ROUTE_KEEPALIVE: Duration = Duration::from_secs(2);

// The session closes a route at the fourth PING.
const _: () = assert!(4 * ROUTE_PING.as_secs() < 10);

/// Options of a TCP socket. None of them is vital: a system that lacks one causes no error.
///
/// Connections never delay writes (`TCP_NODELAY`): bytes written together leave together anyway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// The time without a byte from the peer after which the kernel probes it, and the interval of its three
    /// probes. The default is 14 seconds.
    pub keepalive: Duration,
    /// The time for which sent bytes, or a probe, may stay unacknowledged before the connection fails
    /// (`TCP_USER_TIMEOUT`, Linux); `None` for the kernel's, a quarter of an hour. The default is 42 seconds.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { keepalive: KEEPALIVE, user_timeout: Some(USER_TIMEOUT) }
    }
}

impl TcpOptions {
    /// The options of connections between servers.
    pub(crate) const ROUTES: Self = Self { keepalive: ROUTE_KEEPALIVE, user_timeout: None };

    /// Applies the options. Connections inherit them from the socket that accepts them, which spares each of them six
    /// calls.
    pub(crate) fn apply(&self, socket: &SockRef<'_>) {
        let _ = socket.set_tcp_nodelay(true);
        let keepalive = TcpKeepalive::new().with_time(self.keepalive).with_interval(self.keepalive);
        #[cfg(target_os = "linux")]
        let keepalive = keepalive.with_retries(KEEPALIVE_PROBES);
        let _ = socket.set_tcp_keepalive(&keepalive);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(self.user_timeout);
    }

    /// Asserts that a socket has the options.
    #[cfg(test)]
    pub(crate) fn assert_applied(&self, socket: &SockRef<'_>) {
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_user_timeout().unwrap(), self.user_timeout);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), self.keepalive);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), self.keepalive);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        }
    }
}
