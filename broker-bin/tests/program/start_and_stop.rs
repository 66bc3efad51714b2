//! The program from its first line to its exit code.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use crate::file::File;
use crate::running::{NATSD, Running, natsd, text};

/// Returns the address in the line that clients' test helpers parse.
fn address(natsd: &mut Running) -> String {
    let line = natsd.line("Listening for client connections on ");
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn address_and_readiness_are_logged() {
    let mut natsd = Running::start(&["-n", "here"]);
    let address = address(&mut natsd);
    let ready = natsd.line("Server is ready");
    TcpStream::connect(&address).unwrap();

    let prefix = format!("[{}] 2", natsd.pid());
    assert!(ready.starts_with(&prefix), "{ready}");
    assert!(ready.ends_with(" [INF] Server is ready"), "{ready}");
    for part in ["Starting natsd", "  Version:  ", "  Name:     here", "  ID:       N"] {
        assert!(natsd.seen().iter().any(|line| line.contains(part)), "{part}: {:?}", natsd.seen());
    }
}

#[test]
fn interrupt_and_terminate_exit_with_0() {
    for (signal, name) in [("INT", "interrupt"), ("TERM", "terminated")] {
        let mut natsd = Running::start(&[]);
        natsd.line("Server is ready");
        natsd.signal(signal);
        let (status, lines) = natsd.ended();
        assert_eq!(status.code(), Some(0), "{signal}");
        let said: Vec<_> =
            lines.iter().rev().take(3).rev().map(|l| l.split("] ").last().unwrap()).collect();
        let trapped = format!("Trapped \"{name}\" signal");
        assert_eq!(said, [trapped.as_str(), "Initiating Shutdown...", "Server Exiting.."]);
    }
}

#[cfg(feature = "streams")]
#[test]
fn the_log_says_that_streams_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut natsd = Running::start(&["-js", "-sd", directory.path().to_str().unwrap()]);
    natsd.line("Server is ready");
    natsd.signal("INT");
    let (_, lines) = natsd.ended();
    let said: Vec<_> =
        lines.iter().rev().take(4).rev().map(|l| l.split("] ").last().unwrap()).collect();
    let ends = ["Initiating JetStream Shutdown...", "JetStream Shutdown"];
    assert_eq!(said, ["Initiating Shutdown...", ends[0], ends[1], "Server Exiting.."]);
}

#[test]
fn other_signals_do_not_end_the_program() {
    let mut natsd = Running::start(&[]);
    natsd.line("Server is ready");
    for (signal, answer) in [
        (
            "HUP",
            "[ERR] Failed to reload server configuration: can only reload config when a file is provided \
             using -c or --config",
        ),
        ("USR1", "[INF] File log re-open ignored, not a file logger"),
    ] {
        natsd.signal(signal);
        natsd.line("Trapped");
        natsd.line(answer);
    }
    natsd.signal("TERM");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn a_port_in_use_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = natsd(&["-a", "127.0.0.1", "-p", &port]);
    assert_eq!(output.status.code(), Some(1));
    let last = text(&output.stderr).lines().last().unwrap();
    let expected = format!("[FTL] Error listening on port: 127.0.0.1:{port}, \"");
    assert!(last.contains(&expected), "{last}");
    assert!(last.to_lowercase().contains("address already in use"), "{last}");
}

