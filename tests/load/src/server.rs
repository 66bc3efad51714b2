//! The server under load, in its own process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::carrier::Way;
use crate::fault::{During, Fault};
use crate::procfs::{self, Memory, Ticks};
use crate::setting::Setting;
use crate::wire::{Address, Wire};

/// Timeout of the start.
const START: Duration = Duration::from_secs(10);

/// The time for interest to arrive at the other server of a cluster.
const INTEREST: Duration = Duration::from_millis(500);

/// Lines of its log kept for errors.
const LOG_LINES: usize = 8;

/// A command that starts a server when `-a` and `-p` are appended.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The name in tables.
    pub(crate) name: String,
    program: String,
    args: Vec<String>,
    relay: bool,
}

impl Recipe {
    /// Parses a command line, split at blanks.
    pub(crate) fn parse(command: &str) -> Result<Self, Fault> {
        let mut words = command.split_ascii_whitespace().map(str::to_owned);
        let program = words.next().ok_or_else(|| Fault::Usage("no server given".into()))?;
        let name = Path::new(&program).file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            program,
            args: words.collect(),
            relay: false,
        })
    }

    /// Starts this program as a relay that parses nothing.
    pub(crate) fn relay() -> Result<Self, Fault> {
        let program = std::env::current_exe().during("finding our own path")?;
        let program = program.to_string_lossy().into_owned();
        Ok(Self { name: "relay".into(), program, args: vec!["relay".into()], relay: true })
    }

    /// Returns true for the relay, which does not support all scenarios.
    pub(crate) fn is_relay(&self) -> bool {
        self.relay
    }

    /// Appends further arguments.
    pub(crate) fn append(&mut self, args: &str) {
        self.args.extend(args.split_ascii_whitespace().map(str::to_owned));
    }

    /// Returns the server's version output.
    pub(crate) fn version(&self) -> String {
        if self.is_relay() {
            return "a relay that parses nothing".into();
        }
        let output = Command::new(&self.program).arg("-v").stdin(Stdio::null()).output();
        let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    }

    /// Starts the server, and returns when it accepts connections.
    ///
    /// # Errors
    /// It exits, or the timeout expires.
    pub(crate) fn start(&self) -> Result<Server, Fault> {
        self.start_by(Way::Plain)
    }

    /// Like [`start`](Self::start), for clients of this transport.
    pub(crate) fn start_by(&self, way: Way) -> Result<Server, Fault> {
        if way != Way::Cluster {
            return self.start_one(way, &[]);
        }
        let [near, far] = [free_address()?, free_address()?];
        let url = |address| format!("nats://{address}");
        let words = ["-cluster_name", "load", "-cluster"].map(String::from);
        let mut server = self.start_one(way, &[&words[..], &[url(near)]].concat())?;
        let routes = [url(far), "-routes".into(), url(near)];
        let behind = self.start_one(way, &[&words[..], &routes].concat())?;
        server.behind = Some(Box::new(behind));
        server.await_route()?;
        Ok(server)
    }

    /// Starts one server with further arguments.
    fn start_one(&self, way: Way, more: &[String]) -> Result<Server, Fault> {
        let plain = free_address()?;
        let socket = if way == Way::WebSocket { free_address()? } else { plain };
        let setting = Setting::new(way, socket)?;
        let setting_args = setting.iter().flat_map(|setting| setting.args(way));
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .args(more)
            .args(["-a", "127.0.0.1", "-p", &plain.port().to_string()])
            .args(setting_args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during("starting the server")?;
        let log = Log::default();
        if let Some(stdout) = child.stdout.take() {
            log.follow(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            log.follow(stderr);
        }
        let pid = Pid::from_raw(child.id().cast_signed());
        let clock = ClockId::pid_cpu_clock_id(pid).map_err(std::io::Error::from);
        let clock = clock.during("finding the server's clock")?;
        let address = Address { socket, way };
        let mut server = Server { child, address, log, clock, behind: None, _setting: setting };
        let deadline = Instant::now() + START;
        loop {
            server.check()?;
            if TcpStream::connect(socket).is_ok() {
                return Ok(server);
            }
            if Instant::now() > deadline {
                return Err(server.fault("does not accept connections"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A running server; killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: Address,
    log: Log,
    clock: ClockId,
    /// The other server of its cluster.
    behind: Option<Box<Server>>,
    /// Its files, which it may read at any time.
    _setting: Option<Setting>,
}

impl Server {
    /// Its process, for sending signals while others use the server.
    pub(crate) fn pid(&self) -> Process {
        Process(Pid::from_raw(self.child.id().cast_signed()))
    }

    /// Its address, and the transport of clients.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// The address for receivers and responders: that of the other server of a cluster, if there is one.
    pub(crate) fn far_address(&self) -> Address {
        self.behind.as_ref().map_or(self.address, |behind| behind.address)
    }

    /// The server and the other one of its cluster.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.behind.as_deref())
    }

    /// Their processor time in nanoseconds, including ended threads.
    pub(crate) fn cpu(&self) -> Result<Duration, Fault> {
        let time = |server: &Self| server.clock.now().map_err(std::io::Error::from);
        let times = self.all().map(|server| time(server).map(Duration::from));
        times.sum::<Result<Duration, _>>().during("reading the server's clock")
    }

    /// Memory they use.
    pub(crate) fn memory(&self) -> Result<Memory, Fault> {
        let each = self.all().map(|server| Memory::of(server.child.id()));
        each.reduce(|a, b| Ok(a?.plus(b?))).unwrap_or_else(|| Ok(Memory::default()))
    }

    /// Their processor time in ticks, split into user mode and kernel.
    pub(crate) fn ticks(&self) -> Result<Ticks, Fault> {
        let each = self.all().map(|server| Ticks::of(server.child.id()));
        each.reduce(|a, b| Ok(a?.plus(b?))).unwrap_or_else(|| Ok(Ticks::default()))
    }

    /// The number of times that their threads were put to sleep.
    pub(crate) fn switches(&self) -> Result<u64, Fault> {
        self.all().map(|server| procfs::switches(server.child.id())).sum()
    }

    /// Returns when the interest of the other server has had time to arrive.
    pub(crate) fn await_interest(&self) {
        if self.behind.is_some() {
            thread::sleep(INTEREST);
        }
    }

    /// Returns when a message published here arrives at the other server.
    fn await_route(&mut self) -> Result<(), Fault> {
        let mut far = Wire::dial(self.far_address())?;
        far.send(b"SUB load.route 1\r\n")?;
        far.barrier()?;
        let mut near = Wire::dial(self.address())?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            near.send(b"PUB load.route 0\r\n\r\n")?;
            near.barrier()?;
            thread::sleep(Duration::from_millis(20));
            if far.has_message()? {
                // All routes of the pool.
                thread::sleep(INTEREST);
                return Ok(());
            }
        }
        Err(self.fault("is connected to no other server"))
    }

    /// Fails if the server has exited.
    pub(crate) fn check(&mut self) -> Result<(), Fault> {
        if let Some(behind) = &mut self.behind {
            behind.check()?;
        }
        match self.child.try_wait().during("waiting for the server")? {
            None => Ok(()),
            Some(status) => Err(self.fault(&format!("ended ({status})"))),
        }
    }

    /// Kills the server after `time`, so that waiting threads get an error, unless the returned
    /// value is dropped before.
    pub(crate) fn kill_after(&self, time: Duration) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel();
        let pid = Pid::from_raw(self.child.id().cast_signed());
        thread::spawn(move || {
            if receiver.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
                // It may have exited itself; its id is still reserved because it has not been
                // waited for.
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        sender
    }

    /// Creates an error with the end of the log.
    fn fault(&self, what: &str) -> Fault {
        Fault::Server([what.to_owned(), self.log()].join("\n").trim().to_owned())
    }

    /// Returns the end of the log.
    pub(crate) fn log(&self) -> String {
        let lines = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// The process of a server that is not dropped yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(Pid);

impl Process {
    /// Makes the server reload its configuration.
    pub(crate) fn reload(self) -> Result<(), Fault> {
        kill(self.0, Signal::SIGHUP).map_err(std::io::Error::from).during("sending a signal")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An orderly shutdown is unnecessary, and slow for some servers.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Reads to the end, so that the server never blocks on a full pipe.
    fn follow(&self, from: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n') {
                let Ok(line) = line else { break };
                let mut lines = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LOG_LINES {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}

/// Returns a port that was free a moment ago: the servers have no common way to report a port they
/// chose.
fn free_address() -> Result<SocketAddr, Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("finding a free port")?;
    listener.local_addr().during("finding a free port")
}

/// Returns this program's processor time.
pub(crate) fn own_cpu() -> Duration {
    let clock = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    clock.now().map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_cut_into_program_and_arguments() {
        let mut recipe = Recipe::parse("/usr/bin/nats-server -c a.conf").unwrap();
        recipe.append("-m 0");
        assert_eq!(recipe.name, "nats-server");
        assert_eq!(recipe.program, "/usr/bin/nats-server");
        assert_eq!(recipe.args, ["-c", "a.conf", "-m", "0"]);
        assert!(Recipe::parse(" ").is_err());
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error_with_its_log() {
        // Starts `cat -a …`, which fails.
        let error = Recipe::parse("cat --no-such").unwrap().start().unwrap_err().to_string();
        assert!(error.contains("ended"), "{error}");
    }

    #[test]
    fn a_server_that_takes_too_long_is_killed() {
        let address = Address { socket: free_address().unwrap(), way: Way::Plain };
        let child = Command::new("sleep").arg("100").spawn().unwrap();
        let clock = ClockId::CLOCK_PROCESS_CPUTIME_ID;
        let log = Log::default();
        let mut server = Server { child, address, log, clock, behind: None, _setting: None };
        drop(server.kill_after(Duration::from_secs(60)));
        assert!(server.check().is_ok());
        let _watchdog = server.kill_after(Duration::from_millis(1));
        let status = server.child.wait().unwrap();
        assert!(!status.success(), "killed");
        assert!(server.check().is_err());
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        assert!(Recipe::parse("/no/such/server").unwrap().start().is_err());
    }
}
