//! Signals of the operating system. Only the program installs handlers, never the library.
//!
//! A dedicated thread waits for signals, and another one for the time in which the program must end, so that the program
//! reacts and ends even if all threads that serve clients are blocked.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc as channel};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as SystemSignal};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::logging::Logging;

/// Time in which the program must end after a signal. Closing clients takes a second at most, so
/// that only blocked threads exceed it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same after a second signal.
const PATIENCE_WHEN_TOLD_AGAIN: Duration = Duration::from_secs(1);

/// Maximum time to wait for a log that a blocked thread holds.
const LAST_LINE: Duration = Duration::from_secs(1);

/// A handled signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Hangup,
    User1,
    User2,
}

impl Signal {
    /// The name in nats-server's log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Terminate => "terminated",
            Self::Hangup => "hangup",
            Self::User1 => "user defined signal 1",
            Self::User2 => "user defined signal 2",
        }
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Interrupt | Self::Terminate)
    }
}

/// Leaves signals to the thread that waits for them: this thread, and those that it starts from now on, do not take them. Signals that
/// come before [`Signals::listen`] wait.
///
/// # Errors
/// If the system refuses, which it has no reason to.
pub(crate) fn leave_to_own_thread() -> io::Result<()> {
    Ok(handled().thread_block()?)
}

/// The signals that natsd handles.
fn handled() -> SigSet {
    use SystemSignal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2].into_iter().collect()
}

/// Waits for a signal, which all threads must [leave to this one](leave_to_own_thread).
///
/// Of several that have come, Linux returns the one with the lowest number first: SIGUSR2 before the SIGTERM that Kubernetes and
/// systemd send as soon as their hook has sent SIGUSR2. Only in lame duck mode is that SIGTERM ignored. Handlers of signals would
/// not keep this order: they run on top of each other, and report to threads that start in any order.
fn wait(signals: &SigSet) -> io::Result<Signal> {
    loop {
        return Ok(match signals.wait()? {
            SystemSignal::SIGINT => Signal::Interrupt,
            SystemSignal::SIGTERM => Signal::Terminate,
            SystemSignal::SIGHUP => Signal::Hangup,
            SystemSignal::SIGUSR1 => Signal::User1,
            SystemSignal::SIGUSR2 => Signal::User2,
            _ => continue,
        });
    }
}

/// All handled signals.
pub(crate) struct Signals {
    coming: mpsc::UnboundedReceiver<Signal>,
    progress: Arc<Progress>,
}

/// The progress of the program in handling signals that may end it.
#[derive(Debug, Default)]
struct Progress {
    /// The number of signals received, and of those handled.
    come: AtomicU64,
    taken: AtomicU64,
    is_ending: AtomicBool,
}

impl Progress {
    /// Returns true if the program must end, as far as known.
    fn must_end(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
            || self.taken.load(Ordering::Acquire) < self.come.load(Ordering::Acquire)
    }
}

impl Signals {
    /// Begins to wait for signals, which all threads must [leave to it](leave_to_own_thread). The process ends in time after a signal
    /// that requests it; `log` reports if that takes force.
    pub(crate) fn listen(log: &Logging) -> io::Result<Self> {
        let (send, coming) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::unbounded_channel();
        let progress = Arc::<Progress>::default();
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        let (log, of_thread) = (log.clone(), Arc::clone(&progress));
        std::thread::Builder::new().name("natsd-deadline".into()).spawn(move || {
            runtime.block_on(until_overdue(told, &send, &of_thread));
            end_by_force(log);
        })?;
        std::thread::Builder::new().name("natsd-signals".into()).spawn(move || {
            let signals = handled();
            loop {
                match wait(&signals) {
                    Ok(signal) if tell.send(signal).is_ok() => {}
                    Ok(_) => return,
                    Err(error) => return tracing::error!("Could not wait for signals: {error}"),
                }
            }
        })?;
        Ok(Self { coming, progress })
    }

    /// Waits for the next signal. Cancel safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Signal {
        let Some(signal) = self.coming.recv().await else { return std::future::pending().await };
        if signal.may_end() {
            self.progress.taken.fetch_add(1, Ordering::AcqRel);
        }
        signal
    }

    /// Records that the program is about to end.
    pub(crate) fn note_ending(&self) {
        self.progress.is_ending.store(true, Ordering::Release);
    }
}

