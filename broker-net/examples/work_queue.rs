//! A work queue: each job is done by one worker, a failed one again by another, and none is lost when the program ends.
//!
//! `cargo run -p broker-net --features streams --example work_queue`

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, AckKind, Context};
use broker_net::Server;
use futures_util::TryStreamExt;
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, async_nats::Error>;

/// A job that was done, and by whom.
type Done = (String, &'static str);

/// Takes jobs until the server ends. The second attempt at a job succeeds.
async fn work(name: &'static str, jobs: PullConsumer, done: mpsc::Sender<Done>) -> Result<()> {
    let mut jobs = jobs.messages().await?;
    while let Some(job) = jobs.try_next().await? {
        if job.info()?.delivered == 1 && job.subject.ends_with("difficult") {
            // Somebody gets it again after this time; a worker that dies is noticed by `ack_wait`.
            job.ack_with(AckKind::Nak(Some(Duration::from_millis(5)))).await?;
            continue;
        }
        done.send((job.subject.to_string(), name)).await?;
        // The answer means that the server has removed the job: it comes to nobody again.
        job.double_ack().await?;
    }
    Ok(())
}

async fn connect(server: &Server) -> Result<Context> {
    Ok(jetstream::new(async_nats::connect(server.url()).await?))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?; // a directory that stays, in a program
    let server = Server::builder().streams_in(directory.path()).bind().await?;
    let context = connect(&server).await?;
    let queue = Config {
        name: "JOBS".into(),
        subjects: vec!["jobs.*".into()],
        retention: RetentionPolicy::WorkQueue, // a job that is done is removed
        ..Config::default()
    };
    context.create_stream(queue).await?;
    for job in ["jobs.easy", "jobs.difficult", "jobs.long"] {
        // The acknowledgement means that the job is on disk.
        context.publish(job, "do it".into()).await?.await?;
    }
    server.shutdown().await;
    drop(server);

    // The program starts again.
    let server = Server::builder().streams_in(directory.path()).bind().await?;
    let context = connect(&server).await?;
    let (done, mut all_done) = mpsc::channel(10);
    let workers = pull::Config {
        durable_name: Some("workers".into()), // all of them share it
        ack_wait: Duration::from_secs(30),
        max_deliver: 5,
        ..pull::Config::default()
    };
    for name in ["Ada", "Bob"] {
        let stream = connect(&server).await?.get_stream("JOBS").await?;
        let jobs = stream.get_or_create_consumer("workers", workers.clone()).await?;
        tokio::spawn(work(name, jobs, done.clone()));
    }
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let (job, worker) = all_done.recv().await.ok_or("the workers have gone")?;
        println!("{worker} has done {job}");
        jobs.push(job);
    }
    jobs.sort_unstable();
    assert_eq!(jobs, ["jobs.difficult", "jobs.easy", "jobs.long"]);
    while context.get_stream("JOBS").await?.info().await?.state.messages > 0 {
        tokio::task::yield_now().await; // the last acknowledgement is on its way
    }
    server.shutdown().await;
    Ok(())
}
