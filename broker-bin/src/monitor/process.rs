//! Resource usage of this process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

/// Minimum interval for measuring processor usage.
const WINDOW: Duration = Duration::from_secs(1);

/// Memory and processor time of this process.
#[derive(Debug)]
pub(crate) struct Process {
    stat: Status,
    statm: Status,
    last: Mutex<Sample>,
}

/// A file of /proc whose contents change with each read. It stays open, so that it can be read when
/// no file descriptors are left.
#[derive(Debug)]
struct Status(Option<File>);

impl Status {
    fn open(path: &str) -> Self {
        Self(File::open(path).ok())
    }

    fn read(&self) -> Option<String> {
        let mut text = [0; 1024];
        let len = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        // A program's name need not be valid UTF-8.
        Some(String::from_utf8_lossy(&text[..len]).into_owned())
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// The processor time used until then.
    used: Duration,
    percent: f64,
}

impl Process {
    /// Starts measuring.
    pub(crate) fn new() -> Self {
        let (stat, statm) = (Status::open("/proc/self/stat"), Status::open("/proc/self/statm"));
        let used = used(&stat).unwrap_or_default();
        let last = Mutex::new(Sample { at: Instant::now(), used, percent: 0.0 });
        Self { stat, statm, last }
    }

    /// Returns resident memory in bytes; 0 if the system does not report it.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let resident = || {
            let statm = self.statm.read()?;
            let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
            let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
            Some(pages * page)
        };
        resident().unwrap_or(0)
    }

    /// Returns the total processor time in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        used(&self.stat).unwrap_or_default().as_secs_f64()
    }

    /// Returns processor usage in percent of one core, since the previous call or over the second
    /// before it.
    // NATS 2.14 samples each second; natsd computes it on request.
    pub(crate) fn cpu_percent(&self) -> f64 {
        let Some(used) = used(&self.stat) else { return 0.0 };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = last.at.elapsed();
        if elapsed >= WINDOW {
            let share = used.saturating_sub(last.used).as_secs_f64() / elapsed.as_secs_f64();
            // NATS 2.14: one decimal digit.
            let percent = (share * 1000.0).round() / 10.0;
            *last = Sample { at: Instant::now(), used, percent };
        }
        last.percent
    }
}

/// Returns the processor time used so far.
fn used(stat: &Status) -> Option<Duration> {
    let stat = stat.read()?;
    // The second field, in parentheses, is the program's name and may contain any character.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks_a_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(Duration::from_millis((user + system) * 1000 / ticks_a_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_and_time() {
        let process = Process::new();
        assert!(process.memory_bytes() > 1 << 20);
        process.last.lock().unwrap().at -= Duration::from_secs(10);
        let begun = Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process.cpu_seconds() > 0.0);
        let percent = process.cpu_percent();
        assert!(percent > 0.0, "{percent}");
        assert_eq!(process.cpu_percent().to_bits(), percent.to_bits(), "not asked again so soon");
    }
}
