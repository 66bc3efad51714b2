//! Streams: from options to a server with streams, and what the log states about them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_core::account::GLOBAL;
use broker_core::sort::to_map;
use broker_streams::config::limits::{AccountLimits, ServerLimits, TierLimits};
use broker_streams::consumer::AckForm;
use broker_streams::go::friendly_bytes;
use broker_streams::service;
use broker_streams::store::{Cipher, Encryption};
use broker_streams::stream::limits::BatchLimits;

use crate::NATS_VERSION;
use crate::options::{AccountJetStream, JetStream, JetStreamBatch, Options};

/// The directory of streams within `store_dir`.
// NATS 2.14: jetstream.go JetStreamStoreDir.
const DIRECTORY: &str = "jetstream";

/// The feature flag by which subjects of acknowledgements name the domain and the account.
const ACKS_WITH_DOMAIN: &str = "js_ack_fc_v2";

/// The space for streams in files if that of the disk is not known.
// NATS 2.14: jetstream.go JetStreamMaxStoreDefault.
const DEFAULT_MAX_STORAGE: u64 = 1 << 40;

/// The memory for streams if that of the machine is not known.
// NATS 2.14: jetstream.go JetStreamMaxMemDefault.
const DEFAULT_MAX_MEMORY: u64 = 256 << 20;

impl Options {
    /// Returns the options of streams; `None` without streams.
    pub(crate) fn streams(&self) -> Option<service::Options> {
        let jetstream = self.jetstream.as_ref().filter(|jetstream| jetstream.enabled)?;
        let limits = &jetstream.limits;
        Some(service::Options {
            version: NATS_VERSION.to_owned(),
            directory: Some(self.streams_directory(jetstream)),
            encryption: encryption(jetstream),
            domain: jetstream.domain.clone().unwrap_or_default(),
            ack_form: self.ack_form(),
            strict: jetstream.strict,
            max_memory: Some(max_memory(jetstream)),
            max_storage: Some(max_storage(jetstream)),
            max_payload: usize::try_from(self.max_payload).unwrap_or(usize::MAX),
            limits: ServerLimits {
                max_request_batch: limits.max_request_batch,
                max_ack_pending: limits.max_ack_pending,
                max_duplicate_window: nanos(limits.duplicate_window),
            },
            batches: batch_limits(&limits.batch),
            seed: RandomState::new().hash_one(DIRECTORY),
            accounts: self.accounts_with_streams(),
        })
    }

    // NATS 2.14: feature_flags.go.
    fn ack_form(&self) -> AckForm {
        let is_long = self.feature_flags.get(ACKS_WITH_DOMAIN).copied().unwrap_or_default();
        if is_long { AckForm::Long } else { AckForm::Short }
    }

    fn streams_directory(&self, jetstream: &JetStream) -> PathBuf {
        let configured = jetstream.store_dir.as_ref().or(self.store_dir.as_ref());
        match configured {
            Some(directory) => directory.join(DIRECTORY),
            None => std::env::temp_dir().join("nats").join(DIRECTORY),
        }
    }

    #[cfg(feature = "jwt")]
    fn is_in_operator_mode(&self) -> bool {
        self.has_operators()
    }

    #[cfg(not(feature = "jwt"))]
    fn is_in_operator_mode(&self) -> bool {
        false
    }

    /// Returns the limits of the accounts that may have streams; `None` for an account that may not.
    // NATS 2.14: jetstream.go enableJetStreamAccounts: the global account has them if there is no other one.
    fn accounts_with_streams(&self) -> BTreeMap<String, Option<AccountLimits>> {
        let system = self.system_account.as_deref().unwrap_or("$SYS");
        let others = self.accounts.iter().filter(|(name, _)| *name != system);
        let mut all =
            to_map(others.map(|(name, account)| {
                (name.clone(), account.jetstream.as_ref().map(account_limits))
            }));
        let is_alone = all.is_empty() && !self.is_in_operator_mode();
        let global = is_alone.then(AccountLimits::default);
        all.insert(GLOBAL.to_owned(), global);
        all
    }
}

/// Puts the limits in force that a reload has changed. The global account keeps its own until a restart.
pub(crate) fn follow(streams: &service::Streams, before: &Options, now: &Options) {
    if let Some(jetstream) = now.jetstream.as_ref().filter(|_| before.jetstream != now.jetstream) {
        streams.set_max_bytes(Some(max_memory(jetstream)), Some(max_storage(jetstream)));
    }
    let (before, now) = (before.accounts_with_streams(), now.accounts_with_streams());
    let setter = streams.account_setter();
    for name in before.keys().chain(now.keys()).filter(|name| *name != GLOBAL) {
        let limits = now.get(name).cloned().flatten();
        if before.get(name).cloned().flatten() != limits || !before.contains_key(name) {
            setter.set(name, limits);
        }
    }
    setter.follow_imports();
}

