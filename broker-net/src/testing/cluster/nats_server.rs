//! A nats-server as a process of a test.
#![allow(
    clippy::disallowed_types,
    reason = "this is the test kit, which starts a program if a test names one"
)]

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use broker_core::{Subject, SubjectFilter};
use tokio::sync::oneshot;

use super::{CLUSTER, monitor};
use crate::testing::start_error::StartError;

/// Maximum time of the program to become ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lines of the log that are kept for an error.
const LINES: usize = 20;

/// The ports of a server at `127.0.0.1`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) route: u16,
    pub(super) monitor: u16,
}

/// A running process. Dropping it kills it, and waits until it has ended, which takes some milliseconds: its ports are
/// free then.
#[derive(Debug)]
pub(super) struct NatsServer {
    process: Mutex<Child>,
    said: Said,
}

/// The facts about a server that its log contains.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Said {
    id: String,
    version: String,
    ports: Ports,
    is_ready: bool,
}

impl Said {
    /// Reads a line of the log.
    fn note(&mut self, line: &str) {
        let port = |start: &str| {
            let (_, address) = line.split_once(start)?;
            address.trim_end().rsplit_once(':')?.1.parse().ok()
        };
        let value = |start: &str| Some(line.split_once(start)?.1.trim().to_owned());
        if let Some(id) = value("[INF]   ID:") {
            self.id = id;
        } else if let Some(version) = value("[INF]   Version:") {
            self.version = version;
        } else if let Some(port) = port("Starting http monitor on ") {
            self.ports.monitor = port;
        } else if let Some(port) = port("Listening for client connections on ") {
            self.ports.client = port;
        } else if let Some(port) = port("Listening for route connections on ") {
            self.ports.route = port;
        } else if line.contains("Server is ready") {
            self.is_ready = true;
        }
    }

    fn is_complete(&self) -> bool {
        let Ports { client, route, monitor } = self.ports;
        self.is_ready && client > 0 && route > 0 && monitor > 0 && !self.id.is_empty()
    }
}

impl NatsServer {
    /// Starts the program, at these ports or any, and returns when clients and other servers can connect.
    pub(super) async fn start(
        program: PathBuf,
        name: &str,
        ports: Option<Ports>,
        routes: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let mut process = spawn(&program, name, ports, routes)?;
        let log = process.stderr.take();
        let mut server = Self { process: Mutex::new(process), said: Said::default() };
        let Some(log) = log else { return Err(failed(program, "it has no log")) };
        match ready(log).await {
            Ok(said) => server.said = said,
            Err(why) => return Err(failed(program, &why)),
        }
        Ok(server)
    }

    pub(super) fn ports(&self) -> Ports {
        self.said.ports
    }

    pub(super) fn id(&self) -> &str {
        &self.said.id
    }

    /// Returns false if it has one route to each server.
    pub(super) fn has_pools(&self) -> bool {
        has_pools_in(&self.said.version)
    }

    /// Returns the id of the other server of each route.
    pub(super) fn remote_ids(&self) -> Option<Vec<String>> {
        let page = monitor::get(self.said.ports.monitor, "/routez").ok()?;
        Some(monitor::members(&page, "remote_id"))
    }

