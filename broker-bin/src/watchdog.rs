//! Detects a thread that serves no clients because one connection blocks it.

use std::time::{Duration, Instant};
use std::{io, thread};

use broker_net::{Stall, StallWatch};

/// The time for which a connection may occupy its thread: a thousand times as long as any does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The interval of the checks.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watches for the life of the process, on a thread that no connection can block.
pub(crate) fn start(mut watch: StallWatch) -> io::Result<()> {
    let watching = move || {
        loop {
            thread::sleep(INTERVAL);
            watch.look(Instant::now()).iter().for_each(log);
        }
    };
    thread::Builder::new().name("natsd-watchdog".into()).spawn(watching).map(drop)
}

fn log(stall: &Stall) {
    let seconds = stall.time.as_secs_f64();
    if stall.is_over {
        tracing::warn!("{stall} - Worker yielded after {seconds:.1}s");
    } else {
        tracing::error!("{stall} - Worker has not yielded for {seconds:.1}s");
    }
}
