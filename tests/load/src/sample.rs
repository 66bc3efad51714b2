//! What a stretch of time cost the server.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::procfs::Ticks;
use crate::server::{Server, own_cpu};

/// The clocks at the beginning of a stretch.
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

    /// What has been used since then.
    pub(crate) fn cost(&self, server: &Server) -> Result<Cost, Fault> {
        Ok(Cost {
            wall: self.at.elapsed(),
            cpu: server.cpu()? - self.cpu,
            own_cpu: own_cpu() - self.own_cpu,
            system_share: server.ticks()?.system_share_since(self.ticks),
            switches: server.switches()?.saturating_sub(self.switches),
        })
    }

    /// How long ago it was.
    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Processor time the server has used since then.
    pub(crate) fn cpu(&self, server: &Server) -> Result<Duration, Fault> {
        Ok(server.cpu()? - self.cpu)
    }
}

/// What a stretch has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Time.
    pub(crate) wall: Duration,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
    /// Our own.
    pub(crate) own_cpu: Duration,
    /// Which part of the server's was spent in the kernel.
    pub(crate) system_share: f64,
    /// How often a thread of the server went to sleep.
    pub(crate) switches: u64,
}

/// When a stretch is long enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Not before.
    pub(crate) min: Duration,
    /// In any case then.
    pub(crate) max: Duration,
    /// Between the two, when the server has used so much processor time.
    pub(crate) cpu: Duration,
}

impl Span {
    /// So long, whatever the server does.
    pub(crate) fn exactly(time: Duration) -> Self {
        Self { min: time, max: time, cpu: Duration::MAX }
    }

    /// Whether a stretch that began at `start` is long enough.
    pub(crate) fn is_over(&self, start: &Start, server: &Server) -> Result<bool, Fault> {
        let elapsed = start.elapsed();
        if elapsed >= self.max {
            return Ok(true);
        }
        Ok(elapsed >= self.min && start.cpu(server)? >= self.cpu)
    }
}
