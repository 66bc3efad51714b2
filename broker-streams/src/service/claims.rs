//! The streams of an account that are not at work yet, and those of which a backup is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::lock::lock;
use crate::config::StreamConfig;
use crate::config::check::collide_any;
use crate::error::ApiError;

/// The tasks of streams, each done by one thread at a time.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The streams that are being created or restored, with their subjects.
    streams: BTreeMap<String, Vec<String>>,
    /// The streams of which a backup is made.
    snapshots: BTreeSet<String>,
}

/// A stream that nobody else creates, or makes a backup of, until this is dropped.
pub(super) struct Claim {
    claims: Claims,
    name: String,
    is_snapshot: bool,
}

impl Claims {
    /// Claims a stream that is to be created.
    ///
    /// # Errors
    ///
    /// `exists` if somebody else creates it; error 10065 if its subjects are those of another stream that is being created.
    pub(super) fn stream(
        &self,
        config: &StreamConfig,
        exists: ApiError,
    ) -> Result<Claim, ApiError> {
        let mut state = lock(&self.0);
        if state.streams.contains_key(&config.name) {
            return Err(exists);
        }
        if state.streams.values().any(|subjects| collide_any(&config.subjects, subjects)) {
            return Err(ApiError::STREAM_SUBJECT_OVERLAP);
        }
        state.streams.insert(config.name.clone(), config.subjects.clone());
        Ok(Claim { claims: self.clone(), name: config.name.clone(), is_snapshot: false })
    }

    /// Claims a stream of which a backup is to be made; `None` if one is made already.
    // NATS 2.14: filestore.go Snapshot.
    pub(super) fn snapshot(&self, stream: &str) -> Option<Claim> {
        let is_free = lock(&self.0).snapshots.insert(stream.to_owned());
        is_free.then(|| Claim { claims: self.clone(), name: stream.to_owned(), is_snapshot: true })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = lock(&self.claims.0);
        if self.is_snapshot {
            state.snapshots.remove(&self.name);
        } else {
            state.streams.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, subject: &str) -> StreamConfig {
        StreamConfig {
            name: name.into(),
            subjects: vec![subject.into()],
            ..StreamConfig::default()
        }
    }

    #[test]
    fn a_stream_is_created_by_one_at_a_time() {
        let claims = Claims::default();
        let exists = ApiError::STREAM_NAME_EXIST;
        let claim = |name, subject| claims.stream(&config(name, subject), exists.clone());
        let first = claim("A", "a.>").unwrap();
        assert_eq!(claim("A", "b").err(), Some(exists.clone()));
        assert_eq!(claim("B", "a.b").err(), Some(ApiError::STREAM_SUBJECT_OVERLAP));
        let other = claim("B", "b").unwrap();
        drop((first, other));
        drop(claim("A", "b").unwrap());
    }

    #[test]
    fn one_backup_of_a_stream_is_made_at_a_time() {
        let claims = Claims::default();
        let first = claims.snapshot("A");
        assert!(
            first.is_some() && claims.snapshot("A").is_none() && claims.snapshot("B").is_some()
        );
        drop(first);
        assert!(claims.snapshot("A").is_some());
    }
}
