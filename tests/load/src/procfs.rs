//! Data of the kernel about a process and the machine.

use std::{fs, io};

use crate::fault::{During, Fault};

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) rss_bytes: u64,
    /// The peak.
    pub(crate) peak_bytes: u64,
}

impl Memory {
    /// Returns the memory of the process with this id.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        let status = read(format!("/proc/{pid}/status"))?;
        Self::parse(&status).ok_or_else(|| gone(pid))
    }

    /// Adds the memory of another process.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            rss_bytes: self.rss_bytes + other.rss_bytes,
            peak_bytes: self.peak_bytes + other.peak_bytes,
        }
    }

    /// Parses `/proc/PID/status`. The lines are missing for a process that has ended.
    fn parse(status: &str) -> Option<Self> {
        Some(Self {
            rss_bytes: field(status, "VmRSS:")? << 10,
            peak_bytes: field(status, "VmHWM:")? << 10,
        })
    }
}

/// Returns how often the threads of a process were put to sleep.
///
/// # Errors
/// The process has ended.
pub(crate) fn switches(pid: u32) -> Result<u64, Fault> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).during("looking at the server")? {
        let path = task.during("looking at the server")?.path().join("status");
        // A thread may end between the two.
        let status = fs::read_to_string(path).unwrap_or_default();
        sum += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
    }
    Ok(sum)
}

/// Processor ticks of a process, in user mode and in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ticks {
    /// `utime`.
    pub(crate) user: u64,
    /// `stime`.
    pub(crate) system: u64,
}

impl Ticks {
    /// Returns the ticks of the process with this id.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        Self::parse(&read(format!("/proc/{pid}/stat"))?).ok_or_else(|| gone(pid))
    }

    /// Adds the ticks of another process.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    /// Parses `/proc/PID/stat`, whose second field may contain any character but a newline.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse().ok();
        Some(Self { user: ticks()?, system: ticks()? })
    }

    /// Returns the kernel's share of the time since `earlier`.
    pub(crate) fn system_share_since(self, earlier: Self) -> f64 {
        let (user, system) = (self.user - earlier.user, self.system - earlier.system);
        system as f64 / (user + system).max(1) as f64
    }
}

/// Returns the processor's name, the number of cores and the kernel's version.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (model, cores) = parse_cpuinfo(&cpuinfo);
    // Only the version number matters; vendor suffixes are removed.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{model}, {cores} cores, Linux {kernel}")
}

fn parse_cpuinfo(text: &str) -> (&str, usize) {
    let of = |key: &str| {
        let values = text.lines().filter_map(|line| line.split_once(':'));
        values.filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim()).collect::<Vec<_>>()
    };
    let model = of("model name").first().copied().unwrap_or("unknown processor");
    (model, of("processor").len().max(1))
}

/// Returns the number after `key` in `/proc/PID/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn read(path: String) -> Result<String, Fault> {
    fs::read_to_string(path).during("looking at the server")
}

fn gone(pid: u32) -> Fault {
    let source = io::Error::new(io::ErrorKind::NotFound, format!("process {pid} has ended"));
    Fault::Io { what: "looking at the server", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!(memory, Memory { rss_bytes: 1 << 20, peak_bytes: 2 << 20 });
        assert_eq!(Memory::parse("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 730 520 0 0 20 0 9 0";
        assert_eq!(Ticks::parse(stat), Some(Ticks { user: 730, system: 520 }));
        assert_eq!(Ticks::parse("42 (x) S 1"), None);
    }

    #[test]
    fn the_share_of_the_kernel_is_that_of_the_difference() {
        let share = Ticks { user: 130, system: 110 };
        let earlier = Ticks { user: 100, system: 100 };
        assert!((share.system_share_since(earlier) - 0.25).abs() < 1e-9);
        assert!(earlier.system_share_since(earlier).abs() < 1e-9);
    }

    #[test]
    fn the_machine_is_named() {
        let text = "processor\t: 0\nmodel name\t: ACME 9\nprocessor\t: 1\nmodel name\t: ACME 9\n";
        assert_eq!(parse_cpuinfo(text), ("ACME 9", 2));
        assert_eq!(parse_cpuinfo(""), ("unknown processor", 1));
        assert!(machine().contains("Linux"));
    }

    #[test]
    fn the_own_process_can_be_read() {
        let pid = std::process::id();
        assert!(Memory::of(pid).unwrap().peak_bytes > 0);
        assert!(Ticks::of(pid).is_ok());
        assert!(switches(pid).is_ok());
        assert!(Memory::of(u32::MAX).is_err());
    }
}
