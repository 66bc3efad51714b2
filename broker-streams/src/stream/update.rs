//! Changes of the configuration.

use super::limits::REMOVED_ONE_BY_ONE;
use super::open::{input, output};
use super::{Consumers, Context, Stream, store_error};
use crate::config::StreamConfig;
use crate::error::ApiError;
use crate::filters::Filters;
use crate::store::StorageError;

impl Stream {
    /// Replaces the configuration by one that may replace it, as the checks of the API decide, and enforces its limits.
    ///
    /// # Errors
    ///
    /// An error of the API if the configuration cannot be used, after which nothing has changed, or if the store cannot
    /// remove messages.
    // NATS 2.14: stream.go updateWithAdvisory, memstore.go UpdateConfig.
    pub fn update(
        &mut self,
        config: StreamConfig,
        context: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        (self.input, self.output) = (input(&config)?, output(&config)?);
        let old = std::mem::replace(&mut self.config, config);
        if old.compression != self.config.compression {
            self.storage.set_compression(self.config.compression);
        }
        self.dedupe.set_window(self.config.duplicate_window, context.now);
        if old.max_age != self.config.max_age {
            let has_limit = self.config.max_age > 0 && self.state().messages > 0;
            (self.age_due, self.age_cursor) = (has_limit.then_some(context.now), 0);
        }
        if !old.allow_message_ttl {
            self.recover_expiries().map_err(store_error)?;
        }
        if !old.allow_message_schedules {
            self.recover_schedules(context.now).map_err(store_error)?;
        }
        self.update_feeds(&old, context.now).map_err(store_error)?;
        let mut consumers =
            Brief { consumers: &mut *context.consumers, remaining: REMOVED_ONE_BY_ONE };
        let enforced = self.enforce_new_limits(&old, &mut consumers);
        if consumers.remaining == 0 {
            context.consumers.cleared(b"");
        }
        enforced.and_then(|()| self.expire(context)).map_err(store_error)
    }

    fn enforce_new_limits(
        &mut self,
        old: &StreamConfig,
        consumers: &mut dyn Consumers,
    ) -> Result<(), StorageError> {
        self.enforce_limits(None, consumers)?;
        let (max, before) = (self.config.max_messages_per_subject, old.max_messages_per_subject);
        if max > 0 && (before <= 0 || max < before) {
            self.enforce_subject_limits(max.unsigned_abs(), consumers)?;
        }
        Ok(())
    }

    /// Enforces the limits of the configuration on messages that were stored without it: those of a backup.
    ///
    /// # Errors
    ///
    /// An error of the API if the store cannot remove messages.
    // NATS 2.14: filestore.go newFileStoreWithCreated.
    pub fn enforce_all_limits(&mut self, context: &mut Context<'_>) -> Result<(), ApiError> {
        self.enforce_limits(None, context.consumers).map_err(store_error)?;
        let max = self.config.max_messages_per_subject;
        if max > 0 {
            self.enforce_subject_limits(max.unsigned_abs(), context.consumers)
                .map_err(store_error)?;
        }
        Ok(())
    }

    /// Removes the oldest messages of each subject above a limit.
    fn enforce_subject_limits(
        &mut self,
        max: u64,
        consumers: &mut dyn Consumers,
    ) -> Result<(), StorageError> {
        let mut above = Vec::new();
        self.storage.for_each_subject(&Filters::default(), &mut |subject, state| {
            if state.messages > max {
                above.push(subject.to_vec());
            }
            true
        });
        above.iter().try_for_each(|subject| self.enforce_subject_limit(subject, max, consumers))
    }
}

/// Consumers that are notified of the first removals only, and count again after the others: a lower limit may remove all
/// messages of the stream.
struct Brief<'a> {
    consumers: &'a mut dyn Consumers,
    remaining: u64,
}

impl Consumers for Brief<'_> {
    fn is_wanted(&self, subject: &[u8]) -> bool {
        self.consumers.is_wanted(subject)
    }

    fn removed(&mut self, sequence: u64, subject: &[u8]) {
        self.remaining -= 1;
        self.consumers.removed(sequence, subject);
    }

    fn cleared(&mut self, subject: &[u8]) {
        self.consumers.cleared(subject);
    }

    fn is_empty(&self) -> bool {
        self.remaining == 0 || self.consumers.is_empty()
    }
}
