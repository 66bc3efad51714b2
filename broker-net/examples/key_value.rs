//! Settings that several programs share: each sees changes as they happen, and two that change one setting at the same time
//! notice it.
//!
//! `cargo run -p broker-net --features streams --example key_value`

use async_nats::jetstream;
use async_nats::jetstream::kv::{self, Operation, Store, UpdateErrorKind};
use broker_net::Server;
use futures_util::{StreamExt, TryStreamExt};

type Result<T> = std::result::Result<T, async_nats::Error>;

/// Follows the settings until one is removed, from those that exist on. Returns what it has seen.
async fn follow(settings: Store) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    let mut changes = settings.watch_with_history(">").await?;
    while let Some(change) = changes.try_next().await? {
        let value = String::from_utf8_lossy(&change.value);
        if change.operation != Operation::Put {
            seen.push(format!("{} is gone", change.key));
            break;
        }
        seen.push(format!("{} = {value}", change.key));
    }
    Ok(seen)
}

/// Adds 1 to a setting, again if somebody else changes it meanwhile.
async fn increment(settings: &Store, key: &str) -> Result<u64> {
    loop {
        let entry = settings.entry(key).await?.ok_or("no such setting")?;
        let next = String::from_utf8_lossy(&entry.value).parse::<u64>()? + 1;
        match settings.update(key, next.to_string().into(), entry.revision).await {
            Ok(_) => return Ok(next),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?; // a directory that stays, in a program
    let server = Server::builder().streams_in(directory.path()).bind().await?;
    let context = jetstream::new(async_nats::connect(server.url()).await?);
    let bucket = kv::Config { bucket: "settings".into(), history: 5, ..kv::Config::default() };
    let settings = context.create_key_value(bucket).await?;
    settings.put("workers", "2".into()).await?;

    let following = tokio::spawn(follow(settings.clone()));
    let (first, second) =
        tokio::join!(increment(&settings, "workers"), increment(&settings, "workers"));
    let mut results = [first?, second?];
    results.sort_unstable();
    assert_eq!(results, [3, 4]);
    assert_eq!(settings.get("workers").await?.as_deref(), Some(&b"4"[..]));
    let history: Vec<_> = settings.history("workers").await?.collect().await;
    assert_eq!(history.len(), 3);

    settings.delete("workers").await?;
    let seen = following.await??;
    println!("{}", seen.join("\n"));
    assert_eq!(seen.last().map(String::as_str), Some("workers is gone"));
    server.shutdown().await;
    Ok(())
}