fn account_limits(of: &AccountJetStream) -> AccountLimits {
    AccountLimits::flat(TierLimits {
        max_memory: of.max_memory,
        max_storage: of.max_store,
        max_streams: of.max_streams,
        max_consumers: of.max_consumers,
        max_ack_pending: of.max_ack_pending,
        memory_max_stream_bytes: of.mem_max_stream_bytes,
        storage_max_stream_bytes: of.disk_max_stream_bytes,
        max_bytes_required: of.max_bytes_required,
    })
}

// NATS 2.14: stream.go processJetStreamAtomicBatchMsg, processJetStreamFastBatchMsg.
fn batch_limits(of: &JetStreamBatch) -> BatchLimits {
    let default = BatchLimits::default();
    let or = |number: i64, default: usize| {
        usize::try_from(number).ok().filter(|number| *number > 0).unwrap_or(default)
    };
    let timeout = nanos(of.timeout);
    BatchLimits {
        atomic: or(of.max_inflight_per_stream, default.atomic),
        atomic_total: or(of.max_inflight_total, default.atomic_total),
        fast: or(of.max_inflight_per_stream, default.fast),
        fast_total: or(of.max_inflight_total, default.fast_total),
        messages: u64::try_from(of.max_msgs)
            .ok()
            .filter(|max| *max > 0)
            .unwrap_or(default.messages),
        timeout: if timeout > 0 { timeout } else { default.timeout },
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns how streams are encrypted. A previous key alone encrypts nothing.
// NATS 2.14: opts.go setJetStreamEkCipher: a previous key that is empty is none.
fn encryption(jetstream: &JetStream) -> Option<Encryption> {
    let key = jetstream.encryption_key.clone().filter(|key| !key.is_empty())?;
    let cipher = match jetstream.cipher.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("aes") => Cipher::Aes,
        _ => Cipher::ChaCha,
    };
    let previous = jetstream.prev_encryption_key.clone();
    Some(Encryption { cipher, key, previous_key: previous.filter(|key| !key.is_empty()) })
}

// NATS 2.14: jetstream.go dynJetStreamConfig: 0 allows none.
fn max_memory(jetstream: &JetStream) -> u64 {
    u64::try_from(jetstream.max_memory_store).unwrap_or_else(|_| match crate::machine::memory() {
        0 => DEFAULT_MAX_MEMORY,
        bytes => bytes / 4 * 3,
    })
}

fn max_storage(jetstream: &JetStream) -> u64 {
    u64::try_from(jetstream.max_file_store).unwrap_or(DEFAULT_MAX_STORAGE)
}

/// Logs what is served, as nats-server does.
// NATS 2.14: jetstream.go enableJetStream.
pub(crate) fn announce(options: &service::Options, took: Duration) {
    tracing::info!("Starting JetStream");
    tracing::info!("---------------- JETSTREAM ----------------");
    if options.strict {
        tracing::info!("  Strict:          true");
    }
    tracing::info!("  Max Memory:      {}", friendly_bytes(options.max_memory.unwrap_or(0)));
    tracing::info!("  Max Storage:     {}", friendly_bytes(options.max_storage.unwrap_or(0)));
    let directory = options.directory.as_deref().unwrap_or(Path::new(""));
    tracing::info!("  Store Directory: \"{}\"", directory.display());
    if !options.domain.is_empty() {
        tracing::info!("  Domain:          {}", options.domain);
    }
    if let Some(encryption) = &options.encryption {
        tracing::info!("  Encryption:      {}", encryption.cipher);
    }
    tracing::info!("  API Level:       {}", broker_streams::config::version::API_LEVEL);
    tracing::info!("-------------------------------------------");
    tracing::info!("Took {took:?} to start JetStream");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_the_configured_limits() {
        let default = BatchLimits::default();
        assert_eq!(batch_limits(&JetStreamBatch::default()), default);
        let batch = JetStreamBatch {
            max_inflight_per_stream: 2,
            max_inflight_total: 3,
            max_msgs: 4,
            timeout: Duration::from_nanos(5),
        };
        let expected = BatchLimits {
            atomic: 2,
            atomic_total: 3,
            fast: 2,
            fast_total: 3,
            messages: 4,
            timeout: 5,
        };
        assert_eq!(batch_limits(&batch), expected);
    }

    #[test]
    fn the_global_account_has_streams_if_it_is_the_only_one() {
        let mut options = Options::default();
        assert_eq!(
            options.accounts_with_streams(),
            [("$G".to_owned(), Some(AccountLimits::default()))].into()
        );
        options.accounts.insert("A".into(), crate::options::Account::default());
        let all = options.accounts_with_streams();
        assert_eq!(all, [("$G".to_owned(), None), ("A".to_owned(), None)].into());
    }

    #[test]
    fn a_limit_of_0_allows_no_stream() {
        let jetstream = JetStream { max_memory_store: 0, ..JetStream::default() };
        assert_eq!(max_memory(&jetstream), 0);
        assert!(max_storage(&jetstream) > 0, "a limit that is not set is that of the machine");
    }
}
