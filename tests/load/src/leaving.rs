//! A client with very many subscriptions connects and disconnects, while another client measures
//! how long the server does not respond.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::fault::Fault;
use crate::report::{
    MAX, MAX_AT_REST, MAX_SUBSCRIBING, P99, RSS_SUBSCRIPTION, SUBSCRIPTIONS, micros,
};
use crate::stats::Latencies;
use crate::wire::Wire;

/// Number of subscriptions sent before a response is awaited.
const BATCH: u32 = 10_000;

/// The filters of the subscriptions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filters {
    /// A different literal subject each.
    Literal,
    /// A different token before a wildcard each.
    Wildcard,
    /// The same subject.
    Same,
}

impl Filters {
    fn write(self, out: &mut String, number: u32) {
        let _ = match self {
            Self::Literal => write!(out, "SUB s.{number} {number}\r\n"),
            Self::Wildcard => write!(out, "SUB s.{number}.* {number}\r\n"),
            Self::Same => write!(out, "SUB s {number}\r\n"),
        };
    }
}

/// The steady times until the server has returned the memory to the system: natsd does so at the first or second of its checks, which are 15 seconds
/// apart.
const UNTIL_RETURNED: u32 = 18;

/// A client makes `count` subscriptions and disconnects; another client pings the server
/// continuously.
pub(crate) fn leaving(arena: &mut Arena<'_>, filters: Filters, count: u32) -> Result<(), Fault> {
    let count = count / arena.effort.divide;
    let address = arena.server.address();
    let mut other = Wire::dial(address)?;
    let before = arena.server.memory()?.rss_bytes;

    let over = AtomicBool::new(false);
    let (holder, subscribing) = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let wire = Wire::dial(address).and_then(|mut wire| {
                subscribe(&mut wire, filters, count)?;
                Ok(wire)
            });
            over.store(true, Ordering::Relaxed);
            wire
        });
        let latencies = ping_until(&mut other, || over.load(Ordering::Relaxed))?;
        let wire = thread.join().map_err(|_| Fault::Garbled("who subscribes panicked".into()))?;
        Ok::<_, Fault>((wire?, latencies))
    })?;
    let grown = arena.server.memory()?.rss_bytes.saturating_sub(before);
    let at_rest = ping_for(&mut other, arena.effort.steady)?;
    drop(holder);
    let leaving = ping_for(&mut other, arena.effort.steady * UNTIL_RETURNED)?;

    let report = &mut arena.report;
    report.add(SUBSCRIPTIONS, f64::from(count));
    report.add(RSS_SUBSCRIPTION, grown as f64 / f64::from(count));
    for (measure, latencies) in [(MAX_SUBSCRIBING, subscribing), (MAX_AT_REST, at_rest)] {
        if let Some(all) = latencies.percentiles() {
            report.add(measure, micros(all.max));
        }
    }
    if let Some(all) = leaving.percentiles() {
        report.add(P99, micros(all.p99));
        report.add(MAX, micros(all.max));
    }
    Ok(())
}

fn subscribe(wire: &mut Wire, filters: Filters, count: u32) -> Result<(), Fault> {
    let mut text = String::new();
    for number in 1..=count {
        filters.write(&mut text, number);
        if number % BATCH == 0 || number == count {
            wire.send(text.as_bytes())?;
            wire.barrier()?;
            text.clear();
        }
    }
    Ok(())
}

fn ping_for(wire: &mut Wire, time: Duration) -> Result<Latencies, Fault> {
    let begun = Instant::now();
    ping_until(wire, || begun.elapsed() > time)
}

fn ping_until(wire: &mut Wire, is_over: impl Fn() -> bool) -> Result<Latencies, Fault> {
    let mut latencies = Latencies::default();
    while !is_over() {
        let sent = Instant::now();
        wire.barrier()?;
        latencies.add(sent.elapsed().as_nanos() as u64);
    }
    Ok(latencies)
}
