//! The options of a server with streams.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broker_core::Broker;
use broker_core::account::GLOBAL;

use crate::config::limits::{AccountLimits, ServerLimits};
use crate::consumer::AckForm;
use crate::store::Encryption;
use crate::stream::limits::BatchLimits;

/// The options of a server with streams. Start from the default and change single fields.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The version that is reported as that of the API; empty for that of the broker.
    pub version: String,
    /// The directory of streams in files; `None` without such streams.
    pub directory: Option<PathBuf>,
    /// The encryption of streams in files; `None` for none.
    pub encryption: Option<Encryption>,
    /// The domain; empty for none.
    pub domain: String,
    /// The form of the subjects by which clients acknowledge messages. Both forms are accepted.
    pub ack_form: AckForm,
    /// Requests with unknown members are refused.
    pub strict: bool,
    /// The most bytes that streams in memory may use and reserve; `None` for no limit.
    pub max_memory: Option<u64>,
    /// The most bytes that streams in files may use and reserve; `None` for no limit.
    pub max_storage: Option<u64>,
    /// The longest message, in bytes; 0 for that of the broker.
    pub max_payload: usize,
    /// The limits of clients' requests.
    pub limits: ServerLimits,
    /// The limits of batches.
    pub batches: BatchLimits,
    /// Decides ids and samples; 0 for that of the broker.
    pub seed: u64,
    /// The accounts with the API of streams, and their limits; `None` for an account that may have no streams, and is told so.
    /// If there are none, all configured accounts of the broker have streams, without limits.
    pub accounts: BTreeMap<String, Option<AccountLimits>>,
}

impl Options {
    /// Takes what is not set from the broker.
    pub(super) fn complete(&mut self, broker: &Broker) {
        let of_broker = broker.options();
        if self.version.is_empty() {
            self.version = broker.info().version;
        }
        if self.max_payload == 0 {
            self.max_payload = of_broker.limits.max_payload_bytes;
        }
        if self.seed == 0 {
            self.seed = of_broker.seed;
        }
        if self.accounts.is_empty() {
            let system = broker.system_account();
            let configured = of_broker.accounts.iter().map(|account| &*account.name);
            let all = configured.chain([GLOBAL]).filter(|name| **name != *system);
            self.accounts =
                all.map(|name| (name.to_owned(), Some(AccountLimits::default()))).collect();
        }
    }
}
