//! Three tests of other projects that start nats-server as a process and sleep until it is likely
//! to be ready, rewritten with the same intent for an in-process broker.
//!
//! `cargo run -p broker-bin --example no_process --features testing`; with
//! `NATS_SERVER=/path/to/nats-server` in front it also runs them the original way, to compare.

mod channel;
mod fleet;
mod server;
mod tasks;

use std::time::{Duration, Instant};

use server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 21;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<()> {
    // The time that the original tests sleep after starting the process.
    let reference = std::env::var_os("NATS_SERVER");
    let ways: &[_] = if reference.is_some() { &[None, reference.as_deref()] } else { &[None] };
    let millis = Duration::from_millis;
    for way in ways {
        compare("tasks", async || {
            tasks::test(Server::start(tasks::CONFIG, *way, millis(300)).await?).await
        })
        .await?;
        compare("channel", async || {
            channel::test(Server::start(channel::CONFIG, *way, millis(1000)).await?).await
        })
        .await?;
        compare("fleet", async || {
            fleet::test(Server::start(fleet::TOKEN, *way, millis(0)).await?).await
        })
        .await?;
    }
    Ok(())
}

/// Runs a test several times and prints its duration.
async fn compare(name: &str, test: impl AsyncFn() -> Result<&'static str>) -> Result<()> {
    let (mut times, mut way) = (Vec::new(), "");
    for _ in 0..ROUNDS {
        let began = Instant::now();
        way = test().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!("{name}, {way}: {:.1?}, the median of {ROUNDS}", times[ROUNDS / 2]);
    Ok(())
}
