//! A real nats-server as a stage.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::Value;

use crate::config::{cluster, config};
use crate::setup::Setup;
use crate::stage::{Arrival, Entrance, Line, Stage};
use crate::tcp::TcpStage;

/// Timeout of the server's start, and of noticing disconnects.
const PATIENCE: Duration = Duration::from_secs(10);

/// A nats-server started for a [`Setup`], killed on drop.
#[derive(Debug)]
pub struct Reference {
    tcp: TcpStage,
    monitor: SocketAddr,
    /// The address of routes.
    routes: Option<SocketAddr>,
    /// Accepts the routes that the server dials.
    listener: Option<TcpListener>,
    /// Internal subscriptions of the server.
    own_subscriptions: u64,
    folder: PathBuf,
    process: Child,
}

impl Reference {
    /// Starts `binary` with `setup`, and returns when it accepts connections.
    ///
    /// # Errors
    /// The server cannot be started or is not ready in time; the error contains its log.
    pub fn start(binary: &Path, setup: &Setup) -> io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("transcripts-{}-{count}", process::id()));
        fs::create_dir_all(&folder)?;
        let file = folder.join("server.conf");
        let dials = setup.cluster.as_ref().is_some_and(|cluster| cluster.dials);
        let listener = dials.then(|| TcpListener::bind("127.0.0.1:0")).transpose()?;
        let dialled = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let mut settings = config(setup);
        if let Some(own) = &setup.cluster {
            settings += &cluster(own, dialled);
        }
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\nports_file_dir: \"{0}\"\n\
             log_file: \"{0}/server.log\"\n{settings}",
            folder.display()
        );
        fs::write(&file, text)?;
        let mut process = Command::new(binary)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let ports = match await_ports(&folder, &mut process) {
            Ok(ports) => ports,
            Err(error) => {
                let log = log(&folder);
                end(&mut process, &folder);
                return Err(io::Error::new(error.kind(), format!("{error}\n{log}\n{settings}")));
            }
        };
        let mut reference = Self {
            tcp: TcpStage::new(ports.clients),
            monitor: ports.monitor,
            routes: ports.routes,
            listener,
            own_subscriptions: 0,
            folder,
            process,
        };
        reference.own_subscriptions = reference.gauge("/subsz", "num_subscriptions")?;
        Ok(reference)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.tcp.address()
    }

    /// Returns one number of the server's monitoring.
    fn gauge(&self, path: &str, field: &str) -> io::Result<u64> {
        let mut stream = TcpStream::connect(self.monitor)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let json = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(json)?;
        body[field].as_u64().ok_or_else(|| io::Error::other(format!("no {field} in {path}")))
    }
}

impl Stage for Reference {
    fn open(&mut self) -> io::Result<Line> {
        self.tcp.open()
    }

    fn enter(&mut self, entrance: Entrance) -> io::Result<Line> {
        match entrance {
            Entrance::Clients => self.open(),
            Entrance::Routes => self.tcp.open_at(self.routes.ok_or(io::ErrorKind::Unsupported)?),
            Entrance::Dialled => {
                let listener = self.listener.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let stream = accept(listener)?;
                self.tcp.add(stream)
            }
        }
    }

    fn dialled_port(&self) -> Option<u16> {
        Some(self.listener.as_ref()?.local_addr().ok()?.port())
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        self.tcp.send(line, bytes)
    }

    fn receive(
        &mut self,
        line: Line,
        inbox: &mut Vec<u8>,
        patience: Duration,
    ) -> io::Result<Arrival> {
        self.tcp.receive(line, inbox, patience)
    }

    fn hang_up(&mut self, line: Line) -> io::Result<()> {
        self.tcp.hang_up(line)
    }

    fn pass(&mut self, time: Duration) -> io::Result<()> {
        self.tcp.pass(time)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.tcp.clear()?;
        until("the server forgets its clients", || {
            Ok(self.gauge("/connz", "num_connections")? == 0
                && self.gauge("/routez", "num_routes")? == 0
                && self.gauge("/subsz", "num_subscriptions")? == self.own_subscriptions)
        })
    }

    fn notes(&self) -> String {
        log(&self.folder)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        end(&mut self.process, &self.folder);
    }
}

/// Ignores errors: the next run uses a new process and folder.
fn end(process: &mut Child, folder: &Path) {
    let _ = process.kill();
    let _ = process.wait();
    let _ = fs::remove_dir_all(folder);
}

/// The addresses of a server.
struct Ports {
    clients: SocketAddr,
    monitor: SocketAddr,
    routes: Option<SocketAddr>,
}

/// Accepts a connection, which must come in time.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let mut accepted = None;
    until("the server dials", || match listener.accept() {
        Ok((stream, _)) => {
            accepted = Some(stream);
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    })?;
    let stream = accepted.ok_or(io::ErrorKind::TimedOut)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Returns the addresses, once the server has written the ports file.
fn await_ports(folder: &Path, process: &mut Child) -> io::Result<Ports> {
    let mut found = None;
    until("the server writes its ports file", || {
        if let Some(status) = process.try_wait()? {
            return Err(io::Error::other(format!("the server ended: {status}")));
        }
        found = ports(folder)?;
        Ok(found.is_some())
    })?;
    found.ok_or_else(|| io::ErrorKind::TimedOut.into())
}

fn ports(folder: &Path) -> io::Result<Option<Ports>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "ports") {
            // An incomplete file is not valid JSON: try again.
            let ports: Value = serde_json::from_slice(&fs::read(path)?).unwrap_or_default();
            let address = |kind: &str| {
                let url = ports[kind][0].as_str()?;
                url.rsplit_once('/')?.1.parse().ok()
            };
            let both = address("nats").zip(address("monitoring"));
            let routes = address("cluster");
            return Ok(both.map(|(clients, monitor)| Ports { clients, monitor, routes }));
        }
    }
    Ok(None)
}

fn log(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Polls, since actions of other processes cannot be awaited.
fn until(what: &str, mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not in time: {what}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
