//! Notifies the service manager of the program's state, in systemd's protocol (`sd_notify(3)`):
//! datagrams to the socket named in the environment. Does nothing without one.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The socket of the service manager, if any.
#[derive(Debug, Default)]
pub(crate) struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Opens the socket named in the environment.
    pub(crate) fn from_env() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        match connect(address) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::warn!("Could not reach the service manager: {error}");
                Self(None)
            }
        }
    }

    /// Reports that the start or a reload is complete.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that a reload begins; [`ready`](Self::ready) must follow, regardless of the outcome.
    pub(crate) fn reloading(&self) {
        // The time distinguishes this reload from earlier ones.
        let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
        let micros = Duration::from(now).as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Reports that the program is about to end.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Requests more time to end.
    pub(crate) fn still_stopping(&self, time: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// Reports twice per watchdog interval that the program is alive, while `is_well` returns true.
    /// Never returns.
    ///
    /// It must run on the runtime that serves clients: it falls silent when the whole runtime is
    /// blocked, and through `is_well` when a single thread is.
    pub(crate) async fn watchdog(self: Arc<Self>, interval: Duration, is_well: impl Fn() -> bool) {
        let mut tick = tokio::time::interval(interval / 2);
        loop {
            tick.tick().await;
            if is_well() {
                self.send("WATCHDOG=1");
            }
        }
    }

    /// Never blocks: a manager that does not read its socket must not stop the server.
    fn send(&self, state: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!("Could not notify the service manager of {state:?}: {error}");
        }
    }
}

/// Returns the interval of the watchdog, if enabled.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let var = |name| std::env::var(name).ok();
    interval(var("WATCHDOG_USEC").as_deref(), var("WATCHDOG_PID").as_deref(), std::process::id())
}

fn interval(micros: Option<&str>, pid: Option<&str>, this: u32) -> Option<Duration> {
    // Meant for another process, such as the shell that started this one.
    if pid.is_some_and(|pid| pid.parse() != Ok(this)) {
        return None;
    }
    let micros = micros?.parse().ok()?;
    (micros > 1).then(|| Duration::from_micros(micros))
}

fn connect(address: OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        if let Some(name) = address.as_bytes().strip_prefix(b"@") {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.connect_addr(&address)?;
            return Ok(socket);
        }
    }
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_for_this_process_only() {
        let second = Some(Duration::from_secs(1));
        for (micros, pid, expected) in [
            (Some("1000000"), None, second),
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), Some("8"), None),
            (Some("1000000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(interval(micros, pid, 7), expected, "{micros:?} {pid:?}");
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let nobody = Notifier::default();
        nobody.ready();
        nobody.reloading();
        nobody.stopping();
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier(Some(connect(path.into()).unwrap()));
        // More than any socket buffers.
        for _ in 0..100_000 {
            notifier.ready();
        }
        let mut buffer = [0; 16];
        assert_eq!(manager.recv(&mut buffer).unwrap(), "READY=1".len());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_socket_may_have_no_file() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("natsd-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier(Some(connect(format!("@{name}").into()).unwrap()));
        notifier.stopping();
        let mut buffer = [0; 16];
        let len = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"STOPPING=1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_notified_twice_per_interval() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Arc::new(Notifier(Some(connect(path.into()).unwrap())));
        let began = tokio::time::Instant::now();
        let signs = || {
            let mut buffer = [0; 16];
            let mut signs = 0;
            while manager.recv(&mut buffer).is_ok_and(|len| &buffer[..len] == b"WATCHDOG=1") {
                signs += 1;
            }
            signs
        };
        let watchdog = Arc::clone(&notifier).watchdog(Duration::from_secs(10), || true);
        let _ = tokio::time::timeout(Duration::from_secs(31), watchdog).await;
        // At 0, 5, 10 … 30 seconds.
        assert_eq!(signs(), 7);
        // Silent while a thread is blocked, and resumed afterwards.
        let began_again = began.elapsed();
        let is_well = || (began.elapsed() - began_again).as_secs() >= 20;
        let watchdog = notifier.watchdog(Duration::from_secs(10), is_well);
        let _ = tokio::time::timeout(Duration::from_secs(31), watchdog).await;
        assert_eq!(signs(), 3);
    }
}
