//! Runs one scenario against one server.

use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::report::{RSS_AFTER, RSS_IDLE, RSS_PEAK, Report, SETTLED};
use crate::sample::Span;
use crate::scenario::Scenario;
use crate::server::{Recipe, Server};

/// Maximum memory of a server at rest, relative to its memory before the first client.
const AT_REST: f64 = 1.5;

/// Timeout of a scenario on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Durations and sizes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// The warm-up before measuring.
    pub(crate) warm_up: Duration,
    /// A measured phase.
    pub(crate) span: Span,
    /// A phase at a fixed rate.
    pub(crate) steady: Duration,
    /// Time for the server to return memory.
    pub(crate) settle: Duration,
    /// Divides the numbers of connections and subscriptions.
    pub(crate) divide: u32,
}

impl Effort {
    /// Long enough for a meaningful median.
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

    /// Just long enough to see that it works.
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

    /// The phase before the first measured one.
    pub(crate) fn warm_up(&self) -> Span {
        Span::exactly(self.warm_up)
    }
}

/// The environment of a scenario.
#[derive(Debug)]
pub(crate) struct Arena<'a> {
    /// The command that started the server, for scenarios that need it with more arguments.
    pub(crate) recipe: &'a Recipe,
    /// The server.
    pub(crate) server: &'a mut Server,
    /// Durations and sizes.
    pub(crate) effort: Effort,
    /// The results.
    pub(crate) report: Report,
}

/// Runs one scenario on its own server.
///
/// # Errors
/// The scenario failed; includes the end of the server's log.
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
        // The exit of a dead server explains more than a broken connection.
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
