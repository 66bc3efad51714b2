//! Notifications to the service manager.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::clients::Raw;
use crate::running::Running;

/// The manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket, path, _dir: dir }
    }

    fn told(&self) -> String {
        let mut buffer = [0; 256];
        let len = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.unwrap(),
            }
        };
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }
}

#[test]
fn the_manager_is_notified_of_start_reload_and_stop() {
    let manager = Manager::new();
    let mut natsd = Running::start_in(&[("NOTIFY_SOCKET", &manager.path)], &[]);
    assert_eq!(manager.told(), "READY=1");
    natsd.line("Server is ready");

    natsd.signal("HUP");
    let reloading = manager.told();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.told(), "READY=1");

    natsd.signal("TERM");
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn the_manager_is_asked_for_time_in_lame_duck_mode() {
    let manager = Manager::new();
    let mut natsd = Running::start_in(&[("NOTIFY_SOCKET", &manager.path)], &[]);
    assert_eq!(manager.told(), "READY=1");
    let mut client = Raw::connect(&mut natsd);
    assert_eq!(client.say("CONNECT {\"verbose\":false}\r\nPING\r\n"), "PONG\r\n");
    natsd.signal("USR2");
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(manager.told(), "EXTEND_TIMEOUT_USEC=30000000");
}

#[test]
fn the_watchdog_is_notified_if_enabled() {
    let manager = Manager::new();
    let environment = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "2000")];
    let _natsd = Running::start_in(&environment, &[]);
    assert_eq!(manager.told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
}

#[test]
fn a_missing_manager_does_not_prevent_serving() {
    let mut natsd = Running::start_in(&[("NOTIFY_SOCKET", "/nonexistent/notify")], &[]);
    natsd.line("[WRN] Could not reach the service manager: ");
    natsd.signal("TERM");
    assert_eq!(natsd.ended().0.code(), Some(0));
}
