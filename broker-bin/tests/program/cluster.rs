//! Three servers as the book sets them up: by flags, by files, and by one seed.

use crate::clients::Raw;
use crate::file::File;
use crate::running::Running;

/// A server of a cluster.
struct Member {
    natsd: Running,
    clients: String,
    routes: String,
}

impl Member {
    /// Starts a server, and waits until others can connect to it.
    fn start(args: &[&str]) -> Self {
        let mut natsd = Running::start(args);
        let clients = natsd.line("Listening for client connections on ");
        natsd.line("Server is ready");
        let routes = natsd.line("Listening for route connections on ");
        let address = |line: String| line.rsplit(' ').next().unwrap_or_default().to_owned();
        Self { natsd, clients: address(clients), routes: address(routes) }
    }

    fn route_url(&self) -> String {
        format!("nats://{}", self.routes)
    }

    fn client(&self) -> Raw {
        Raw::connect_to(&self.clients)
    }

    fn stop(self) -> Vec<String> {
        self.natsd.signal("TERM");
        let (status, lines) = self.natsd.ended();
        assert_eq!(status.code(), Some(0), "{lines:#?}");
        lines
    }
}

/// Waits until a message to each server reaches a subscriber of each other one.
fn are_connected(members: &[Member]) {
    for (index, member) in members.iter().enumerate() {
        let mut subscriber = member.client();
        subscriber.say("CONNECT {}\r\nSUB from.* 1\r\nPING\r\n");
        for (number, other) in members.iter().enumerate().filter(|(other, _)| *other != index) {
            let mut publisher = other.client();
            publisher.send("CONNECT {}\r\n");
            while !hears(&mut subscriber, &format!("MSG from.{number} 1 2\r\n")) {
                publisher.say(&format!("PUB from.{number} 2\r\nhi\r\nPING\r\n"));
            }
        }
    }
}

/// Returns true if a client has got that line.
fn hears(client: &mut Raw, line: &str) -> bool {
    let mut said = client.say("PING\r\n");
    let mut has_heard = false;
    while said != "PONG\r\n" {
        assert!(!said.is_empty(), "the connection has ended");
        has_heard |= said == line;
        said = client.line();
    }
    has_heard
}

#[test]
fn three_servers_by_flags_and_one_seed_are_a_cluster() {
    let flags = ["--cluster", "nats://127.0.0.1:-1", "--cluster_name", "shop"];
    let seed = Member::start(&flags);
    let url = seed.route_url();
    let others = [(); 2].map(|()| Member::start(&[&flags[..], &["--routes", &url]].concat()));
    let [second, third] = others;
    let members = [seed, second, third];
    are_connected(&members);
    for member in members {
        let lines = member.stop();
        let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
        assert!(at("  Cluster:  shop") < at("Server is ready"));
        assert!(at("Server is ready") < at("Cluster name is shop"));
        assert!(at("Cluster name is shop") < at("Listening for route connections on 127.0.0.1:"));
        assert!(!lines.iter().any(|line| line.contains("dynamically")), "{lines:#?}");
    }
}

#[test]
fn three_servers_by_files_with_a_password_are_a_cluster() {
    let content = |routes: &str| {
        format!(
            "cluster {{ name: shop, listen: '127.0.0.1:-1', authorization {{ user: r, password: 'p@ss' }}, routes: [{routes}] }}"
        )
    };
    let seed = File::new(&content(""));
    let first = Member::start(&["-c", seed.path()]);
    let url = first.route_url().replace("//", "//r:p%40ss@");
    let file = File::new(&content(&format!("'{url}'")));
    let others = [(); 2].map(|()| Member::start(&["-c", file.path()]));
    let foreign = File::new(&content(&format!("'{}'", first.route_url())));
    let mut refused = Member::start(&["-c", foreign.path()]);
    refused.natsd.line("Authorization Violation");
    let [second, third] = others;
    let members = [first, second, third];
    are_connected(&members);
    refused.stop();
    for member in members {
        let lines = member.stop();
        assert!(!lines.iter().any(|line| line.contains("p@ss") || line.contains("p%40ss")));
    }
}

#[test]
fn the_ports_file_lists_the_listener_for_routes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let member = Member::start(&["--cluster", "nats://127.0.0.1:-1", "--ports_file_dir", path]);
    let is_told = |line: &String| line.ends_with("dynamically generated, consider setting one");
    assert!(member.natsd.seen().iter().any(is_told));
    let file = dir.path().join(format!("natsd_{}.ports", member.natsd.pid()));
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(ports["cluster"], serde_json::json!([member.route_url()]));
    member.stop();
}

#[test]
fn a_port_that_is_taken_prevents_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let url = format!("nats://127.0.0.1:{port}");
    let output = crate::running::natsd(&["-a", "127.0.0.1", "-p", "-1", "--cluster", &url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("Error listening on router port: {port} - ")), "{said}");
}
