//! Connects to a server repeatedly.

use std::fmt;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::connect::{connect_any, in_random_order, resolve};
use super::connection::DialedConnection;
use super::error::DialError;
use super::options::DialOptions;
use super::tls::DialTls;
use crate::advertise::Advertise;
use crate::clock;
use crate::random::Random;

/// Connects to one server: [once](Self::dial), or [repeatedly](Self::next) with pauses in between.
///
/// It has no task: dropping it, or the future of one of its methods, stops its work.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use broker_net::{DialOptions, Dialer};
/// use tokio::io::AsyncWriteExt;
///
/// let server = broker_net::Server::builder().bind().await?;
/// let mut dialer = Dialer::new(&server.local_addr().to_string(), DialOptions::default())?;
/// let mut connection = dialer.next().await?; // waits after a failure, or a connection that ended
///
/// let info = connection.read_line(64 << 10).await?;
/// assert!(info.starts_with(b"INFO {"));
/// connection.write_all(b"PING\r\n").await?;
/// assert_eq!(connection.read_line(1024).await?, b"PONG");
/// # Ok(()) }
/// ```
pub struct Dialer {
    host: String,
    port: u16,
    options: DialOptions,
    tls: DialTls,
    backoff: Backoff,
    random: Random,
    /// The pause due after the previous attempt.
    pause: Duration,
    /// The earliest time of the next attempt.
    not_before: Option<Instant>,
    /// The time at which the previous attempt succeeded.
    connected_at: Option<Instant>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, backoff, .. } = self;
        f.debug_struct("Dialer")
            .field("server", &self.server())
            .field("options", options)
            .field("backoff", backoff)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Creates a dialer for `nats.example:4222`, `1.2.3.4:4222` or `[::1]:4222`. Does not connect yet.
    ///
    /// # Errors
    ///
    /// [`DialError`] if the text is not a host with a port, or the TLS options are invalid.
    pub fn new(server: &str, options: DialOptions) -> Result<Self, DialError> {
        let invalid = || DialError::InvalidServer(server.to_owned());
        let Advertise { host, port } = server.parse().map_err(|_| invalid())?;
        let port = port.ok_or_else(invalid)?;
        Ok(Self {
            tls: DialTls::build(&options, &host)?,
            host,
            port,
            backoff: options.backoff.clone(),
            random: Random::new(options.seed),
            options,
            pause: Duration::ZERO,
            not_before: None,
            connected_at: None,
        })
    }

    /// Returns the host and the port.
    pub fn server(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }

    /// Connects once, without a pause. Resolves the name each time, and tries its addresses in a random order.
    ///
    /// # Errors
    ///
    /// [`DialError`] names the failed step, and each address that was tried.
    ///
    /// # Cancel safety
    ///
    /// A future dropped before it completes leaves no connection behind.
    pub async fn dial(&mut self) -> Result<DialedConnection, DialError> {
        let after = self.options.timeout;
        let dialed = tokio::time::timeout(after, self.connect()).await;
        dialed.unwrap_or_else(|_| Err(DialError::Timeout { server: self.server(), after }))
    }

    /// Waits for the due pause, if any, and connects once. Call it again after a failure, and when the connection has
    /// ended; the caller decides when to give up, for instance by the number of [pauses](Self::pauses).
    ///
    /// The first call does not wait. After a connection that lasted, pauses begin with the shortest.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::dial`] does.
    ///
    /// # Cancel safety
    ///
    /// A future dropped before it completes leaves no connection behind and does not shorten the pause: a caller that
    /// drops it and calls again does not dial more often.
    pub async fn next(&mut self) -> Result<DialedConnection, DialError> {
        if let Some(since) = self.connected_at.take() {
            let now = clock::now();
            if self.backoff.note_lasted(now.saturating_duration_since(since)) {
                self.pause = self.backoff.pause();
            }
            self.not_before = Some(after(now, self.pause));
        }
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        // Counts as a failure until it succeeds: the future may be dropped in the middle.
        self.pause = self.backoff.pause();
        self.not_before = Some(after(clock::now(), self.pause));
        let dialed = self.dial().await;
        self.not_before = Some(after(clock::now(), self.pause));
        self.connected_at = dialed.is_ok().then(clock::now);
        dialed
    }

    /// Returns the number of attempts since the last connection that lasted.
    pub fn pauses(&self) -> u32 {
        self.backoff.pauses()
    }

    async fn connect(&mut self) -> Result<DialedConnection, DialError> {
        let addresses = resolve(&self.host, self.port).await?;
        let addresses = in_random_order(addresses, &mut self.random);
        let DialOptions { connect_timeout, tcp, .. } = self.options;
        let connecting = connect_any(addresses, connect_timeout, tcp).await;
        let failed = |attempts| DialError::Connect { server: self.server(), attempts };
        let (stream, remote) = connecting.map_err(failed)?;
        self.tls.admit(stream, remote, || self.server()).await
    }
}

/// Returns the end of a delay. One that the clock cannot represent ends in thirty years.
fn after(now: Instant, delay: Duration) -> Instant {
    const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now.checked_add(delay).unwrap_or(now + THIRTY_YEARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delay_without_end_does_not_overflow_the_clock() {
        let backoff = Backoff::new(Duration::MAX, Duration::MAX);
        let options = DialOptions { backoff, ..DialOptions::default() };
        let mut dialer = Dialer::new("127.0.0.1:1", options).unwrap();
        assert!(dialer.next().await.is_err(), "no server listens at port 1");
        assert!(dialer.not_before > Some(clock::now() + Duration::from_secs(1_000_000)));
        assert_eq!(
            after(clock::now(), Duration::ZERO).saturating_duration_since(clock::now()),
            Duration::ZERO
        );
    }
}
