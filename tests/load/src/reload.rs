//! A server that reloads its configuration under load.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::arena::Arena;
use crate::batch::Extra;
use crate::fault::{During, Fault};
use crate::report::{MAX_WITHOUT, P99_FACTOR_RELOAD, P99_WITHOUT_RELOAD, RELOADS, micros};
use crate::run::Run;
use crate::sample::Span;
use crate::streams::fan_out;

/// Messages per second.
const MESSAGES: u32 = 14_000;

/// Time between two reloads.
const PAUSE: Duration = Duration::from_millis(20);

/// Duration of the phase with reloads relative to others: 200 reloads.
const TIMES: u32 = 2;

/// Constant users, besides those that come and go.
const USERS: usize = 100;

/// Publishes steadily, first without reloads, then while users and permissions change.
pub(crate) fn reload(arena: &mut Arena<'_>) -> Result<(), Fault> {
    let effort = arena.effort;
    let file = File::new()?;
    file.write(0)?;
    let mut recipe = arena.recipe.clone();
    recipe.append(&format!("-c {}", file.0.display()));
    let mut server = recipe.start()?;

    let mut plan = fan_out(1, 128);
    plan.form.extra = Extra::Time;
    plan.rate = Some(MESSAGES);
    plan.timed = Some(1);
    let payload_bytes = plan.form.payload_bytes;
    let pid = server.pid();
    let run = Run::open(&server, plan)?;
    let over = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let (outcome, latencies) = run.go(&mut server, |flow| {
        flow.phase(0, effort.warm_up())?;
        flow.phase(1, Span::exactly(effort.steady))?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let start = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    file.write(count)?;
                    pid.reload()?;
                    let next = start + PAUSE * u32::try_from(count).unwrap_or(u32::MAX);
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                Ok::<(), Fault>(())
            });
            let measured = flow.phase(2, Span::exactly(effort.steady * TIMES));
            over.store(true, Ordering::Relaxed);
            thread.join().map_err(|_| Fault::Garbled("who reloads panicked".into()))??;
            measured
        })
    })?;
    let mut latencies = latencies.into_iter().skip(1);
    let without = latencies.next().unwrap_or_default().percentiles();
    let report = &mut arena.report;
    report.add_outcome(&outcome, payload_bytes);
    let beside = report.add_latencies(latencies.next().unwrap_or_default());
    if let (Some(without), Some(beside)) = (without, beside) {
        report.add(P99_FACTOR_RELOAD, beside.p99.as_secs_f64() / without.p99.as_secs_f64());
        report.add(P99_WITHOUT_RELOAD, micros(without.p99));
        report.add(MAX_WITHOUT, micros(without.max));
    }
    report.add(RELOADS, done.load(Ordering::Relaxed) as f64);
    Ok(())
}

/// The configuration file; removed when dropped.
struct File(PathBuf);

impl File {
    fn new() -> Result<Self, Fault> {
        let path = std::env::temp_dir().join(format!("load-reload-{}.conf", std::process::id()));
        fs::write(&path, "").during("writing the configuration")?;
        Ok(Self(path))
    }

    /// Clients without credentials are `steady`; another user comes and goes, and the permissions
    /// of a third differ each time.
    fn write(&self, round: u64) -> Result<(), Fault> {
        let stay: String =
            (0..USERS).map(|n| format!("{{user: user{n}, password: pw}}\n")).collect();
        let content = format!(
            "max_payload: {payload}
             no_auth_user: steady
             authorization {{ users: [
               {{user: steady, password: pw}}
               {{user: guest{round}, password: pw}}
               {{user: changing, password: pw, permissions: {{publish: round.{round}}}}}
               {stay}
             ] }}",
            payload = (1 << 20) + round,
        );
        // Replaced atomically, since the server may read it at any time.
        let next = self.0.with_extension("next");
        fs::write(&next, content)
            .and_then(|()| fs::rename(&next, &self.0))
            .during("writing the configuration")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
