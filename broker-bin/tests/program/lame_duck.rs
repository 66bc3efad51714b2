//! Lame duck mode from the operator's view.

use std::process::Command;

use crate::clients::Raw;
use crate::file::File;
use crate::running::{NATSD, Running};

/// Returns the log lines without process and time, from the first signal on.
fn said(lines: &[String]) -> Vec<&str> {
    let texts = lines.iter().map(|line| &line[line.find(" [").unwrap() + 1..]);
    texts.skip_while(|text| !text.contains("Trapped")).collect()
}

/// Connects a client that handles INFO updates, and waits until it is served.
fn client(natsd: &mut Running) -> Raw {
    let mut client = Raw::connect(natsd);
    let connect = "CONNECT {\"verbose\":false,\"protocol\":1}\r\n";
    assert_eq!(client.say(&format!("{connect}PING\r\n")), "PONG\r\n");
    assert!(client.line().starts_with("INFO {"));
    client
}

#[test]
fn without_clients_the_program_ends_at_once() {
    let mut natsd = Running::start(&[]);
    natsd.line("Server is ready");
    let signal = ["--signal", &format!("ldm={}", natsd.pid())];
    assert!(Command::new(NATSD).args(signal).status().unwrap().success());
    let (status, lines) = natsd.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        said(&lines),
        [
            "[INF] Trapped \"user defined signal 2\" signal",
            "[INF] Entering lame duck mode, stop accepting new clients",
            "[INF] Initiating Shutdown...",
            "[INF] Server Exiting..",
        ]
    );
}

#[test]
fn clients_are_notified_then_closed_and_the_program_exits_with_0() {
    let file = File::new("lame_duck_duration: '30s', lame_duck_grace_period: '100ms'");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = client(&mut natsd);
    natsd.signal("USR2");
    assert!(client.line().contains("\"ldm\":true"));
    assert_eq!(client.line(), "", "the end");
    drop(client);
    let (status, lines) = natsd.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        said(&lines),
        [
            "[INF] Trapped \"user defined signal 2\" signal",
            "[INF] Entering lame duck mode, stop accepting new clients",
            "[INF] Closing existing clients",
            "[INF] Initiating Shutdown...",
            "[INF] Server Exiting..",
        ]
    );
}

/// Kubernetes sends TERM after the hook that began lame duck mode; systemd does too.
#[test]
fn a_first_term_is_ignored_and_a_second_one_ends_lame_duck_mode() {
    let mut natsd = Running::start(&[]);
    let mut client = client(&mut natsd);
    natsd.signal("USR2");
    assert!(client.line().contains("\"ldm\":true"));
    natsd.signal("TERM");
    natsd.line("[INF] Lame duck mode continues; a second signal of this kind ends it at once");
    natsd.signal("USR2");
    natsd.line("Trapped \"user defined signal 2\" signal");
    assert_eq!(client.say("PING\r\n"), "PONG\r\n");
    natsd.signal("TERM");
    natsd.line("[INF] Initiating Shutdown...");
    assert_eq!(client.line(), "", "the end");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

/// On a busy machine the program sees both at once.
#[test]
fn a_term_that_comes_together_with_the_hook_is_ignored() {
    let mut natsd = Running::start(&[]);
    let mut client = client(&mut natsd);
    for signal in ["STOP", "USR2", "TERM", "CONT"] {
        natsd.signal(signal);
    }
    natsd.line("[INF] Lame duck mode continues; a second signal of this kind ends it at once");
    assert!(client.line().contains("\"ldm\":true"));
    assert_eq!(client.say("PING\r\n"), "PONG\r\n");
    natsd.signal("TERM");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn an_interrupt_ends_lame_duck_mode_at_once() {
    let mut natsd = Running::start(&[]);
    let mut client = client(&mut natsd);
    natsd.signal("USR2");
    assert!(client.line().contains("\"ldm\":true"));
    natsd.signal("INT");
    natsd.line("[INF] Initiating Shutdown...");
    assert_eq!(client.line(), "", "the end");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn a_reload_still_takes_effect() {
    let file = File::new("max_payload: 1000");
    let mut natsd = Running::start(&["-c", file.path()]);
    let mut client = client(&mut natsd);
    natsd.signal("USR2");
    assert!(client.line().contains("\"ldm\":true"));
    file.write("max_payload: 1");
    natsd.signal("HUP");
    natsd.line("[INF] Reloaded server configuration (sha256:");
    assert_eq!(client.say("PUB a 2\r\nhi\r\n"), "-ERR 'Maximum Payload Violation'\r\n");
}
