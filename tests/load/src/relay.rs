//! The minimum cost on a machine: moving the bytes without parsing them.
//!
//! A relay behaves like a server while a connection is set up. From the first `PUB` or `HPUB` on it
//! forwards all bytes of that connection to every other one that has subscribed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::fault::{During, Fault};

/// Maximum bytes per read.
const BUFFER_BYTES: usize = 256 << 10;

/// The last bytes of a publisher that waits until all before has been forwarded.
const PING: &[u8] = b"PING\r\n";

type Receivers = Arc<Mutex<Vec<(u64, Arc<TcpStream>)>>>;

/// Relays until killed.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn run(address: SocketAddr) -> Result<(), Fault> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let listener = TcpListener::bind(address).during("listening")?;
    let receivers = Receivers::default();
    loop {
        let (stream, _) = listener.accept().during("accepting")?;
        let receivers = receivers.clone();
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        thread::spawn(move || {
            // A failed connection ends alone, as with any server.
            let _ = serve(id, &Arc::new(stream), &receivers);
            lock(&receivers).retain(|(other, _)| *other != id);
        });
    }
}

fn serve(id: u64, stream: &Arc<TcpStream>, receivers: &Receivers) -> std::io::Result<()> {
    let mut stream_in = stream.as_ref();
    stream.set_nodelay(true)?;
    stream_in.write_all(b"INFO {\"headers\":true,\"max_payload\":1048576}\r\n")?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let n = stream_in.read(&mut buffer[filled..])?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &buffer[at..filled]) {
            let line = &buffer[at..=at + end];
            if line.starts_with(b"PUB") || line.starts_with(b"HPUB") {
                let others: Vec<_> = lock(receivers)
                    .iter()
                    .filter(|(other, _)| *other != id)
                    .map(|(_, stream)| Arc::clone(stream))
                    .collect();
                return forward(stream_in, &others, &mut buffer, at..filled);
            }
            if line == PING {
                stream_in.write_all(b"PONG\r\n")?;
            } else if line.starts_with(b"SUB") {
                lock(receivers).push((id, Arc::clone(stream)));
            }
            at += end + 1;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

fn forward(
    mut from: &TcpStream,
    to: &[Arc<TcpStream>],
    buffer: &mut [u8],
    first: std::ops::Range<usize>,
) -> std::io::Result<()> {
    let mut chunk = first;
    loop {
        let bytes = &buffer[chunk.clone()];
        let ping = bytes.ends_with(PING);
        let bytes = bytes.strip_suffix(PING).unwrap_or(bytes);
        for receiver in to {
            // If this receiver has left, the others remain.
            let _ = receiver.as_ref().write_all(bytes);
        }
        if ping {
            from.write_all(b"PONG\r\n")?;
        }
        match from.read(buffer)? {
            0 => return Ok(()),
            n => chunk = 0..n,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
