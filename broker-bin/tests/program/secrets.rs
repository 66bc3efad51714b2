//! No credential of a client reaches the log.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::running::Running;

const SECRETS: [&str; 6] = ["Pa55word", "T0ken", "J3wt.J3wt.J3wt", "S1gnature", "H4lf", "M1sspelt"];

/// Sends `text` and waits until the server has processed it.
fn say(address: &str, text: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // A reset counts as an end.
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn no_credential_reaches_the_log() {
    for flags in [&["--user", "derek", "--pass", "Pa55word"][..], &["--auth", "T0ken"], &[]] {
        let mut natsd = Running::start(&[flags, &["-DVV"]].concat());
        let line = natsd.line("Listening for client connections on ");
        let address = line.rsplit(' ').next().unwrap().to_owned();
        for connect in [
            r#"CONNECT {"user":"derek","pass":"Pa55word","auth_token":"T0ken"}"#,
            r#"CONNECT {"user":"derek","pass": "Pa55word X"}"#,
            r#"CONNECT {"jwt":"J3wt.J3wt.J3wt","sig":"S1gnature","nkey":"UABC"}"#,
            r#"CONNECT {"pass":{"nested":"Pa55word"},"auth_token":["T0ken"]}"#,
            r#"CONNECT {"pass":"H4lf"#,
            r#"CONECT {"pass":"M1sspelt"}"#,
            r#"connect{"pass":"M1sspelt"}"#,
        ] {
            say(&address, &format!("{connect}\r\nPING\r\n{connect}\r\n"));
        }
        natsd.signal("TERM");
        let (_, lines) = natsd.ended();
        // The log does contain CONNECT.
        assert!(lines.iter().any(|line| line.contains("<<- [CONNECT {")), "{lines:#?}");
        for line in &lines {
            for secret in SECRETS {
                assert!(!line.contains(secret), "{line}");
            }
        }
    }
}

#[test]
fn a_storm_of_rejected_clients_is_summarized() {
    let mut natsd = Running::start(&["--user", "derek", "--pass", "Pa55word"]);
    let line = natsd.line("Listening for client connections on ");
    let address = line.rsplit(' ').next().unwrap().to_owned();
    for _ in 0..30 {
        say(&address, "CONNECT {\"user\":\"derek\",\"pass\":\"x\"}\r\n");
    }
    natsd.signal("TERM");
    let (_, lines) = natsd.ended();
    let refusals = lines.iter().filter(|line| line.contains("[ERR] 127.0.0.1:")).count();
    assert_eq!(refusals, 10, "{lines:#?}");
    let sum =
        "[ERR] 127.0.0.1 - 20 more lines like this in 60s were not logged: authentication error";
    assert!(lines.last().unwrap().contains(sum), "{lines:#?}");
}
