//! Reads the monitoring of a nats-server: as much of HTTP and JSON as that takes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The maximum time of a server on this machine to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns the text of a page.
pub(super) fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the texts of all members of this name.
pub(super) fn members(json: &str, name: &str) -> Vec<String> {
    let start = format!("\"{name}\":");
    let behind = json.split(&start).skip(1);
    behind.filter_map(|rest| text(rest.trim_start())).map(|(text, _)| text).collect()
}

/// Returns the texts in all lists of this name.
pub(super) fn lists(json: &str, name: &str) -> Vec<String> {
    let start = format!("\"{name}\":");
    let mut found = Vec::new();
    for rest in json.split(&start).skip(1) {
        let mut rest = rest.trim_start().trim_start_matches('[').trim_start();
        while let Some((text, behind)) = text(rest) {
            found.push(text);
            rest = behind.trim_start().trim_start_matches(',').trim_start();
        }
    }
    found
}

/// Returns the string at the beginning, and what is behind it. Subjects have no escapes but those that Go makes of
/// characters of HTML.
fn text(json: &str) -> Option<(String, &str)> {
    let (text, behind) = json.strip_prefix('"')?.split_once('"')?;
    let text = text.replace("\\u003e", ">").replace("\\u003c", "<").replace("\\u0026", "&");
    Some((text, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_subjects_are_found_with_and_without_indentation() {
        let json = r#"{"routes":[{"remote_id": "A", "subscriptions_list": [
            "a.\u003e",
            "b" ], "x": 1},{"remote_id":"B","subscriptions_list":["c"]},{"subscriptions_list":[]}]}"#;
        assert_eq!(members(json, "remote_id"), ["A", "B"]);
        assert_eq!(lists(json, "subscriptions_list"), ["a.>", "b", "c"]);
        assert!(lists(json, "other").is_empty());
    }
}
