//! Files that change while the server runs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_core::Broker;

use super::options::TlsOptions;
use super::tell;
use crate::handshake::Entrance;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// Files as they were when somebody looked.
#[derive(Debug, Eq, PartialEq)]
struct Watched(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Watched {
    fn look(options: &TlsOptions) -> Self {
        let stamp = |path: PathBuf| {
            let found = fs::metadata(&path).and_then(|found| Ok((found.modified()?, found.len())));
            (path, found.ok())
        };
        Self(options.files().map(|path| stamp(path.to_owned())).collect())
    }
}

/// Goes by the files as they are now, whenever they have changed, as long as the options ask for it. What
/// cannot be used is logged, and what was before stays. `told`: whose INFO says what TLS there is; `None`
/// beneath WebSocket.
pub(crate) async fn watch(entrance: Arc<Entrance>, told: Option<Broker>) {
    let mut before = None;
    loop {
        let options = entrance.tls.options().filter(|options| options.watch);
        let Some(options) = options else { return };
        let looking = tokio::task::spawn_blocking(move || (Watched::look(&options), options));
        let Ok((now, options)) = looking.await else { return };
        match &before {
            Some((before, of)) if *of == options && *before != now => {
                reload(&entrance, told.as_ref(), &options).await;
            }
            _ => {}
        }
        before = Some((now, options));
        tokio::time::sleep(EVERY).await;
    }
}

async fn reload(entrance: &Arc<Entrance>, told: Option<&Broker>, options: &TlsOptions) {
    let name = if told.is_some() { "tls" } else { "websocket tls" };
    let building = {
        let options = options.clone();
        tokio::task::spawn_blocking(move || options.build())
    };
    match building.await {
        Ok(Ok(config)) => {
            if entrance.tls.replace(options, config) {
                if let Some(broker) = told {
                    tell(broker, entrance.tls.config().as_deref());
                }
                tracing::info!("Reloaded: {name} = files have changed");
            }
        }
        Ok(Err(error)) => {
            tracing::error!("Files of {name} have changed, but cannot be used: {error}");
        }
        Err(_) => {}
    }
}
