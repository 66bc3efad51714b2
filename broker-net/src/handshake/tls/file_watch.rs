//! Background checks while the server runs: files that change, certificates that expire.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use broker_core::Broker;

use super::options::TlsOptions;
use super::{expiry, tell};
use crate::clock;
use crate::handshake::ListenerConfig;

/// The interval of checks of files.
const EVERY: Duration = Duration::from_secs(1);

/// The interval of checks of certificates.
const DAY: Duration = Duration::from_hours(24);

/// The state of files at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen(Vec<(PathBuf, Option<Stamp>)>);

/// Identifies a version of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Stamp {
    modified: SystemTime,
    len: u64,
    /// A file that replaces another may have the same time and length.
    #[cfg(unix)]
    inode: u64,
}

impl Seen {
    pub(super) fn look(options: &TlsOptions) -> Self {
        Self(options.files().map(|path| (path.to_owned(), Stamp::of(path))).collect())
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            modified: found.modified().ok()?,
            len: found.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&found),
        })
    }
}

/// Replaces the configuration by one of the current files whenever they have changed, as long as the options ask for
/// it. Unusable files are logged, and the previous configuration stays. Warns once a day about certificates that
/// expire soon.
///
/// Updates INFO of `broker`, if the change affects it.
pub(super) async fn tend(listener_config: Weak<ListenerConfig>, broker: Option<Broker>) {
    let mut said = clock::now();
    // Unusable files are logged once, until they change again.
    let mut refused = None;
    loop {
        let must_watch = {
            let Some(listener_config) = listener_config.upgrade() else { return };
            let Some(options) = listener_config.tls.options() else { return };
            options.watch
        };
        tokio::time::sleep(if must_watch { EVERY } else { DAY }).await;
        let Some(listener_config) = listener_config.upgrade() else { return };
        if must_watch {
            look(&listener_config, broker.as_ref(), &mut refused).await;
        }
        if clock::now() >= said + DAY
            && let Some(config) = listener_config.tls.config()
        {
            said = clock::now();
            expiry::warn(&config.terms);
        }
    }
}

async fn look(
    listener_config: &Arc<ListenerConfig>,
    broker: Option<&Broker>,
    refused: &mut Option<Seen>,
) {
    let options = listener_config.tls.options().filter(|options| options.watch);
    let (Some(options), Some(config)) = (options, listener_config.tls.config()) else { return };
    let looking = tokio::task::spawn_blocking(move || (Seen::look(&options), options));
    let Ok((now, options)) = looking.await else { return };
    if config.seen.as_ref() == Some(&now) || refused.as_ref() == Some(&now) {
        return;
    }
    let building = {
        let options = options.clone();
        tokio::task::spawn_blocking(move || options.build())
    };
    match building.await {
        Ok(Ok(config)) => {
            if listener_config.tls.replace(&options, config) {
                if let Some(broker) = broker {
                    tell(broker, listener_config.tls.config().as_deref());
                }
                tracing::info!("Reloaded: tls = files have changed");
            }
        }
        Ok(Err(error)) => {
            tracing::error!("TLS files have changed, but cannot be used: {error}");
            *refused = Some(now);
        }
        Err(_) => {}
    }
}
