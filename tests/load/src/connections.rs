//! Scenarios about connections instead of messages.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::fault::{During, Fault};
use crate::report::{
    CONNECTIONS, CPU_CONNECTION, CPU_IDLE, RSS_CONNECTION, RSS_CONNECTION_LATER, SECONDS, SYSTEM,
    micros,
};
use crate::sample::{Span, Start};
use crate::server::Server;
use crate::stats::Latencies;
use crate::wire::Wire;

/// Number of idle connections.
const IDLE: u32 = 5_000;

/// Number of concurrent connection attempts.
const CROWD: usize = 4;

/// Each leaves a port in TIME-WAIT, of which there are 28,000.
const STORM_MAX: usize = 10_000;

/// Interval of checking the processor time.
const TICK: Duration = Duration::from_millis(10);

/// Sends `PING` and awaits `PONG`, one after the other.
pub(crate) fn ping(arena: &mut Arena<'_>) -> Result<(), Fault> {
    let mut wire = Wire::dial(arena.server.address())?;
    ping_for(arena.server, &mut wire, arena.effort.warm_up())?;
    let start = Start::now(arena.server)?;
    let (count, latencies) = ping_for(arena.server, &mut wire, arena.effort.span)?;
    let cost = start.cost(arena.server)?;
    arena.report.add_cost(count, &cost);
    arena.report.add_latencies(latencies);
    Ok(())
}

fn ping_for(server: &mut Server, wire: &mut Wire, span: Span) -> Result<(u64, Latencies), Fault> {
    let start = Start::now(server)?;
    let mut latencies = Latencies::default();
    let mut tick = Instant::now();
    let mut count = 0;
    loop {
        let sent = Instant::now();
        wire.barrier()?;
        latencies.add(sent.elapsed().as_nanos() as u64);
        count += 1;
        if tick.elapsed() > TICK {
            tick = Instant::now();
            if span.is_over(&start, server)? {
                return Ok((count, latencies));
            }
        }
    }
}

/// Opens many connections with a subscription each, and leaves them idle.
pub(crate) fn idle(arena: &mut Arena<'_>) -> Result<(), Fault> {
    let count = IDLE / arena.effort.divide;
    let before = arena.server.memory()?.rss_bytes;
    let start = Start::now(arena.server)?;
    let mut wires = Vec::new();
    for number in 0..count {
        let mut wire = Wire::dial(arena.server.address())?;
        wire.send(format!("SUB idle.{number:04} 1\r\nPING\r\n").as_bytes())?;
        wire.await_pong()?;
        wires.push(wire);
    }
    let set_up = start.cost(arena.server)?;
    let grown =
        |server: &Server| Ok::<_, Fault>(server.memory()?.rss_bytes.saturating_sub(before) as f64);
    let at_once = grown(arena.server)?;
    let start = Start::now(arena.server)?;
    thread::sleep(arena.effort.steady + arena.effort.steady / 4);
    let cost = start.cost(arena.server)?;
    // The server may have pinged all of them by now, and have kept buffers for that.
    let later = grown(arena.server)?;
    for wire in wires.iter_mut().step_by(10) {
        wire.barrier()?;
    }
    let count = f64::from(count);
    arena.report.add(CONNECTIONS, count);
    arena.report.add(RSS_CONNECTION, at_once / count);
    arena.report.add(RSS_CONNECTION_LATER, later / count);
    arena.report.add(CPU_CONNECTION, micros(set_up.cpu) / count);
    arena.report.add(CPU_IDLE, 100.0 * cost.cpu.as_secs_f64() / cost.wall.as_secs_f64());
    Ok(())
}

/// Connects and disconnects repeatedly.
pub(crate) fn storm(arena: &mut Arena<'_>) -> Result<(), Fault> {
    storm_for(arena.server, arena.effort.warm_up(), STORM_MAX / 10)?;
    let start = Start::now(arena.server)?;
    let max = STORM_MAX / arena.effort.divide as usize;
    let (count, latencies) = storm_for(arena.server, arena.effort.span, max)?;
    let cost = start.cost(arena.server)?;
    arena.report.add(CONNECTIONS, count as f64);
    arena.report.add(CPU_CONNECTION, micros(cost.cpu) / count as f64);
    arena.report.add(SECONDS, cost.wall.as_secs_f64());
    arena.report.add(SYSTEM, cost.system_share);
    arena.report.add_latencies(latencies);
    Ok(())
}

fn storm_for(server: &mut Server, span: Span, max: usize) -> Result<(usize, Latencies), Fault> {
    let over = AtomicBool::new(false);
    let address = server.address();
    let visit = || {
        let mut all = Vec::new();
        while !over.load(Ordering::Relaxed) && all.len() < max / CROWD {
            let begun = Instant::now();
            let wire = Wire::dial(address)?;
            all.push(begun.elapsed().as_nanos() as u64);
            leave(&wire)?;
        }
        Ok(all)
    };
    let start = Start::now(server)?;
    let visits = thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD).map(|_| scope.spawn(visit)).collect();
        while !crowd.iter().all(|v| v.is_finished()) {
            thread::sleep(TICK);
            // An error also shows in the other threads.
            if !matches!(span.is_over(&start, server), Ok(false)) {
                over.store(true, Ordering::Relaxed);
            }
        }
        let joined = crowd.into_iter().map(|v| v.join());
        joined.collect::<Result<Vec<Result<Vec<u64>, Fault>>, _>>()
    });
    let mut latencies = Latencies::default();
    let mut count = 0;
    for visit in visits.map_err(|_| Fault::Garbled("a visitor panicked".into()))? {
        for ns in visit? {
            latencies.add(ns);
            count += 1;
        }
    }
    Ok((count, latencies))
}

/// Disconnects, and returns when the server has too.
fn leave(wire: &Wire) -> Result<(), Fault> {
    wire.stream().shutdown(Shutdown::Write).during("hanging up")?;
    let mut buffer = [0; 1024];
    loop {
        match wire.stream().read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e).during("waiting for the server to hang up"),
        }
    }
}