/// Passes signals on until the program is overdue to end.
async fn until_overdue(
    mut system: mpsc::UnboundedReceiver<Signal>,
    send: &mpsc::UnboundedSender<Signal>,
    progress: &Progress,
) {
    let mut deadline: Option<Instant> = None;
    loop {
        let overdue = deadline.unwrap_or_else(Instant::now);
        let signal = tokio::select! {
            biased;
            Some(signal) = system.recv() => signal,
            () = sleep_until(overdue), if deadline.is_some() => {
                if progress.must_end() {
                    return;
                }
                // The signal was ignored, as the first one is in lame duck mode.
                deadline = None;
                continue;
            }
            // No signals come any more.
            else => return std::future::pending().await,
        };
        if signal.may_end() {
            let patience = if progress.must_end() { PATIENCE_WHEN_TOLD_AGAIN } else { PATIENCE };
            let next = Instant::now() + patience;
            deadline = Some(deadline.map_or(next, |before| before.min(next)));
            progress.come.fetch_add(1, Ordering::AcqRel);
        }
        // Without a receiver only this thread is left.
        let _ = send.send(signal);
    }
}

fn end_by_force(log: Logging) -> ! {
    let (tell, told) = channel::channel();
    // A blocked thread may hold a lock that the log needs.
    let saying = std::thread::Builder::new().spawn(move || {
        tracing::error!("The program has not ended in time: ended by force");
        log.flush();
        let _ = tell.send(());
    });
    if saying.is_ok() {
        let _ = told.recv_timeout(LAST_LINE);
    }
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the time until force is used, for signals half a second apart, each handled by
    /// `heed`.
    async fn overdue_after(signals: &[Signal], heed: impl Fn(&mut Signals)) -> Option<Duration> {
        let (tell, system) = mpsc::unbounded_channel();
        let (send, coming) = mpsc::unbounded_channel();
        let progress = Arc::<Progress>::default();
        let mut program = Signals { coming, progress: Arc::clone(&progress) };
        let began = Instant::now();
        let telling = async {
            for signal in signals {
                tell.send(*signal).unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
                heed(&mut program);
            }
            std::future::pending::<()>().await;
        };
        let overdue = until_overdue(system, &send, &progress);
        tokio::select! {
            () = overdue => Some(began.elapsed()),
            () = telling => None,
            () = tokio::time::sleep(Duration::from_mins(1)) => None,
        }
    }

    fn takes(signals: &mut Signals) {
        while let Ok(signal) = signals.coming.try_recv() {
            if signal.may_end() {
                signals.progress.taken.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn ends(signals: &mut Signals) {
        takes(signals);
        signals.note_ending();
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_program_is_killed_and_sooner_after_a_second_signal() {
        use Signal::{Hangup, Interrupt, Terminate, User2};
        let millis = |millis| Some(Duration::from_millis(millis));
        for (signals, expected) in [
            (&[Interrupt][..], millis(5000)),
            (&[Terminate], millis(5000)),
            (&[Terminate, Interrupt], millis(1500)),
            (&[Terminate, Hangup, User2, Terminate], millis(2500)),
            (&[Hangup, User2], None),
        ] {
            // Once with a block before the signal is handled, once while ending.
            assert_eq!(overdue_after(signals, |_| ()).await, expected, "{signals:?}");
            if expected.is_some() {
                assert_eq!(overdue_after(signals, ends).await, expected, "{signals:?}");
            }
            // Lame duck mode ignores the first one.
            if signals.len() == 1 {
                assert_eq!(overdue_after(signals, takes).await, None, "{signals:?}");
            }
        }
    }

    #[test]
    fn lame_duck_mode_is_noticed_before_the_sigterm_that_came_with_it() {
        use nix::sys::signal::raise;

        let waiting = std::thread::spawn(|| {
            leave_to_own_thread().unwrap();
            // Both are pending for this thread.
            raise(SystemSignal::SIGTERM).unwrap();
            raise(SystemSignal::SIGUSR2).unwrap();
            [wait(&handled()).unwrap(), wait(&handled()).unwrap()]
        });
        assert_eq!(waiting.join().unwrap(), [Signal::User2, Signal::Terminate]);
    }
}
