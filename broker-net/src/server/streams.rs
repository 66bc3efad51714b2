//! Streams of a server.

use broker_core::Broker;
use broker_streams::service::{Options, Streams};

use super::Server;
use crate::listen::{BindError, Cause};
use crate::options::ServerOptions;

/// Recovers the streams, on a thread that may wait for the disk.
pub(super) async fn start(
    broker: &Broker,
    wanted: Options,
    options: &ServerOptions,
) -> Result<Streams, BindError> {
    let of_streams = broker.clone();
    let started = tokio::task::spawn_blocking(move || Streams::start(&of_streams, wanted)).await;
    let started = started.map_err(std::io::Error::other).and_then(|started| started);
    started.map_err(|error| BindError::of_clients(options, Cause::Streams(error)))
}

/// Recovers the streams, and serves them by a task of the runtime: by its clock, which a test may move, and without threads.
#[cfg(feature = "testing")]
pub(super) fn start_in_test(
    broker: &Broker,
    wanted: Options,
    disk: Option<&broker_streams::testing::TestDisk>,
) -> std::io::Result<Streams> {
    use broker_streams::service::Due;

    let woken = std::sync::Arc::new(tokio::sync::Notify::new());
    let waker = std::sync::Arc::clone(&woken);
    let wake = move || waker.notify_one();
    let (streams, work) = Streams::start_without_threads(broker, wanted, disk, wake)?;
    tokio::spawn(async move {
        loop {
            match work.turn() {
                Due::Now => tokio::task::yield_now().await,
                Due::WhenWoken => woken.notified().await,
                Due::After(time) => drop(tokio::time::timeout(time, woken.notified()).await),
                Due::Never => return,
            }
        }
    });
    Ok(streams)
}

/// The longest wait at the start for the claims of accounts that have stored streams.
// NATS 2.14: accounts.go DEFAULT_ACCOUNT_FETCH_TIMEOUT.
#[cfg(feature = "jwt")]
const LOOKUP: std::time::Duration = std::time::Duration::from_millis(1900);

/// Lets the accounts of an operator have the streams that their claims allow. Those that have stored streams are looked
/// up at once, so that the streams are at work before a client of the account connects.
// NATS 2.14: jetstream.go configAllJetStreamAccounts.
#[cfg(feature = "jwt")]
pub(super) async fn follow_claims(
    streams: &Streams,
    broker: &Broker,
    mode: &broker_core::operator::OperatorMode,
) -> std::io::Result<()> {
    use broker_streams::config::limits::AccountLimits;

    let (setter, system) = (streams.account_setter(), broker.system_account());
    let of_claims = setter.clone();
    mode.set_listener(move |key, claims| match claims {
        _ if *key == *system => {}
        Some(claims) => {
            of_claims.set(key, AccountLimits::from_claims(&claims.nats.limits.other));
        }
        None => of_claims.remove(key),
    });
    let (tell, mut told) = tokio::sync::mpsc::channel::<()>(1);
    for key in streams.stored_accounts()? {
        let tell = tell.clone();
        mode.load_account(&key, move |_| drop(tell));
    }
    drop(tell);
    // The channel closes when all are looked up. The streams of an account that is not found in time begin when it is.
    let _ = tokio::time::timeout(LOOKUP, told.recv()).await;
    tokio::task::spawn_blocking(move || setter.settle()).await.map_err(std::io::Error::other)
}

impl Server {
    /// Returns the streams; `None` without.
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.as_deref()
    }

    /// Ends the streams, off the threads of the runtime: the disk may take long.
    pub(super) async fn end_streams(&self) {
        let Some(streams) = self.streams.clone() else { return };
        if streams.has_threads() {
            // It has not panicked, or the panic has reported itself.
            let _ = tokio::task::spawn_blocking(move || streams.end()).await;
        } else {
            streams.end();
        }
    }
}
