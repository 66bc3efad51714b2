//! Entries of metadata about the API level: which level a stream or consumer needs, which one the server has.
// NATS 2.14: jetstream_versioning.go.

use std::collections::BTreeMap;

use super::{AckPolicy, ConsumerConfig, PersistMode, PriorityPolicy, StreamConfig};

/// The API level of this server.
pub const API_LEVEL: i64 = 4;
/// The header of requests that need an API level.
pub const REQUIRED_LEVEL_HEADER: &str = "Nats-Required-Api-Level";

const REQUIRED_LEVEL: &str = "_nats.req.level";
const SERVER_VERSION: &str = "_nats.ver";
const SERVER_LEVEL: &str = "_nats.level";

type Metadata = BTreeMap<String, String>;

/// Returns true if a request with this value of [`REQUIRED_LEVEL_HEADER`] needs a higher level than this server has, or if the value
/// is not a number.
pub fn exceeds_level(header: Option<&[u8]>) -> bool {
    let level = |value: &[u8]| str::from_utf8(value).ok()?.parse::<i64>().ok();
    header.is_some_and(|value| {
        !value.is_empty() && level(value).is_none_or(|level| level > API_LEVEL)
    })
}

/// Writes the API level that the stream requires, and removes the metadata that is not stored.
pub fn set_stream_level(config: &mut StreamConfig) {
    let needed = [
        (config.allow_message_ttl || config.subject_delete_marker_ttl > 0, 1),
        (config.allow_message_counter, 2),
        (config.allow_atomic, 2),
        (config.allow_message_schedules, 2),
        (config.persist_mode == PersistMode::Async, 2),
        (config.allow_batched, 4),
    ];
    set_level(&mut config.metadata, &needed);
}

/// Writes the API level that the consumer requires, and removes the metadata that is not stored.
pub fn set_consumer_level(config: &mut ConsumerConfig) {
    let has_priorities = config.priority_policy != PriorityPolicy::None
        || config.pinned_ttl != 0
        || !config.priority_groups.is_empty();
    let needed = [
        (config.pause_until.is_some_and(|time| time.0 != 0), 1),
        (has_priorities, 1),
        (config.ack_policy == AckPolicy::FlowControl, 4),
    ];
    set_level(&mut config.metadata, &needed);
}

fn set_level(metadata: &mut Metadata, needed: &[(bool, i64)]) {
    remove_dynamic(metadata);
    let level = needed.iter().filter(|(is_needed, _)| *is_needed).map(|(_, level)| level).max();
    metadata.insert(REQUIRED_LEVEL.into(), level.unwrap_or(&0).to_string());
}

/// Takes over the level of the metadata before, so that two configurations can be compared regardless of it.
// NATS 2.14: copyStreamMetadata, copyConsumerMetadata.
pub fn copy_level(metadata: &mut Metadata, before: &Metadata) {
    remove_dynamic(metadata);
    match before.get(REQUIRED_LEVEL) {
        Some(level) => metadata.insert(REQUIRED_LEVEL.into(), level.clone()),
        None => metadata.remove(REQUIRED_LEVEL),
    };
}

/// Adds the level and the version of the server, for responses only.
// NATS 2.14: setDynamicStreamMetadata, setDynamicConsumerMetadata.
pub fn add_dynamic(metadata: &mut Metadata, version: &str) {
    metadata.insert(SERVER_VERSION.into(), version.into());
    metadata.insert(SERVER_LEVEL.into(), API_LEVEL.to_string());
}

fn remove_dynamic(metadata: &mut Metadata) {
    metadata.remove(SERVER_VERSION);
    metadata.remove(SERVER_LEVEL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_states_the_level_that_it_needs() {
        let level = |change: fn(&mut StreamConfig)| {
            let mut config = StreamConfig::default();
            change(&mut config);
            set_stream_level(&mut config);
            config.metadata[REQUIRED_LEVEL].clone()
        };
        assert_eq!(level(|_| {}), "0");
        assert_eq!(level(|config| config.allow_message_ttl = true), "1");
        assert_eq!(level(|config| config.allow_atomic = true), "2");
        assert_eq!(
            level(|config| {
                config.allow_message_ttl = true;
                config.allow_batched = true;
            }),
            "4"
        );
    }

    #[test]
    fn a_consumer_states_the_level_that_it_needs() {
        let mut config = ConsumerConfig { pinned_ttl: 1, ..ConsumerConfig::default() };
        config.metadata.insert(SERVER_LEVEL.into(), "9".into());
        set_consumer_level(&mut config);
        assert_eq!(config.metadata, BTreeMap::from([(REQUIRED_LEVEL.into(), "1".into())]));
    }

    #[test]
    fn a_level_is_not_a_difference() {
        let before = BTreeMap::from([(REQUIRED_LEVEL.to_owned(), "1".to_owned())]);
        let mut metadata = BTreeMap::from([(SERVER_VERSION.to_owned(), "1".to_owned())]);
        copy_level(&mut metadata, &before);
        assert_eq!(metadata, before);
        copy_level(&mut metadata, &BTreeMap::new());
        assert_eq!(metadata, BTreeMap::new());
    }

    #[test]
    fn a_request_may_need_a_level() {
        assert!(!exceeds_level(None));
        assert!(!exceeds_level(Some(b"")));
        assert!(!exceeds_level(Some(b"4")));
        assert!(exceeds_level(Some(b"5")));
        assert!(exceeds_level(Some(b"x")));
    }
}
