//! Format and destinations of the log.

use crate::running::{Running, natsd, text, until};

#[test]
fn a_pipe_gets_no_colours() {
    let mut natsd = Running::start(&["-DV"]);
    natsd.line("Server is ready");
    natsd.signal("TERM");
    let (_, lines) = natsd.ended();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn without_logtime_a_line_begins_with_its_label() {
    for flag in ["-T=false", "--logtime=false"] {
        let mut natsd = Running::start(&[flag]);
        let line = natsd.line("Server is ready");
        assert_eq!(line, format!("[{}] [INF] Server is ready", natsd.pid()));
    }
}

#[test]
fn the_log_is_written_to_the_file_and_reopened_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("natsd.log"), dir.path().join("natsd.log.1"));
    let pid_file = dir.path().join("pid");
    let args = ["-l", path.to_str().unwrap(), "-P", pid_file.to_str().unwrap()];
    let natsd = Running::start(&args);

    until("the file contains the readiness", || contains(&path, "[INF] Server is ready\n"));
    std::fs::rename(&path, &moved).unwrap();
    natsd.signal("USR1");
    until("the file is reopened", || contains(&path, "[INF] File log re-opened\n"));
    natsd.signal("TERM");
    let (status, on_stderr) = natsd.ended();

    assert_eq!(status.code(), Some(0));
    assert_eq!(on_stderr, Vec::<String>::new());
    assert!(contains(&moved, "Trapped \"user defined signal 1\" signal\n"));
    assert!(contains(&path, "[INF] Server Exiting..\n"));
}

#[test]
fn an_unwritable_log_file_prevents_the_start() {
    let output = natsd(&["-p", "-1", "-l", "/nonexistent/natsd.log"]);
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(line.starts_with("natsd: error opening log file /nonexistent/natsd.log: "), "{line}");
}

#[test]
fn times_follow_the_zone_unless_utc_is_configured() {
    // 13 hours ahead of UTC, so that the hours differ in any zone of the machine.
    let hour = |args: &[&str]| {
        let mut natsd = Running::start_in(&[("TZ", "<+13>-13")], args);
        let line = natsd.line("Server is ready");
        line.split([' ', ':']).nth(2).unwrap().parse::<u32>().unwrap()
    };
    // The hour may change between the two.
    let ahead = (24 + hour(&[]) - hour(&["--logtime_utc"])) % 24;
    assert!([12, 13].contains(&ahead), "{ahead}");
}

fn contains(path: &std::path::Path, part: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(part))
}
