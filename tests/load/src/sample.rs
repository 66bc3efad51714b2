//! The server's cost over a period of time.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::procfs::Ticks;
use crate::server::{Server, own_cpu};

/// The clocks at the beginning of a period.
#[derive(Debug)]
pub(crate) struct Start {
    at: Instant,
    cpu: Duration,
    own_cpu: Duration,
    ticks: Ticks,
    switches: u64,
}

impl Start {
    /// Now.
    pub(crate) fn now(server: &Server) -> Result<Self, Fault> {
        Ok(Self {
            ticks: server.ticks()?,
            switches: server.switches()?,
            cpu: server.cpu()?,
            own_cpu: own_cpu(),
            at: Instant::now(),
        })
    }

    /// Returns the cost since then.
    pub(crate) fn cost(&self, server: &Server) -> Result<Cost, Fault> {
        Ok(Cost {
            wall: self.at.elapsed(),
            cpu: server.cpu()? - self.cpu,
            own_cpu: own_cpu() - self.own_cpu,
            system_share: server.ticks()?.system_share_since(self.ticks),
            switches: server.switches()?.saturating_sub(self.switches),
        })
    }

    /// Returns the time since then.
    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Returns the server's processor time since then.
    pub(crate) fn cpu(&self, server: &Server) -> Result<Duration, Fault> {
        Ok(server.cpu()? - self.cpu)
    }
}

/// The cost of a period.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Elapsed time.
    pub(crate) wall: Duration,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
    /// Processor time of the generator.
    pub(crate) own_cpu: Duration,
    /// The kernel's share of the server's processor time.
    pub(crate) system_share: f64,
    /// The number of times that a thread of the server went to sleep.
    pub(crate) switches: u64,
}

/// The end condition of a period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The minimum.
    pub(crate) min: Duration,
    /// The maximum.
    pub(crate) max: Duration,
    /// Between the two, the processor time of the server at which it ends.
    pub(crate) cpu: Duration,
}

impl Span {
    /// Creates a period of fixed length.
    pub(crate) fn exactly(time: Duration) -> Self {
        Self { min: time, max: time, cpu: Duration::MAX }
    }

    /// Returns true if a period that began at `start` is over.
    pub(crate) fn is_over(&self, start: &Start, server: &Server) -> Result<bool, Fault> {
        let elapsed = start.elapsed();
        if elapsed >= self.max {
            return Ok(true);
        }
        Ok(elapsed >= self.min && start.cpu(server)? >= self.cpu)
    }
}