    /// Returns true if a client of it, or another server, has a subscription that matches.
    pub(super) fn has_interest(&self, subject: &Subject) -> bool {
        let filters = |path| {
            let page = monitor::get(self.said.ports.monitor, path).unwrap_or_default();
            monitor::lists(&page, "subscriptions_list")
        };
        let mut filters = filters("/routez?subs=1").into_iter().chain(filters("/connz?subs=1"));
        filters.any(|filter| SubjectFilter::parse(filter).is_ok_and(|it| it.matches(subject)))
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Returns true from version 2.10 on.
fn has_pools_in(version: &str) -> bool {
    let minor = version.strip_prefix("2.").and_then(|rest| rest.split('.').next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_none_or(|minor| minor >= 10)
}

fn spawn(
    program: &Path,
    name: &str,
    ports: Option<Ports>,
    routes: &[SocketAddr],
) -> Result<Child, StartError> {
    let port = |port: fn(&Ports) -> u16| ports.as_ref().map_or(-1, |ports| i32::from(port(ports)));
    let routes: Vec<String> = routes.iter().map(|at| format!("nats-route://{at}")).collect();
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-n", name, "--cluster_name", CLUSTER]);
    command.arg("-p").arg(port(|ports| ports.client).to_string());
    command.arg("-m").arg(port(|ports| ports.monitor).to_string());
    command.arg("--cluster").arg(format!("nats://127.0.0.1:{}", port(|ports| ports.route)));
    if !routes.is_empty() {
        command.arg("--routes").arg(routes.join(","));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StartError::NoNatsServer { program: program.to_owned() },
        _ => failed(program.to_owned(), &error.to_string()),
    })
}

fn failed(program: PathBuf, why: &str) -> StartError {
    StartError::NatsServer { program, why: why.trim_end().to_owned() }
}

/// Reads the log until the server is ready; then, on a thread that ends with it, until its end.
async fn ready(log: ChildStderr) -> Result<Said, String> {
    let (line, lines) = mpsc::channel();
    let read = move || {
        for next in BufReader::new(log).lines().map_while(Result::ok) {
            // The caller does not wait any more.
            let _ = line.send(next);
        }
    };
    let (sender, receiver) = oneshot::channel();
    let threads = [named(read), named(move || drop(sender.send(follow(&lines, PATIENCE))))];
    for started in threads {
        started.map_err(|error| error.to_string())?;
    }
    receiver.await.unwrap_or_else(|_| Err("its log cannot be read".to_owned()))
}

fn named(task: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("test-nats-server".into()).spawn(task)
}

/// Reads lines until the server is ready; the error is the end of the log, also if the server takes longer than
/// `patience`.
fn follow(lines: &mpsc::Receiver<String>, patience: Duration) -> Result<Said, String> {
    let (mut said, mut last) = (Said::default(), VecDeque::new());
    let deadline = Instant::now() + patience;
    while !said.is_complete() {
        let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        else {
            let last: Vec<String> = last.into();
            return Err(last.join("\n"));
        };
        said.note(&line);
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_ports_id_and_version() {
        let mut said = Said::default();
        for line in [
            "[1] 2026/11/29 07:12:29.024960 [INF] Starting nats-server",
            "[1] 2026/11/29 07:12:29.025013 [INF]   Version:  2.9.10",
            "[1] 2026/11/29 07:12:29.025018 [INF]   ID:       NAZPVQDW",
            "[1] 2026/11/29 07:12:29.025384 [INF] Starting http monitor on 127.0.0.1:37125",
            "[1] 2026/11/29 07:12:29.025470 [INF] Listening for client connections on 127.0.0.1:36473",
            "[1] 2026/11/29 07:12:29.025473 [INF] Server is ready",
        ] {
            said.note(line);
            assert!(!said.is_complete(), "it does not accept routes yet");
        }
        said.note(
            "[1] 2026/11/29 07:12:29 [INF] Listening for route connections on 127.0.0.1:45201",
        );
        assert!(said.is_complete());
        let ports = Ports { client: 36473, route: 45201, monitor: 37125 };
        assert_eq!((said.ports, &*said.id, &*said.version), (ports, "NAZPVQDW", "2.9.10"));
    }
    #[test]
    fn a_server_that_does_not_become_ready_is_given_up_with_the_end_of_its_log() {
        let (line, lines) = mpsc::channel();
        for number in 0..30 {
            line.send(format!("line {number}")).unwrap();
        }
        let told = follow(&lines, Duration::from_millis(1)).unwrap_err();
        let told: Vec<&str> = told.lines().collect();
        assert_eq!((told.len(), told[0], told[19]), (LINES, "line 10", "line 29"));
    }

    #[test]
    fn versions_before_2_10_have_no_pools() {
        for (version, has_pools) in [("2.9.10", false), ("2.14.5", true), ("0.1.0", true)] {
            assert_eq!(has_pools_in(version), has_pools, "{version}");
        }
    }
}
