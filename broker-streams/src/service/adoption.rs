//! The interface of an account to backups: they publish in it, and add streams to it.

use std::sync::Arc;

use broker_core::endpoint::Scratch;

use super::account::{Account, AccountHost, Recovered};
use super::backups::{Home, Store};
use super::claims::Claim;
use super::directory::Staged;
use super::outbox::BrokerOutbox;
use super::server::Server;
use super::usage::Usages;
use crate::api::{Host, check_restored};
use crate::backup::BackupError;
use crate::cell::Cell;
use crate::config::StreamConfig;
use crate::config::limits::AccountLimits;
use crate::error::ApiError;
use crate::outbox::Outbox;
use crate::store::Storage;

impl Home for Account {
    fn name(&self) -> &str {
        self.name()
    }

    fn server(&self) -> &Arc<Server> {
        self.server()
    }

    fn limits(&self) -> Option<Arc<AccountLimits>> {
        self.limits()
    }

    fn usages(&self) -> &Arc<Usages> {
        self.usages()
    }

    fn claim_snapshot(&self, stream: &str) -> Option<Claim> {
        self.claims().snapshot(stream)
    }

    fn publish(&self, call: &mut dyn FnMut(&mut dyn Host, &mut dyn Outbox)) {
        let broker = &self.server().broker;
        let (mut publisher, mut scratch) = (broker.server_publisher(self.name()), Scratch::new());
        broker.begin(&mut scratch);
        let mut out = BrokerOutbox { publisher: &mut publisher, scratch: &mut scratch };
        call(&mut AccountHost { account: self }, &mut out);
        broker.flush(&mut scratch);
    }

    fn check_restored(&self, config: &StreamConfig, bytes: u64) -> Result<(), ApiError> {
        check_restored(&AccountHost { account: self }, config, bytes)
    }

    fn adopt(&self, config: &StreamConfig, store: Store) -> Result<(), BackupError> {
        let _claim = self.claims().stream(config, ApiError::STREAM_NAME_EXIST_RESTORE_FAILED)?;
        check_restored(&AccountHost { account: self }, config, 0)?;
        let mut cell = match store {
            Store::Memory(storage, journal) => self.open_restored(storage, &journal)?,
            Store::File(staged) => self.open_staged(&staged, &config.name)?,
        };
        let now = self.server().now();
        let mut result = Ok(());
        self.publish(&mut |_, out| result = cell.enforce_limits(now, out));
        if result.is_ok() && !self.start(vec![cell]) {
            result = Err(ApiError::NOT_ENABLED_FOR_ACCOUNT);
        }
        if result.is_err() {
            self.discard(&config.name);
        }
        Ok(result?)
    }
}

impl Account {
    /// Opens a stream in memory that was restored.
    fn open_restored(
        &self,
        storage: Box<dyn Storage>,
        journal: &[Vec<u8>],
    ) -> Result<Cell, BackupError> {
        Ok(self.recover_from(storage, journal).map_err(ApiError::stream_restore)?)
    }

    /// Moves a restored stream to its place, and opens it.
    fn open_staged(&self, staged: &Staged, stream: &str) -> Result<Cell, BackupError> {
        let Some(directory) = self.server().directory() else {
            return Err(ApiError::TEMP_STORAGE_FAILED.into());
        };
        directory.adopt(staged, self.name(), stream)?;
        let opened = self.recover_stream(stream, directory.open(self.name(), stream));
        if let Ok(Recovered::Stream(cell)) = opened {
            return Ok(*cell);
        }
        self.discard(stream);
        let reason =
            opened.err().map_or_else(|| "it is empty".to_owned(), |error| error.to_string());
        Err(ApiError::stream_restore(reason).into())
    }

    fn discard(&self, stream: &str) {
        if let Some(directory) = self.server().directory()
            && let Err(error) = directory.remove_if_present(self.name(), stream)
        {
            tracing::warn!("What is left of stream {stream:?} cannot be removed: {error}");
        }
    }
}
