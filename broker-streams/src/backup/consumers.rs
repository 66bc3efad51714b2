//! The consumers of a backup that is read.

use std::collections::BTreeMap;

use super::checksum::Checksum;
use super::limits::CONSUMER_BYTES;
use super::meta::ConsumerMeta;
use super::target::Target;
use super::{BackupError, file, progress};
use crate::cell::RestoredConsumer;
use crate::config::check::{check_consumer, is_valid_name};

/// The files of consumers, by the name of the consumer.
#[derive(Default)]
pub(super) struct Consumers {
    files: BTreeMap<String, Files>,
    bytes: u64,
}

#[derive(Default)]
struct Files {
    meta: Option<Vec<u8>>,
    sum: Option<Vec<u8>>,
    progress: Option<Vec<u8>>,
}

impl Consumers {
    /// Returns an error if a file of that many bytes is too large beside the others.
    pub(super) fn reserve(&mut self, name: &str, bytes: u64) -> Result<(), BackupError> {
        // A consumer takes memory, whatever the lengths of its files.
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(256);
        if self.bytes > CONSUMER_BYTES {
            Err(BackupError::TooLarge(name.to_owned()))
        } else {
            Ok(())
        }
    }

    /// Adds a file of a consumer. Others than the known ones are left out.
    pub(super) fn add(&mut self, consumer: &str, name: &str, contents: Vec<u8>) {
        let files = self.files.entry(consumer.to_owned()).or_default();
        match name {
            file::META => files.meta = Some(contents),
            file::META_SUM => files.sum = Some(contents),
            file::PROGRESS => files.progress = Some(contents),
            _ => {}
        }
    }

    /// Returns the consumers.
    pub(super) fn finish(self, target: &Target<'_>) -> Result<Vec<RestoredConsumer>, BackupError> {
        let restored = self.files.into_iter().map(|(name, files)| {
            files
                .finish(&name, target)
                .map_err(|source| BackupError::Consumer { name, source: Box::new(source) })
        });
        restored.collect()
    }
}

impl Files {
    fn finish(self, name: &str, target: &Target<'_>) -> Result<RestoredConsumer, BackupError> {
        let stream = target.config.name.as_str();
        let meta = self.meta.ok_or_else(|| BackupError::Missing(file::META.to_owned()))?;
        let sum = self.sum.ok_or_else(|| BackupError::Missing(file::META_SUM.to_owned()))?;
        if Checksum::of_consumer(stream, name).text_of(&meta).as_bytes() != sum {
            return Err(BackupError::Checksum(file::META.to_owned()));
        }
        let ConsumerMeta { created, config, .. } = ConsumerMeta::read(file::META, &meta)?;
        let names = [name, &config.durable, &config.name];
        let is_named = |other: &&str| other.is_empty() || *other == name;
        if !is_valid_name(name) || !names.iter().all(is_named) {
            let reason = "the name is not that of the consumer".to_owned();
            return Err(BackupError::Meta { file: file::META.to_owned(), reason });
        }
        check_consumer(&config, target.config, target.server, target.tier)?;
        let progress = self.progress.as_deref().map(progress::decode).transpose()?;
        Ok(RestoredConsumer { name: name.to_owned(), config, created, progress })
    }
}
