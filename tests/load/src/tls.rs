//! The cost of setting up and keeping TLS connections.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use rustls::{ClientConnection, StreamOwned};

use crate::arena::Arena;
use crate::bridge;
use crate::fault::{During, Fault};
use crate::report::{CONNECTIONS, CPU_CONNECTION, RSS_CONNECTION, RSS_CONNECTION_LATER, micros};
use crate::sample::Start;
use crate::wire::{CONNECT, patient};

/// Number of connections.
const COUNT: u32 = 2_000;

/// Number of connections before the measurement.
const WARM_UP: u32 = 50;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Opens many connections in sequence, each with a full handshake, and leaves them idle.
pub(crate) fn connections(arena: &mut Arena<'_>) -> Result<(), Fault> {
    let count = COUNT / arena.effort.divide;
    let _first: Vec<_> = (0..WARM_UP).map(|_| dial(arena)).collect::<Result<_, _>>()?;
    let before = arena.server.memory()?.rss_bytes;
    let start = Start::now(arena.server)?;
    let mut all = (0..count).map(|_| dial(arena)).collect::<Result<Vec<_>, _>>()?;
    let set_up = start.cost(arena.server)?;
    let at_once = arena.server.memory()?.rss_bytes.saturating_sub(before);
    thread::sleep(arena.effort.steady + arena.effort.steady / 4);
    // The server may have pinged all of them by now.
    let later = arena.server.memory()?.rss_bytes.saturating_sub(before);
    for tls in all.iter_mut().step_by(10) {
        tls.write_all(b"PING\r\n").during("writing to the server")?;
        await_pong(tls)?;
    }
    let count = f64::from(count);
    arena.report.add(CONNECTIONS, count);
    arena.report.add(CPU_CONNECTION, micros(set_up.cpu) / count);
    arena.report.add(RSS_CONNECTION, at_once as f64 / count);
    arena.report.add(RSS_CONNECTION_LATER, later as f64 / count);
    Ok(())
}

fn dial(arena: &Arena<'_>) -> Result<Tls, Fault> {
    let stream = TcpStream::connect(arena.server.address().socket).during("connecting")?;
    let mut stream = patient(stream)?;
    let mut info = Vec::new();
    while info.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).during("awaiting INFO")?;
        info.extend_from_slice(&byte);
    }
    let mut tls = StreamOwned::new(bridge::shake(&mut stream)?, stream);
    tls.write_all(CONNECT).during("writing to the server")?;
    await_pong(&mut tls)?;
    Ok(tls)
}

/// Answers a `PING` that arrives first.
fn await_pong(tls: &mut Tls) -> Result<(), Fault> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        tls.read_exact(&mut byte).during("awaiting an answer")?;
        line.extend_from_slice(&byte);
        match &*line {
            b"PONG\r\n" => return Ok(()),
            b"PING\r\n" => {
                tls.write_all(b"PONG\r\n").during("writing to the server")?;
                line.clear();
            }
            [.., b'\n'] if !line.starts_with(b"INFO ") => {
                return Err(io::Error::other(String::from_utf8_lossy(&line).into_owned()))
                    .during("awaiting an answer");
            }
            [.., b'\n'] => line.clear(),
            _ => {}
        }
    }
}
