//! One scenario against one server.

use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::report::{RSS_AFTER, RSS_IDLE, RSS_PEAK, Report, SETTLED};
use crate::sample::Span;
use crate::scenario::Scenario;
use crate::server::{Recipe, Server};

/// A server that has come to rest uses at most so much of what it used before the first client.
const AT_REST: f64 = 1.5;

/// No scenario takes longer, however slow the machine.
const LIMIT: Duration = Duration::from_secs(120);

/// How long everything takes, and how much there is of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Before anything is measured.
    pub(crate) warm_up: Duration,
    /// A stretch that is measured.
    pub(crate) span: Span,
    /// A stretch at a fixed rate.
    pub(crate) steady: Duration,
    /// How long the server gets to give memory back.
    pub(crate) settle: Duration,
    /// Connections and subscriptions are divided by this.
    pub(crate) divide: u32,
}

impl Effort {
    /// Enough for a median to be worth telling.
    pub(crate) fn full() -> Self {
        Self {
            warm_up: Duration::from_millis(300),
            span: Span {
                min: Duration::from_secs(1),
                max: Duration::from_millis(3500),
                cpu: Duration::from_millis(1500),
            },
            steady: Duration::from_secs(2),
            settle: Duration::from_secs(1),
            divide: 1,
        }
    }

    /// Enough to see that it works.
    pub(crate) fn quick() -> Self {
        Self {
            warm_up: Duration::from_millis(50),
            span: Span {
                min: Duration::from_millis(100),
                max: Duration::from_millis(500),
                cpu: Duration::from_millis(150),
            },
            steady: Duration::from_millis(300),
            settle: Duration::from_millis(50),
            divide: 10,
        }
    }

    /// The stretch before the first that is measured.
    pub(crate) fn warm_up(&self) -> Span {
        Span::exactly(self.warm_up)
    }
}

/// Where a scenario runs.
#[derive(Debug)]
pub(crate) struct Arena<'a> {
    /// How the server was started, for scenarios that need one with more arguments.
    pub(crate) recipe: &'a Recipe,
    /// The server.
    pub(crate) server: &'a mut Server,
    /// For how long, and how much.
    pub(crate) effort: Effort,
    /// What has been found out.
    pub(crate) report: Report,
}

/// Runs one scenario on a server of its own.
///
/// # Errors
/// If it cannot be run to its end, with the last of the server's log.
pub(crate) fn measure(
    recipe: &Recipe,
    scenario: &Scenario,
    effort: Effort,
) -> Result<Report, Fault> {
    let mut server = recipe.start_by(scenario.way)?;
    thread::sleep(effort.warm_up);
    let idle = server.memory()?.rss_bytes;
    let watchdog = server.kill_after(LIMIT);
    let mut arena = Arena { recipe, server: &mut server, effort, report: Report::default() };
    let result = (scenario.run)(&mut arena);
    let mut report = arena.report;
    drop(watchdog);
    if let Err(fault) = result {
        // A server that has died says so better than a connection that was cut.
        server.check()?;
        return Err(fault);
    }
    let peak = server.memory()?.peak_bytes;
    let left = Instant::now();
    let after = loop {
        server.check()?;
        let now = server.memory()?.rss_bytes;
        if now as f64 <= idle as f64 * AT_REST || left.elapsed() > effort.settle {
            break now;
        }
        thread::sleep(Duration::from_millis(20));
    };
    for (measure, bytes) in [(RSS_IDLE, idle), (RSS_PEAK, peak), (RSS_AFTER, after)] {
        report.add(measure, (bytes >> 10) as f64);
    }
    report.add(SETTLED, left.elapsed().as_secs_f64());
    Ok(report)
}
