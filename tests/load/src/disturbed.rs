//! Scenarios in which another client disturbs a publisher.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::batch::Extra;
use crate::fault::{During, Fault};
use crate::report::{CHURN, CPU_FACTOR, CUT, KEPT, P99_FACTOR, P99_WITHOUT, micros};
use crate::run::{Outcome, Plan, Run};
use crate::sample::Span;
use crate::server::Server;
use crate::stats::Latencies;
use crate::streams::fan_out;
use crate::wire::Wire;

/// Messages per second while subscriptions come and go.
const CHURN_MESSAGES: u32 = 50_000;

/// Subscriptions made and ended per second, and per millisecond.
const CHURN_RATE: u64 = 20_000;
const CHURN_BURST: u64 = CHURN_RATE / 1000;

/// Subscriptions held by the disturbing client at any time.
const CHURN_HELD: u64 = 1_000;

/// Under a flood the bytes in flight determine the latency, so that they are kept few.
const FLOOD_WINDOW_BYTES: u64 = 1 << 20;

/// Duration of the phase with a stalled subscriber, relative to others: a server suffers only once
/// it holds as much for it as its limit allows.
const STALLED_TIMES: u32 = 2;

/// Time for a stalled subscriber that resumes reading to wait for more, and its maximum for
/// reading.
const CUT_PATIENCE: Duration = Duration::from_millis(500);
const CUT_LIMIT: Duration = Duration::from_secs(5);

/// Publishes steadily while another client makes and ends subscriptions.
pub(crate) fn churn(arena: &mut Arena<'_>) -> Result<(), Fault> {
    let effort = arena.effort;
    let mut plan = fan_out(1, 128);
    plan.form.extra = Extra::Time;
    plan.rate = Some(CHURN_MESSAGES);
    plan.timed = Some(1);
    let payload_bytes = plan.form.payload_bytes;
    let restless = Wire::dial(arena.server.address())?;
    let run = Run::open(arena.server, plan)?;
    let over = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let ((outcome, done), mut latencies) = run.go(arena.server, |flow| {
        thread::scope(|scope| {
            let thread = scope.spawn(|| come_and_go(restless, &over, &done));
            let measured = flow.phase(0, effort.warm_up()).and_then(|_| {
                let before = done.load(Ordering::Relaxed);
                let outcome = flow.phase(1, Span::exactly(effort.steady))?;
                Ok((outcome, done.load(Ordering::Relaxed) - before))
            });
            over.store(true, Ordering::Relaxed);
            thread.join().map_err(|_| Fault::Garbled("the restless client panicked".into()))??;
            measured
        })
    })?;
    arena.report.add_outcome(&outcome, payload_bytes);
    arena.report.add_latencies(latencies.pop().unwrap_or_default());
    arena.report.add(CHURN, done as f64 / outcome.cost.wall.as_secs_f64());
    Ok(())
}

/// Makes and ends subscriptions at a fixed rate: alternately an inbox, and a wildcard near the
/// publisher's subject.
fn come_and_go(mut wire: Wire, over: &AtomicBool, done: &AtomicU64) -> Result<(), Fault> {
    let start = Instant::now();
    let mut sid = 0;
    while !over.load(Ordering::Relaxed) {
        let mut lines = String::new();
        for _ in 0..CHURN_BURST {
            sid += 1;
            lines += &match sid % 2 {
                0 => format!("SUB orders.*.{sid} {sid}\r\n"),
                _ => format!("SUB _INBOX.Xk2bT9wLqR7vYp4mZc6H.{sid} {sid}\r\n"),
            };
            if sid > CHURN_HELD {
                lines += &format!("UNSUB {}\r\n", sid - CHURN_HELD);
            }
        }
        wire.send(lines.as_bytes())?;
        wire.barrier()?;
        done.store(sid, Ordering::Relaxed);
        let next = start + Duration::from_millis(sid / CHURN_BURST);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Publishes to two subscribers, then to a third one too that does not read, then to two again.
///
/// The effect of the stalled subscriber is measured against the phases before and after: on a busy
/// machine the one before would not suffice.
pub(crate) fn stalled(arena: &mut Arena<'_>, rate: Option<u32>) -> Result<(), Fault> {
    let effort = arena.effort;
    let mut plan = fan_out(2, if rate.is_some() { 4096 } else { 1024 });
    plan.form.extra = Extra::Time;
    plan.rate = rate;
    plan.timed = Some(if rate.is_some() { 1 } else { 16 });
    plan.window_bytes = rate.is_none().then_some(FLOOD_WINDOW_BYTES);
    let payload_bytes = plan.form.payload_bytes;
    let around = Span::exactly(effort.steady / 2);
    let before = measured(arena.server, plan.clone(), effort.warm_up(), around)?;

    let mut stalled = Wire::dial(arena.server.address())?;
    stalled.send(b"SUB orders.eu 1\r\n")?;
    stalled.barrier()?;
    let span = Span::exactly(effort.steady * STALLED_TIMES);
    // Without a warm-up: the server's reaction to the stall is measured.
    let none = Span::exactly(Duration::ZERO);
    let (beside, latencies) = measured(arena.server, plan.clone(), none, span)?;
    let cut = is_cut(&stalled)?;
    drop(stalled);

    let after = measured(arena.server, plan, effort.warm_up(), around)?;
    let undisturbed = [before, after];
    let mean = |of: fn(&Outcome) -> f64| {
        undisturbed.iter().map(|(outcome, _)| of(outcome)).sum::<f64>() / undisturbed.len() as f64
    };
    let report = &mut arena.report;
    report.add_outcome(&beside, payload_bytes);
    report.add(KEPT, 100.0 * rate_of(&beside) / mean(rate_of));
    report.add(CPU_FACTOR, cpu_of(&beside) / mean(cpu_of));
    let p99 = report.add_latencies(latencies).map(|p| p.p99);
    let mut without = Latencies::default();
    undisturbed.into_iter().for_each(|(_, latencies)| without.merge(latencies));
    if let (Some(without), Some(p99)) = (without.percentiles().map(|p| p.p99), p99) {
        report.add(P99_FACTOR, p99.as_secs_f64() / without.as_secs_f64());
        report.add(P99_WITHOUT, micros(without));
    }
    report.add(CUT, f64::from(u8::from(cut)));
    Ok(())
}

fn measured(
    server: &mut Server,
    plan: Plan,
    warm_up: Span,
    span: Span,
) -> Result<(Outcome, Latencies), Fault> {
    let run = Run::open(server, plan)?;
    let (outcome, mut latencies) = run.go(server, |flow| {
        flow.phase(0, warm_up)?;
        flow.phase(1, span)
    })?;
    Ok((outcome, latencies.pop().unwrap_or_default()))
}

/// Messages published per second.
fn rate_of(outcome: &Outcome) -> f64 {
    outcome.published as f64 / outcome.publishing.as_secs_f64()
}

/// The server's processor time per message published.
fn cpu_of(outcome: &Outcome) -> f64 {
    outcome.cost.cpu.as_secs_f64() / outcome.published.max(1) as f64
}

/// Returns true if the server has closed the connection, after reading its last output.
fn is_cut(stalled: &Wire) -> Result<bool, Fault> {
    const WHAT: &str = "looking at the stalled one";
    let mut stream = stalled.stream();
    stream.set_read_timeout(Some(CUT_PATIENCE)).during(WHAT)?;
    let deadline = Instant::now() + CUT_LIMIT;
    let mut buffer = vec![0; 256 << 10];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}
