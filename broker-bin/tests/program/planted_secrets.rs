//! No secret of a configuration is ever printed: not in the most verbose log, not in an error, not
//! in a file, regardless of its notation and of the errors around it.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clients::Raw;
use crate::file::File;
use crate::running::{NATSD, Running, until};

/// Part of each secret, and of nothing else.
const PLANTED: &str = "Pl4nted";

/// Files accepted by natsd, and the password or token of a client.
const GOOD: &[(&str, &str)] = &[
    (r#"authorization { users: [{user: u, password: "Pl4nted01"}] }"#, "Pl4nted01"),
    ("authorization { users: [{user: u, password: 'Pl4nted02'}] }", "Pl4nted02"),
    ("authorization { users: [{user: u, password: Pl4nted03}] }", "Pl4nted03"),
    ("authorization { users = [\n{user = u\npassword = Pl4nted04\n}\n] }", "Pl4nted04"),
    ("authorization {\nuser: u\npassword: (\nPl4nted05\n)\n}", "\nPl4nted05\n"),
    (r#"authorization { user: u, pass: "Pl4nted06\x41\t\"" }"#, "Pl4nted06A\t\""),
    ("WORD: Pl4nted07\nauthorization { user: u, password: $WORD }", "Pl4nted07"),
    ("authorization { user: u, password: $FROM_OUTSIDE }", "Pl4nted08"),
    ("include included.conf", "Pl4nted09"),
    (r#"{"authorization": {"users": [{"user": "u", "password": "Pl4nted10"}]}}"#, "Pl4nted10"),
    ("accounts { A { users: [{user: u, password: Pl4nted11}] } }", "Pl4nted11"),
    ("authorization { token: Pl4nted12 }", "Pl4nted12"),
    ("authorization { token: \"Pl4nted13\", timeout: 1000 }", "Pl4nted13"),
    ("authorization { token: Pl4nted35, permissions: { publish: x } }", "Pl4nted35"),
    (
        "cluster { port: -1, authorization { user: u, password: Pl4nted40 }, \
         routes: ['nats://u:Pl4nted40@127.0.0.1:1', 'nats://Pl4nted40@127.0.0.1:1'] }\n\
         authorization { token: Pl4nted15 }",
        "Pl4nted15",
    ),
    ("WORD: \"Pl4nted14\"\nauthorization { token: $WORD }", "Pl4nted14"),
];

/// Files refused by natsd.
const BAD: &[&str] = &[
    "authorization { pasword: Pl4nted20 }",
    "authorization { user: u, password: Pl4nted21, timeout: Pl4nted21 }",
    "max_payload: 'Pl4nted22'\nauthorization { token: Pl4nted22 }",
    "authorization { user: u, password: {Pl4nted23: Pl4nted23} }",
    "authorization { user: u, password: [Pl4nted24] }",
    "authorization { users: [{user: u, password: Pl4nted25}, Pl4nted25] }",
    "authorization { user: u, password: 'Pl4nted26 }",
    "authorization { user: u, password: \"Pl4nted27\\y\" }",
    "authorization { user: u, password: \"Pl4nted28\" Pl4nted28 }",
    "authorization { user: u, password: Pl4nted29 ]",
    "authorization { user: u, password: (\nPl4nted30 }",
    "authorization { user: u, password: $Pl4nted31 }",
    "authorization: Pl4nted32",
    "authorization { user: u, password: Pl4nted33, token: Pl4nted33 }",
    "authorization { password: Pl4nted34 }",
    "authorization { users: [{user: u, password: Pl4nted36}, {user: u, password: Pl4nted36}] }",
    "authorization { users: [{password: Pl4nted37}] }",
    "authorization { users: [{user: u, password: Pl4nted38, permissions: {publish: 'a..b'}}] }",
    "cluster { port: 1, routes: ['nats://u:Pl4nted39@localhost'] }",
    "cluster { port: 1, routes: 'nats://h', authorization { user: u, password: Pl4nted41 } }",
    "leafnodes { remotes: [{url: 'nats://u:Pl4nted49@localhost:1'}] }",
    "leafnodes { remotes: [{url: 'nats:/u:Pl4nted42@:x'}] }",
    "jetstream { key: Pl4nted43, cipher: Pl4nted43 }",
    "operator: Pl4nted44",
    "resolver_preload: { A: Pl4nted45 }",
    "accounts { A { users: [{nkey: Pl4nted46}] } }",
    "default_sentinel: Pl4nted47",
    "authorization { auth_callout { issuer: A, xkey: Pl4nted70 } }",
    "authorization { users: [{user: u, password: Pl4nted71}], auth_callout { issuer: Pl4nted71, xkey: Pl4nted71, auth_users: [u] } }",
    "authorization { users: [{nkey: SUPl4nted72}] }",
    "authorization { users: [{user: u, password: Pl4nted73, nkey: SUPl4nted73}] }",
    "accounts { A { nkey: SAPl4nted74, users: [{user: u, password: Pl4nted74}] } }",
    "accounts { A { users: [{user: u, password: Pl4nted75}], msg_trace: { dest: 'a.*' } } }",
    "trusted_keys: SOPl4nted77",
    r#"{"authorization": {"user": "u", "password": "Pl4nted48",, }}"#,
    r#"{"authorization": {"user": "u", "password": "Pl4nted49""#,
    "include broken.conf",
    "log_file: '/nonexistent/log'\nauthorization { user: u, password: Pl4nted52 }",
    "remote_syslog: 'foo://u:Pl4nted53@x'",
];

/// Command lines refused by natsd.
const BAD_FLAGS: &[&[&str]] = &[
    &["--user", "u", "--pass", "Pl4nted60", "--bogus"],
    &["--pass=Pl4nted61", "-p", "1x", "--user", "u"],
    &["--pass", "Pl4nted62"],
    &["--auth", "Pl4nted63", "--user", "u"],
    &["--cluster", "nats://Pl4nted65@localhost:1", "--routes", "nats://localhost:2"],
    &["--cluster", "nats://u:p@localhost:1", "--routes", "nats://u:Pl4nted67@localhost"],
    &["--remote_syslog", "foo://u:Pl4nted66@x"],
];

/// A file, with others for it to include.
fn file(content: &str) -> File {
    let file = File::new(content);
    let beside =
        |name: &str, content: &str| std::fs::write(file.dir().join(name), content).unwrap();
    beside("included.conf", "authorization { user: u, password: Pl4nted09 }");
    beside("broken.conf", "authorization { user: u, password: Pl4nted50");
    file
}

const ENVIRONMENT: [(&str, &str); 1] = [("FROM_OUTSIDE", "Pl4nted08")];

/// Returns all output of a program that ends by itself.
fn all_said(args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(NATSD);
    let output = command
        .args(args)
        .envs(ENVIRONMENT)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{args:?} was to be refused");
    let said = [output.stdout, output.stderr].concat();
    assert!(!said.is_empty(), "{args:?} gives a reason");
    String::from_utf8_lossy(&said).into_owned()
}

#[track_caller]
fn shows_nothing(said: &str, of: &str) {
    assert!(!said.contains(PLANTED), "of {of}: {said}");
}

#[test]
fn errors_that_prevent_the_start_show_no_secret() {
    for content in BAD {
        let file = file(content);
        shows_nothing(&all_said(&["-p", "-1", "-DVV", "-c", file.path()], &[]), content);
        // A configuration check opens no log.
        if !content.contains("log") {
            shows_nothing(&all_said(&["-t", "-c", file.path()], &[]), content);
        }
    }
    for flags in BAD_FLAGS {
        shows_nothing(&all_said(flags, &[]), &flags.join(" "));
    }
    for variable in ["NATSD_AUTHORIZATION__PASSWORD", "NATSD_AUTHORIZATION__USERS", "NATSD_CLUSTER"]
    {
        shows_nothing(&all_said(&["-p", "-1"], &[(variable, "{Pl4nted70: Pl4nted70")]), variable);
    }
}

/// Authenticates with the right secret and with wrong ones.
fn log_in(address: &str, secret: &str) {
    let connect = |secret: &str| {
        let secret = serde_json::Value::from(secret);
        format!("CONNECT {{\"user\":\"u\",\"pass\":{secret},\"auth_token\":{secret}}}\r\n")
    };
    let mut client = Raw::connect_to(address);
    assert_eq!(client.say(&connect(secret)), "+OK\r\n", "{secret:?} is right");
    assert_eq!(client.say("PUB a 2\r\nhi\r\n"), "+OK\r\n");
    for wrong in [
        connect(&format!("{secret}x")),
        connect("Pl4nted and more"),
        "CONNECT {\"pass\":\"Pl4nted\r\n".to_owned(),
        "CONECT {\"pass\":\"Pl4nted\"}\r\n".to_owned(),
        "CONNECT {\"jwt\":\"Pl4nted\",\"sig\":[\"Pl4nted\"]}\r\n".to_owned(),
    ] {
        let answer = Raw::connect_to(address).say(&wrong);
        assert!(answer.is_empty() || answer.starts_with("-ERR "), "{wrong}: {answer}");
    }
}

/// Starts a server with the most verbose log; also returns its address.
fn start(args: &[&str]) -> (Running, String) {
    let mut natsd = Running::start_in(&ENVIRONMENT, &[&["-DVV"], args].concat());
    let line = natsd.line("Listening for client connections on ");
    natsd.line("Server is ready");
    (natsd, line.rsplit(' ').next().unwrap().to_owned())
}

/// Stops the server and returns its output.
fn end(natsd: Running) -> String {
    natsd.signal("TERM");
    natsd.ended().1.join("\n")
}

#[test]
fn accepted_secrets_are_not_printed_whatever_clients_do() {
    for (content, secret) in GOOD {
        let file = file(content);
        let (natsd, address) =
            start(&["-c", file.path(), "--ports_file_dir", file.dir().to_str().unwrap()]);
        log_in(&address, secret);
        let ports = file.dir().join(format!("natsd_{}.ports", natsd.pid()));
        shows_nothing(&std::fs::read_to_string(ports).unwrap(), content);
        let said = end(natsd);
        assert!(said.contains("<<- [CONNECT {"), "{said}");
        shows_nothing(&said, content);
    }
    for (flags, secret) in [
        (&["--user", "u", "--pass", "Pl4nted80"][..], "Pl4nted80"),
        (&["--auth=Pl4nted81"], "Pl4nted81"),
    ] {
        let (natsd, address) = start(flags);
        log_in(&address, secret);
        shows_nothing(&end(natsd), secret);
    }
}

#[test]
fn accepted_and_refused_reloads_print_no_secret() {
    let it = file(GOOD[0].0);
    let (mut natsd, address) = start(&["-c", it.path()]);
    // A cluster takes a restart.
    for (good, secret) in GOOD.iter().filter(|(good, _)| !good.contains("cluster")) {
        it.write(good);
        natsd.signal("HUP");
        natsd.line("Reloaded server configuration");
        log_in(&address, secret);
    }
    let of_cluster = GOOD.iter().map(|(good, _)| *good).filter(|good| good.contains("cluster"));
    let bad = BAD
        .iter()
        .copied()
        .chain(of_cluster)
        .chain(["server_name: other\nauthorization { token: Pl4nted90 }"]);
    for bad in bad {
        it.write(bad);
        natsd.signal("HUP");
        natsd.line("Failed to reload server configuration: ");
    }
    shows_nothing(&end(natsd), "reloads");
}

#[test]
fn log_file_and_syslog_contain_no_secret() {
    let (content, secret) = GOOD[0];
    let it = file(content);
    let log = it.dir().join("log");
    let natsd = Running::start(&[
        "-DVV",
        "-c",
        it.path(),
        "-l",
        log.to_str().unwrap(),
        "--ports_file_dir",
        it.dir().to_str().unwrap(),
    ]);
    let ports = it.dir().join(format!("natsd_{}.ports", natsd.pid()));
    until("it is ready", || ports.exists());
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(ports).unwrap()).unwrap();
    let address = ports["nats"][0].as_str().unwrap().strip_prefix("nats://").unwrap();
    log_in(address, secret);

    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let url = format!("udp://{}", syslog.local_addr().unwrap());
    it.write(&format!("{content}\nremote_syslog: '{url}'"));
    natsd.signal("HUP");
    let said = || std::fs::read_to_string(&log).unwrap();
    // A file takes precedence over a syslog, and the command line's path is used.
    until("it is reloaded", || said().contains("Reloaded server configuration"));
    end(natsd);
    assert!(said().contains("<<- [CONNECT {"));
    shows_nothing(&said(), "the file");

    let natsd =
        Running::start(&["-DVV", "-c", it.path(), "--ports_file_dir", it.dir().to_str().unwrap()]);
    let mut buffer = [0; 4096];
    let mut next = || {
        let len = loop {
            match syslog.recv(&mut buffer) {
                // A child has ended.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
        shows_nothing(&line, "the syslog");
        line
    };
    let line = std::iter::repeat_with(&mut next).find(|line| line.contains("Listening for client"));
    log_in(line.unwrap().trim_end().rsplit(' ').next().unwrap(), secret);
    let mut connects = 0;
    while connects < 5 {
        connects += usize::from(next().contains("<<- [CONNECT"));
    }
    shows_nothing(&end(natsd), "other output is secret-free");
}
