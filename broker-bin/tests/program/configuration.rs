//! The configuration file, the environment and the command line of the program.

use crate::clients::Raw;
use crate::file::File;
use crate::running::{NATSD, Running, natsd, text};

#[test]
fn a_file_is_checked_without_a_start() {
    let file = File::new("port: 4222\nserver_name: a");
    for args in [["-t", "-c", file.path()], ["--config", file.path(), "-t"]] {
        let output = natsd(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        let start = format!("natsd: configuration file {} is valid (sha256:", file.path());
        assert!(said.starts_with(&start) && said.ends_with(")\n"), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
}

#[test]
fn a_check_prints_warnings_and_succeeds() {
    let file = File::new("ping_interval: 20");
    let output = natsd(&["-t", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(0));
    let said: Vec<_> = text(&output.stderr).lines().collect();
    assert!(said[0].starts_with(&format!("natsd: {}:1:16: invalid use of field", file.path())));
    assert!(said[1].contains(" is valid (sha256:"), "{said:?}");
}

#[test]
fn all_errors_are_reported_before_anything_starts() {
    let file = File::new("listn: 1\nport: -1\nmax_payload: x\npid_file: natsd.pid");
    let expected = format!(
        "natsd: {0}:1:1: unknown field \"listn\"; did you mean \"listen\"?\n\
         natsd: {0}:3:14: max_payload: expected a size of at most 2147483647 bytes, such as 1MB, or -1, found a \
         string\n",
        file.path()
    );
    for args in [&["-c", file.path()][..], &["-t", "-c", file.path()]] {
        let output = natsd(args);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), expected, "no start is logged");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_missing_or_unreadable_file_is_reported_in_one_line() {
    let broken = File::new("authorization {\n  password: s3cret");
    for (path, complaint) in [("/nonexistent.conf", ""), (broken.path(), ": Parse error: ")] {
        let output = natsd(&["-c", path]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("natsd: {path}:")), "{said}");
        assert!(said.contains(complaint) && said.lines().count() == 1, "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn errors_name_the_program_as_it_was_called() {
    let dir = tempfile::tempdir().unwrap();
    let alias = dir.path().join("nats-server");
    std::os::unix::fs::symlink(NATSD, &alias).unwrap();
    let file = File::new("port: 4222");
    let check =
        std::process::Command::new(&alias).args(["-t", "-c", file.path()]).output().unwrap();
    let start = format!("nats-server: configuration file {} is valid (sha256:", file.path());
    assert!(text(&check.stderr).starts_with(&start));
}

#[test]
fn the_log_names_the_file_and_warns() {
    let file = File::new("ping_interval: 20\nserver_name: from-the-file");
    let mut natsd = Running::start(&["-c", file.path()]);
    let line = natsd.line("Using configuration file: ");
    assert!(line.contains(&format!("[INF] Using configuration file: {} (sha256:", file.path())));
    natsd.line("[WRN] ");
    assert_eq!(Raw::connect(&mut natsd).info["server_name"], "from-the-file");
}

#[test]
fn the_environment_overrides_the_file_and_a_flag_overrides_both() {
    let file = File::new("server_name: file, max_payload: 1000, max_control_line: 1000");
    let environment = [("NATSD_SERVER_NAME", "environment")];
    let mut natsd = Running::start_in(&environment, &["-c", file.path()]);
    let info = Raw::connect(&mut natsd).info;
    assert_eq!((&info["server_name"], &info["max_payload"]), (&"environment".into(), &1000.into()));

    let mut natsd = Running::start_in(&environment, &["-c", file.path(), "-n", "flag"]);
    assert_eq!(Raw::connect(&mut natsd).info["server_name"], "flag");
}

#[test]
fn users_of_a_file_have_its_permissions() {
    let file = File::new(
        "authorization {
           default_permissions { publish: 'all.>' }
           users: [
             { user: a, password: pa, permissions: { publish: { allow: 'a.>', deny: a.x } } }
             { user: b, password: pb }
           ]
         }",
    );
    let mut natsd = Running::start(&["-c", file.path()]);
    let a = Raw::connect(&mut natsd);
    for (user, denied, allowed) in
        [("a", "all.b", "a.b"), ("a", "a.x", "a.y"), ("b", "a.b", "all.b")]
    {
        let connect =
            format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p{user}\"}}\r\n");
        let mut client = a.again();
        let answer = client.say(&format!("{connect}PUB {denied} 0\r\n\r\n"));
        assert_eq!(answer, format!("-ERR 'Permissions Violation for Publish to \"{denied}\"'\r\n"));
        assert_eq!(client.say(&format!("PUB {allowed} 0\r\n\r\nPING\r\n")), "PONG\r\n");
    }
    let wrong = "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"pb\"}\r\nPING\r\n";
    assert_eq!(a.again().say(wrong), "-ERR 'Authorization Violation'\r\n");
}

#[test]
fn accounts_are_isolated_and_no_auth_user_is_in_one_of_them() {
    let file = File::new(
        "accounts { A { users: [ { user: a, password: a } ] }, B { users: [ { user: b } ] } }
         no_auth_user: b",
    );
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut b = Raw::connect(&mut natsd);
    let mut a = b.again();
    assert_eq!(b.say("CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n"), "PONG\r\n");
    let publish = "{\"verbose\":false,\"user\":\"a\",\"pass\":\"a\"}\r\nPUB x 0\r\n\r\nPING\r\n";
    assert_eq!(a.say(&format!("CONNECT {publish}")), "PONG\r\n");
    assert_eq!(
        b.say("PUB x 1\r\nb\r\n"),
        "MSG x 1 1\r\n",
        "its own account's message is the first"
    );
}

#[test]
fn clients_receive_the_advertised_address() {
    let mut natsd = Running::start(&["--client_advertise", "example.org:1234"]);
    let info = Raw::connect(&mut natsd).info;
    assert_eq!((&info["host"], &info["port"]), (&"example.org".into(), &1234.into()));
}

#[test]
fn limits_of_a_file_apply() {
    let file = File::new("max_subs: 1, authorization { timeout: '50ms', token: t }");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut silent = Raw::connect(&mut natsd);
    assert_eq!(silent.say(""), "-ERR 'Authentication Timeout'\r\n");
    let connect = "CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n";
    let said = silent.again().say(&format!("{connect}SUB a 1\r\nSUB b 2\r\n"));
    assert_eq!(said, "-ERR 'maximum subscriptions exceeded'\r\n");
}

#[test]
fn the_flag_signal_signals_a_running_server_and_starts_none() {
    let mut running = Running::start(&[]);
    running.line("Server is ready");
    let output = natsd(&["-sl", &format!("reopen={}", running.pid())]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    running.line("Trapped \"user defined signal 1\" signal");

    let output = natsd(&["--signal=reload=/nonexistent.pid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("natsd: "), "{output:?}");
}
