//! `--healthcheck`: asks a running server for its health, for containers that have no other program.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::options::Options;

/// Time for the whole check. Less than what container engines and Kubernetes wait by default would be too little for
/// a loaded machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are read of an answer: the status line, headers, and the error that it states.
const MAX_ANSWER: usize = 4096;

/// The server is not healthy, or did not say so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error("the server chooses a free port: give a port to ask for its health")]
    NoPort,
    #[error("no server at {address}: {error}")]
    Unreachable { address: String, error: io::Error },
    #[error(
        "{address} accepted the connection and said nothing: set http_port to ask for its health"
    )]
    Silent { address: String },
    #[error("{address} is unhealthy: {answer}")]
    Unhealthy { address: String, answer: String },
}

/// Asks `/healthz` if monitoring is on without TLS, else waits for the INFO that clients get.
///
/// # Errors
///
/// Returns [`HealthError`] if the server does not say within five seconds that it is healthy.
pub(crate) fn run(options: &Options) -> Result<(), HealthError> {
    if options.http_port == 0 {
        return ask(&address(&options.host, options.port.into())?, None);
    }
    let host = if options.http_host.is_empty() { &options.host } else { &options.http_host };
    let base = options.http_base_path.as_deref().unwrap_or_default();
    ask(&address(host, options.http_port)?, Some(base))
}

/// Returns the address at which this machine reaches a listener.
fn address(host: &str, port: i64) -> Result<String, HealthError> {
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    match (port, host.contains(':')) {
        (..=0, _) => Err(HealthError::NoPort),
        (_, true) => Ok(format!("[{host}]:{port}")),
        (_, false) => Ok(format!("{host}:{port}")),
    }
}

fn ask(address: &str, base_path: Option<&str>) -> Result<(), HealthError> {
    let until = Instant::now() + PATIENCE;
    let unreachable = |error| HealthError::Unreachable { address: address.to_owned(), error };
    let mut stream = connect(address).map_err(unreachable)?;
    let expected = match base_path {
        Some(base) => {
            write!(stream, "GET {base}/healthz HTTP/1.0\r\nHost: {address}\r\n\r\n")
                .map_err(unreachable)?;
            "HTTP/1.0 200 "
        }
        None => "INFO ",
    };
    let answer = read(&mut stream, expected.len(), until);
    // The server may answer with a later version of HTTP.
    if answer.replacen("HTTP/1.1", "HTTP/1.0", 1).starts_with(expected) {
        Ok(())
    } else if answer.is_empty() {
        Err(HealthError::Silent { address: address.to_owned() })
    } else {
        Err(HealthError::Unhealthy { address: address.to_owned(), answer: shown(&answer) })
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads until the peer closes, or until an answer has begun as expected.
fn read(stream: &mut TcpStream, expected: usize, until: Instant) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while answer.len() < MAX_ANSWER {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => answer.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
        if answer.len() >= expected && is_well(&answer) {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns true if nothing that follows can change the result.
fn is_well(answer: &[u8]) -> bool {
    answer.starts_with(b"INFO ")
        || answer.starts_with(b"HTTP/1.1 200 ")
        || answer.starts_with(b"HTTP/1.0 200 ")
}

/// Returns the status line and the body of an answer in one line.
fn shown(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    format!("{status} {body}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with `answer`, after reading a request if there is one.
    fn server(answer: &'static str) -> (Options, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options =
            Options { host: "0.0.0.0".into(), http_port: port.into(), ..Options::default() };
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut piece = [0; 512];
            let bytes = stream.read(&mut piece).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&piece[..bytes]).into_owned()
        });
        (options, thread)
    }

    #[test]
    fn the_health_of_the_monitoring_listener_is_asked_for() {
        let (mut options, thread) = server("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}");
        options.http_base_path = Some("/nats".into());
        run(&options).unwrap();
        assert!(thread.join().unwrap().starts_with("GET /nats/healthz HTTP/1.0\r\n"));
    }

    #[test]
    fn an_unhealthy_server_says_why() {
        let (options, thread) = server("HTTP/1.1 500 Oops\r\nA: b\r\n\r\n{\"status\":\"error\"}\n");
        let error = run(&options).unwrap_err().to_string();
        thread.join().unwrap();
        assert!(
            error.ends_with(" is unhealthy: HTTP/1.1 500 Oops {\"status\":\"error\"}"),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_closes_without_an_answer_is_unhealthy() {
        let (options, thread) = server("");
        assert!(matches!(run(&options), Err(HealthError::Silent { .. })));
        thread.join().unwrap();
    }

    #[test]
    fn without_monitoring_the_info_for_clients_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = Options { host: String::new(), port, ..Options::default() };
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"INFO {}\r\n").unwrap();
            // The check ends first.
            stream.read(&mut [0]).unwrap()
        });
        run(&options).unwrap();
        assert_eq!(thread.join().unwrap(), 0);
    }

    #[test]
    fn nobody_and_no_port_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let gone = Options { host: "127.0.0.1".into(), port, ..Options::default() };
        assert!(matches!(run(&gone), Err(HealthError::Unreachable { .. })));
        let any = Options { port: 0, ..Options::default() };
        assert!(matches!(run(&any), Err(HealthError::NoPort)));
        let any = Options { http_port: -1, ..Options::default() };
        assert!(matches!(run(&any), Err(HealthError::NoPort)));
    }

    #[test]
    fn addresses_are_reachable_from_this_machine() {
        assert_eq!(address("::", 1).unwrap(), "[::1]:1");
        assert_eq!(address("fe80::1", 2).unwrap(), "[fe80::1]:2");
        assert_eq!(address("", 3).unwrap(), "127.0.0.1:3");
        assert_eq!(address("h", 4).unwrap(), "h:4");
    }
}
