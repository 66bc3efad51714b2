//! Reads the header of a connection, and no further byte.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::header::{Fault, Found, PEEK_BYTES, parse};

/// A header could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("timeout reading PROXY protocol header")]
    Timeout,
    #[error("failed to read PROXY protocol header: {0}")]
    Io(#[from] io::Error),
}

/// Removes the header, if there is one, and returns the address of the client.
///
/// Bytes after the header, and input without a header, stay unread.
pub(crate) async fn read(
    stream: &TcpStream,
    within: Duration,
) -> Result<Option<SocketAddr>, ReadError> {
    tokio::time::timeout(within, read_patiently(stream)).await.unwrap_or(Err(ReadError::Timeout))
}

async fn read_patiently(stream: &TcpStream) -> Result<Option<SocketAddr>, ReadError> {
    match look(stream).await? {
        Found::Nothing => Ok(None),
        Found::Header { used, source } => {
            skip(stream, used).await?;
            Ok(source)
        }
    }
}

/// Peeks until there are enough bytes to decide.
async fn look(stream: &TcpStream) -> Result<Found, ReadError> {
    // Non-blocking peeks need the standard library's stream, of which this is another handle.
    let looking = std::net::TcpStream::from(SockRef::from(stream).try_clone()?);
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let mut parsed = Ok(None);
        let looked = stream.try_io(Interest::READABLE, || {
            let mut bytes = [0; PEEK_BYTES];
            let len = looking.peek(&mut bytes)?;
            parsed = parse(&bytes[..len]);
            // With too few bytes, only further ones make the socket readable again.
            if parsed == Ok(None) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if let Some(found) = parsed? {
            return Ok(found);
        }
        match looked {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            _ if ready.is_read_closed() => {
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            _ => {}
        }
    }
}

async fn skip(stream: &TcpStream, mut bytes: usize) -> io::Result<()> {
    while bytes > 0 {
        stream.readable().await?;
        let mut room = [0; 512];
        let most = bytes.min(room.len());
        match stream.try_read(&mut room[..most]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => bytes -= len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(2);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), connecting);
        (accepted.unwrap().0, client.unwrap())
    }

    /// Sends the pieces, each after the server has seen the previous one.
    async fn said(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, ReadError>, String) {
        let (mut server, mut client) = pair().await;
        client.set_nodelay(true).unwrap();
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
            client.shutdown().await.unwrap();
        };
        let (result, ()) = tokio::join!(read(&server, WITHIN), sending);
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        (result, rest)
    }

    #[tokio::test]
    async fn input_after_the_header_belongs_to_the_client() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 7 4222\r\nCONNECT {}\r\n";
        let (source, rest) = said(&[line]).await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:7".parse().unwrap()));
        assert_eq!(rest, "CONNECT {}\r\n");
    }

    #[tokio::test]
    async fn a_header_may_arrive_in_pieces() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 7 4222\r\nPING\r\n";
        let pieces: Vec<&[u8]> = line.chunks(1).collect();
        let (source, rest) = said(&pieces).await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:7".parse().unwrap()));
        assert_eq!(rest, "PING\r\n");
    }

    #[tokio::test]
    async fn additional_parts_of_a_header_are_skipped() {
        let mut bytes =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x00\x01\x02\x03\x04\x05\x06\x07\x08\0\x07\0\x09"
                .to_vec();
        bytes.resize(16 + 0x1000, b'x');
        bytes.extend_from_slice(b"PING\r\n");
        let (front, back) = bytes.split_at(1000);
        let (source, rest) = said(&[front, back]).await;
        assert_eq!(source.unwrap(), Some("1.2.3.4:7".parse().unwrap()));
        assert_eq!(rest, "PING\r\n");
    }

    #[tokio::test]
    async fn input_without_a_header_is_left_unread() {
        let (source, rest) = said(&[b"CONN", b"ECT {}\r\n"]).await;
        assert_eq!(source.unwrap(), None);
        assert_eq!(rest, "CONNECT {}\r\n");
    }

    #[tokio::test]
    async fn a_truncated_header_is_an_error() {
        for pieces in [&[&b"PROXY TCP4"[..]][..], &[b""], &[b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x09xxx"]]
        {
            assert!(matches!(said(pieces).await.0, Err(ReadError::Io(_))), "{pieces:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_header_times_out() {
        let (server, mut client) = pair().await;
        client.write_all(b"PROXY ").await.unwrap();
        let since = tokio::time::Instant::now();
        assert!(matches!(read(&server, WITHIN).await, Err(ReadError::Timeout)));
        assert!(since.elapsed() < WITHIN + Duration::from_millis(100));
    }
}
