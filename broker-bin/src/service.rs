//! Runs a daemon and handles its signals.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::logging::Logging;
use crate::memory;
use crate::reload::{ReloadError, Reloaded};
use crate::signals::{Signal, Signals};
use crate::systemd::Notifier;

/// The extension requested from the service manager, and the interval of the requests. Each request
/// expires after the extension.
const EXTENSION: Duration = Duration::from_secs(30);
const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// A daemon, its signals and its service manager.
pub(crate) struct Service<'a> {
    pub(crate) daemon: Daemon,
    pub(crate) signals: Signals,
    pub(crate) log: &'a Logging,
    pub(crate) manager: &'a Notifier,
}

impl Service<'_> {
    /// Serves until a signal stops it, or until all clients have left in lame duck mode.
    pub(crate) async fn run(mut self) -> ExitCode {
        let serving = async {
            self.daemon.serve_requests().await;
            pending::<Infallible>().await
        };
        tokio::select! {
            () = heed(&self.daemon, &mut self.signals, self.log, self.manager) => {}
            never = serving => match never {},
            never = memory::look_after(self.daemon.broker()) => match never {}
        }
        let Self { daemon, mut signals, log, manager } = self;
        signals.note_ending();
        manager.stopping();
        tokio::select! {
            () = daemon.stop() => ExitCode::SUCCESS,
            // A second request to stop does not wait for blocked clients.
            () = until_told_again(&mut signals, log) => ExitCode::FAILURE,
        }
    }
}

/// An operation in progress while signals are handled.
type Ongoing<'a, T> = Option<Pin<Box<dyn Future<Output = T> + 'a>>>;

/// Waits for the end of the operation; forever if there is none.
async fn end<T>(ongoing: &mut Ongoing<'_, T>) -> T {
    match ongoing {
        Some(ongoing) => ongoing.await,
        None => pending().await,
    }
}

/// Handles signals until one requests the end, or lame duck mode is over.
async fn heed(daemon: &Daemon, signals: &mut Signals, log: &Logging, manager: &Notifier) {
    let mut reloading: Ongoing<'_, Result<Reloaded, ReloadError>> = None;
    let mut must_reload_again = false;
    let mut leaving: Ongoing<'_, ()> = None;
    let mut was_told_to_end = false;
    loop {
        let is_leaving = leaving.is_some();
        let signal = tokio::select! {
            biased;
            signal = signals.next() => signal,
            result = end(&mut reloading) => {
                report(result);
                reloading = std::mem::take(&mut must_reload_again)
                    .then(|| Box::pin(daemon.reload()) as Pin<Box<dyn Future<Output = _>>>);
                if reloading.is_none() && !is_leaving {
                    manager.ready();
                }
                continue;
            }
            () = end(&mut leaving) => return,
            () = tokio::time::sleep(EXTEND_EVERY), if is_leaving => {
                manager.still_stopping(EXTENSION);
                continue;
            }
        };
        trapped(signal);
        match signal {
            Signal::Interrupt => return,
            // NATS 2.14: signal.go: ignored in lame duck mode, because Kubernetes and systemd send
            // it right after starting that mode. A second one ends the server.
            Signal::Terminate if is_leaving && !was_told_to_end => {
                was_told_to_end = true;
                tracing::info!(
                    "Lame duck mode continues; a second signal of this kind ends it at once"
                );
            }
            Signal::Terminate => return,
            Signal::User1 => reopen(log),
            Signal::User2 if is_leaving => {}
            Signal::User2 => {
                manager.stopping();
                manager.still_stopping(EXTENSION);
                leaving = Some(Box::pin(daemon.lame_duck()));
            }
            // The configuration just read may be older than the file this signal refers to.
            Signal::Hangup if reloading.is_some() => must_reload_again = true,
            Signal::Hangup => {
                if !is_leaving {
                    manager.reloading();
                }
                reloading = Some(Box::pin(daemon.reload()));
            }
        }
    }
}

async fn until_told_again(signals: &mut Signals, log: &Logging) {
    loop {
        let signal = signals.next().await;
        trapped(signal);
        match signal {
            Signal::Interrupt | Signal::Terminate => return,
            Signal::User1 => reopen(log),
            // Ignored as too late, as in nats-server.
            Signal::Hangup | Signal::User2 => {}
        }
    }
}

fn trapped(signal: Signal) {
    tracing::info!("Trapped {:?} signal", signal.name());
}

fn report(result: Result<Reloaded, ReloadError>) {
    if result.as_ref().map_or(true, |reloaded| reloaded.was_read) {
        memory::give_back_soon();
    }
    if let Err(error) = result {
        for reason in error.to_string().lines() {
            tracing::error!("Failed to reload server configuration: {reason}");
        }
    }
}

fn reopen(log: &Logging) {
    match log.reopen() {
        Ok(true) => tracing::info!("File log re-opened"),
        Ok(false) => tracing::info!("File log re-open ignored, not a file logger"),
        Err(error) => tracing::error!("File log could not be re-opened: {error}"),
    }
}
