//! The server helper expected by the tests of async-nats: starts the program `$SERVER` under the
//! name nats-server with the arguments of async-nats's own helper, which is not published.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running program; killed when dropped.
pub struct Server {
    child: Child,
    dir: PathBuf,
}

/// The servers of a cluster.
pub struct Cluster {
    /// The servers.
    pub servers: Vec<Server>,
}

fn program() -> Command {
    let mut command =
        Command::new(std::env::var_os("SERVER").expect("SERVER is the program to start"));
    command.arg0("nats-server");
    command
}

pub fn run_basic_server() -> Server {
    run_server("")
}

pub fn run_server(config: &str) -> Server {
    run_server_with_port(config, None)
}

pub fn run_server_with_port(config: &str, port: Option<&str>) -> Server {
    start(config, port, &[])
}

/// Starts three servers, each with the addresses of all.
pub fn run_cluster(config: &str) -> Cluster {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = [free(), free(), free()];
    let ports = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
    drop(held);
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
    let one = |port: u16| {
        let (address, name) = (format!("nats://127.0.0.1:{port}"), format!("node{port}"));
        let args =
            ["--routes", &routes, "--cluster", &address, "--cluster_name", "cluster", "-n", &name];
        start(config, None, &args)
    };
    Cluster { servers: ports.map(one).into() }
}

pub fn set_lame_duck_mode(server: &Server) {
    let told = program().args(["--signal", &format!("ldm={}", server.client_pid())]).status();
    assert!(told.unwrap().success());
}

fn start(config: &str, port: Option<&str>, more: &[&str]) -> Server {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(format!("async-nats-tests-{name}"));
    std::fs::create_dir_all(&dir).unwrap();
    let mut command = program();
    command.arg("--store_dir").arg(dir.join("data")).args(["-p", port.unwrap_or("-1")]);
    command.arg("-l").arg(dir.join("log")).arg("-P").arg(dir.join("pid")).args(more);
    if !config.is_empty() {
        command.args(["-c", config]);
    }
    Server { child: command.spawn().unwrap(), dir }
}

impl Server {
    pub fn client_url(&self) -> String {
        format!("nats://localhost:{}", self.client_port())
    }

    pub fn client_port(&self) -> u16 {
        // The contents of INFO, not only of the log.
        let mut line = String::new();
        BufReader::new(TcpStream::connect(self.address()).unwrap()).read_line(&mut line).unwrap();
        let info: serde_json::Value =
            serde_json::from_str(line.strip_prefix("INFO").unwrap()).unwrap();
        info["port"].as_u64().unwrap().try_into().unwrap()
    }

    pub fn client_pid(&self) -> usize {
        std::fs::read_to_string(self.dir.join("pid")).unwrap().parse().unwrap()
    }

    /// Reads the address from the log once it appears.
    fn address(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if let Some((_, rest)) = log.split_once("client connections on ")
                && let Some((address, _)) = rest.split_once('\n')
            {
                return address.replace("0.0.0.0", "localhost");
            }
            assert!(Instant::now() < deadline, "the log has no address: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Cluster {
    pub fn client_url(&self) -> String {
        self.servers[0].client_url()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
