use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::mpsc::{Receiver, channel};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

/// Opens a syslog and returns the channel of its complaints.
fn open(address: &str) -> (Syslog, Receiver<String>) {
    let (send, complaints) = channel();
    let address = Address::parse(address).unwrap();
    let syslog = Syslog::open(address, "natsd", move |text| {
        let _ = send.send(text);
    });
    (syslog.unwrap(), complaints)
}

fn courier(local: bool, facility: u8) -> Courier {
    let (host, tag) = ("here".into(), "natsd".into());
    Courier { connection: None, address: Address::Local, local, facility, host, tag }
}

fn line(time: Zoned) -> Line {
    Line { severity: severity(Label::Info), time, text: "hello".into() }
}

#[test]
fn a_message_has_the_format_of_go() {
    let pid = std::process::id();
    let moment: Timestamp = "2026-11-02T03:04:05Z".parse().unwrap();
    let utc = line(moment.to_zoned(TimeZone::UTC));
    assert_eq!(
        courier(true, 24).packet(&utc),
        format!("<29>Nov  2 03:04:05 natsd[{pid}]: hello\n")
    );
    assert_eq!(
        courier(false, 0).packet(&utc),
        format!("<5>2026-11-02T03:04:05Z here natsd[{pid}]: hello\n")
    );
    let east = line("2026-11-02T03:04:05+05:30[+05:30]".parse().unwrap());
    assert_eq!(
        courier(false, 0).packet(&east),
        format!("<5>2026-11-02T03:04:05+05:30 here natsd[{pid}]: hello\n")
    );
}

#[test]
fn each_level_has_its_severity() {
    use Label::*;
    let severities = [Fatal, Error, Warn, Info, Debug, Trace].map(severity);
    assert_eq!(severities, [2, 3, 4, 5, 7, 5]);
}

#[test]
fn a_udp_syslog_gets_a_datagram_a_line() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let (syslog, _) = open(&format!("udp://{}", server.local_addr().unwrap()));
    for (label, start) in [(Label::Error, "<3>2"), (Label::Trace, "<5>2")] {
        syslog.write(label, "hello".into());
        let mut buffer = [0; 512];
        let len = server.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..len]).unwrap();
        assert!(text.starts_with(start), "{text}");
        let end = format!(" {} natsd[{}]: hello\n", host_name(), std::process::id());
        assert!(text.ends_with(&end), "{text}");
    }
}

#[test]
fn a_message_longer_than_syslogs_take_is_cut_at_a_character() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let (syslog, _) = open(&format!("udp://{}", server.local_addr().unwrap()));
    syslog.write(Label::Trace, "ü".repeat(100_000));
    let mut buffer = [0; 65536];
    let len = server.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..len]).unwrap();
    assert!(text.ends_with("ü...\n") && len < MAX_TEXT_BYTES + 200, "{len}");
}

#[test]
fn a_local_syslog_gets_datagrams_or_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let (syslog, _) = open(&format!("unix://{}", path.display()));
    syslog.write(Label::Warn, "hello".into());
    let mut buffer = [0; 512];
    let len = server.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..len]).unwrap();
    assert!(
        text.starts_with("<4>")
            && text.ends_with(&format!(" natsd[{}]: hello\n", std::process::id()))
    );
    assert!(!text.contains(&format!(" {} natsd", host_name())), "{text}");

    let path = dir.path().join("stream");
    let server = UnixListener::bind(&path).unwrap();
    let (syslog, _) = open(&format!("unix://{}", path.display()));
    let mut stream = BufReader::new(server.accept().unwrap().0);
    for text in ["one", "two"] {
        syslog.write(Label::Info, text.into());
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.ends_with(&format!("]: {text}\n")), "{line}");
    }
}

#[test]
fn a_restarted_syslog_gets_the_waiting_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (syslog, complaints) = out_of_reach(&path);
    syslog.write(Label::Info, "wait for me too".into());

    std::fs::remove_file(&path).unwrap();
    let server = UnixListener::bind(&path).unwrap();
    let (mut stream, _) = server.accept().unwrap();
    syslog.flush(DEADLINE);
    drop(syslog);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("]: wait for me\n") && text.contains("]: wait for me too\n"), "{text}");
    assert!(complaints.try_recv().is_err(), "one outage is one complaint");
}

/// Opens a syslog that disappears afterwards.
fn out_of_reach(path: &std::path::Path) -> (Syslog, Receiver<String>) {
    let server = UnixListener::bind(path).unwrap();
    let (syslog, complaints) = open(&format!("unix://{}", path.display()));
    drop(server.accept().unwrap());
    drop(server);
    syslog.write(Label::Info, "wait for me".into());
    let complaint = complaints.recv_timeout(DEADLINE).unwrap();
    assert!(complaint.starts_with("The syslog is out of reach (Connection refused"), "{complaint}");
    (syslog, complaints)
}

#[test]
fn a_blocked_syslog_loses_lines_without_blocking_the_caller() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (syslog, _) = open(&format!("tcp://{}", server.local_addr().unwrap()));
    let (mut stream, _) = server.accept().unwrap();
    // Far more than sockets and queue hold: a blocking writer would hang here.
    let text = "x".repeat(MAX_TEXT_BYTES);
    for _ in 0..10_000 {
        syslog.write(Label::Info, text.clone());
    }
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    syslog.flush(DEADLINE);
    drop(syslog);
    let read = reader.join().unwrap();
    let told: u64 = read
        .lines()
        .filter_map(|line| line.split_once("]: ")?.1.split_once(" lines of the log were lost"))
        .map(|(lost, _)| lost.parse::<u64>().unwrap())
        .sum();
    let arrived = read.lines().filter(|line| line.ends_with("xxx")).count() as u64;
    assert_eq!(arrived + told, 10_000);
    assert!(told > 0);
}

#[test]
fn a_missing_syslog_is_an_immediate_error() {
    for address in ["tcp://127.0.0.1:1", "unix:///nonexistent/log", "udp://127.0.0.1"] {
        let address = Address::parse(address).unwrap();
        assert!(Syslog::open(address, "natsd", |_| ()).is_err());
    }
}

#[test]
fn an_outage_does_not_delay_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (syslog, _) = out_of_reach(&dir.path().join("log"));
    let queue = Arc::clone(&syslog.queue);
    drop(syslog);
    queue.wait_until_empty(DEADLINE);
    assert!(queue.next().is_none());
}