#[test]
fn an_invalid_host_prevents_the_start() {
    let output = natsd(&["-a", "999.999.999.999", "-p", "-1"]);
    assert_eq!(output.status.code(), Some(1));
    let last = text(&output.stderr).lines().last().unwrap();
    assert!(last.contains("[FTL] Error listening on port: 999.999.999.999:0, \""), "{last}");
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_2() {
    for (args, complaint) in [
        (&["--bogus"][..], "natsd: flag provided but not defined: -bogus"),
        (&["-p", "1x"], "natsd: invalid value \"1x\" for flag -p: not a number"),
        (&["-t"], "natsd: flag -t needs a configuration file: -c <file>"),
        (&["--pass", "x"], "natsd: flag -pass: authorization: a password needs a user"),
    ] {
        let output = natsd(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&output.stderr), format!("{complaint} (see natsd --help)\n"));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_version_depends_on_the_name_it_is_called_by() {
    for flag in ["-v", "--version", "version"] {
        let output = natsd(&[flag]);
        assert!(output.status.success());
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(text(&output.stdout), format!("natsd: v{version} (NATS 2.14.5)\n"));
    }

    let dir = tempfile::tempdir().unwrap();
    let alias = dir.path().join("nats-server");
    std::os::unix::fs::symlink(NATSD, &alias).unwrap();
    let output = std::process::Command::new(&alias).arg("-v").output().unwrap();
    assert_eq!(text(&output.stdout), "nats-server: v2.14.5\n");
}

#[test]
fn help_goes_to_stdout() {
    let output = natsd(&["--help"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("Usage: natsd [options]"));
    assert!(output.stderr.is_empty());
}

#[test]
fn the_pid_file_is_private_exact_and_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("natsd.pid");
    let mut natsd = Running::start(&["-P", path.to_str().unwrap()]);
    natsd.line("Server is ready");
    let pid = natsd.pid();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), pid.to_string());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    natsd.signal("TERM");
    natsd.ended();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), pid.to_string());
}

#[test]
fn an_unwritable_pid_file_prevents_the_start() {
    let output = natsd(&["-p", "-1", "-P", "/nonexistent/natsd.pid"]);
    assert_eq!(output.status.code(), Some(1));
    let last = text(&output.stderr).lines().last().unwrap();
    assert!(last.contains("[FTL] Could not write pidfile: /nonexistent/natsd.pid: "), "{last}");
}

#[test]
fn the_ports_file_is_named_after_the_program_and_removed_at_exit() {
    let dir = tempfile::tempdir().unwrap();
    let alias = dir.path().join("nats-server");
    std::os::unix::fs::symlink(NATSD, &alias).unwrap();
    let ports = tempfile::tempdir().unwrap();
    let mut natsd =
        Running::start_as(&alias, &["--ports_file_dir", ports.path().to_str().unwrap()]);
    let address = address(&mut natsd);
    natsd.line("Server is ready");

    let file = ports.path().join(format!("nats-server_{}.ports", natsd.pid()));
    let expected = format!("{{\"nats\":[\"nats://{address}\"]}}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    natsd.signal("INT");
    assert_eq!(natsd.ended().0.code(), Some(0));
    assert_eq!(std::fs::read_dir(ports.path()).unwrap().count(), 0);
}

#[test]
fn an_unwritable_ports_file_is_logged_as_an_error() {
    let mut natsd = Running::start(&["--ports_file_dir", "/nonexistent"]);
    natsd.line("[ERR] Error writing ports file (/nonexistent/natsd_");
    natsd.line("Server is ready");
}

#[test]
fn the_monitoring_address_is_logged_before_clients_can_connect() {
    let mut natsd = Running::start(&["-m", "-1"]);
    let monitor = natsd.line("Starting http monitor on 127.0.0.1:");
    natsd.line("Listening for client connections on ");
    natsd.line("Server is ready");
    assert!(!monitor.ends_with(":-1") && !monitor.ends_with(":0"), "{monitor}");
    natsd.signal("TERM");
    let (status, lines) = natsd.ended();
    assert!(status.success());
    assert!(!lines.iter().any(|line| line.contains("[WRN]")), "it listens on loopback only");
}

#[test]
fn unprotected_monitoring_is_a_warning() {
    for (more, is_told) in [("", true), (", http_token: t0k", false)] {
        let file = File::new(&format!("http: '0.0.0.0:-1'{more}"));
        let mut natsd = Running::start(&["-c", file.path()]);
        natsd.line("Server is ready");
        let is_warning = |line: &String| line.contains("[WRN] Monitoring on 0.0.0.0:");
        assert_eq!(natsd.seen().iter().any(is_warning), is_told, "{:?}", natsd.seen());
    }
}
