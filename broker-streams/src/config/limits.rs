//! Limits of accounts and of the server, as far as configurations are checked against them.

use std::collections::BTreeMap;

use broker_core::sort::to_map;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StorageType, StreamConfig};
use crate::error::ApiError;

/// The limits of the server for streams and consumers; 0 for none.
// NATS 2.14: opts.go JSLimitOpts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerLimits {
    /// The most messages of a pull request.
    pub max_request_batch: i64,
    /// The most unacknowledged messages of a consumer.
    pub max_ack_pending: i64,
    /// The longest window of deduplication, in nanoseconds.
    pub max_duplicate_window: i64,
}

/// The limits of an account, or of one tier of it. Numbers below 0 mean "no limit"; for streams, consumers and stream sizes
/// 0 does, too.
// NATS 2.14: jetstream.go JetStreamAccountLimits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct TierLimits {
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes in files.
    pub max_storage: i64,
    /// Streams.
    pub max_streams: i64,
    /// Consumers of a stream.
    pub max_consumers: i64,
    /// Unacknowledged messages of a consumer.
    pub max_ack_pending: i64,
    /// Bytes of a stream in memory.
    pub memory_max_stream_bytes: i64,
    /// Bytes of a stream in files.
    pub storage_max_stream_bytes: i64,
    /// Streams must have a limit of bytes.
    pub max_bytes_required: bool,
}

impl Default for TierLimits {
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// The limits of an account: one for all streams, or one for each number of replicas (`R1`, `R3`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountLimits(BTreeMap<String, TierLimits>);

impl Default for AccountLimits {
    fn default() -> Self {
        Self::flat(TierLimits::default())
    }
}

impl AccountLimits {
    /// Creates limits for all streams.
    pub fn flat(limits: TierLimits) -> Self {
        Self(BTreeMap::from([(String::new(), limits)]))
    }

    /// Creates limits by tier.
    pub fn tiered(tiers: BTreeMap<String, TierLimits>) -> Self {
        Self(tiers)
    }

    /// Reads the limits of the claims of an account, by the names of their members. `None` if the account may have no streams.
    // NATS 2.14: accounts.go updateAccountClaimsWithRefresh; jwt account_claims.go IsJSEnabled.
    pub fn from_claims(claims: &BTreeMap<String, Value>) -> Option<Self> {
        let tiers: BTreeMap<String, ClaimedLimits> = match claims.get("tiered_limits") {
            Some(tiers) => BTreeMap::deserialize(tiers).ok().unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let members = claims.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let flat = ClaimedLimits::deserialize(Value::Object(members)).ok()?;
        if tiers.is_empty() {
            return flat.is_enabled().then(|| Self::flat(flat.into()));
        }
        let is_enabled = tiers.values().any(ClaimedLimits::is_enabled);
        let tiers = tiers.into_iter().map(|(name, limits)| (name, limits.into()));
        is_enabled.then(|| Self::tiered(to_map(tiers)))
    }

    /// Returns the limits if there are no tiers.
    pub fn as_flat(&self) -> Option<&TierLimits> {
        self.0.get("")
    }

    /// Returns the tiers with their names.
    pub fn tiers(&self) -> impl Iterator<Item = (&str, &TierLimits)> {
        self.0.iter().map(|(name, limits)| (name.as_str(), limits))
    }

    /// Returns the tier of a stream by its replicas, with its name, which is empty for limits without tiers; `None` if there is no
    /// such tier.
    // NATS 2.14: jetstream.go selectLimits.
    pub fn select(&self, replicas: i64) -> Option<(&str, &TierLimits)> {
        let name = tier_name(replicas);
        let found = self.0.get_key_value("").or_else(|| self.0.get_key_value(&name));
        found.map(|(name, limits)| (name.as_str(), limits))
    }
}

/// The limits as the claims of an account name them.
// NATS 2.14: jwt account_claims.go JetStreamLimits.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimedLimits {
    mem_storage: i64,
    disk_storage: i64,
    streams: i64,
    consumer: i64,
    max_ack_pending: i64,
    mem_max_stream_bytes: i64,
    disk_max_stream_bytes: i64,
    max_bytes_required: bool,
}

impl ClaimedLimits {
    fn is_enabled(&self) -> bool {
        self.mem_storage != 0 || self.disk_storage != 0
    }
}

impl From<ClaimedLimits> for TierLimits {
    fn from(claims: ClaimedLimits) -> Self {
        let or_none = |limit: i64| if limit > 0 { limit } else { -1 };
        Self {
            max_memory: claims.mem_storage,
            max_storage: claims.disk_storage,
            max_streams: claims.streams,
            max_consumers: claims.consumer,
            max_ack_pending: or_none(claims.max_ack_pending),
            memory_max_stream_bytes: or_none(claims.mem_max_stream_bytes),
            storage_max_stream_bytes: or_none(claims.disk_max_stream_bytes),
            max_bytes_required: claims.max_bytes_required,
        }
    }
}

/// Returns the name of the tier of streams with this number of replicas.
pub fn tier_name(replicas: i64) -> String {
    format!("R{}", if replicas == 0 { 1 } else { replicas })
}

/// Bytes that limits of streams reserve: of the account, and of the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reserved {
    /// Reserved by other streams of the account, in the storage and tier of the stream that is checked.
    pub account: i64,
    /// Reserved on the server, in the storage of the stream.
    pub server: i64,
    /// The most that streams may reserve on the server, in the storage of the stream.
    pub server_max: i64,
}

impl StreamConfig {
    /// Returns the bytes that the stream counts against the limits of its account.
    // NATS 2.14: jetstream.go accountReservation: limits by tier include the replicas.
    pub fn reservation(&self, tier: &str, bytes: i64) -> i64 {
        match bytes {
            ..=0 => 0,
            bytes if tier.is_empty() && self.replicas > 1 => bytes.saturating_mul(self.replicas),
            bytes => bytes,
        }
    }
}

/// Checks the number of consumers that a stream may have against the limits of the tier of its account.
///
/// # Errors
///
/// Error 10026.
pub fn check_consumers(config: &StreamConfig, limits: &TierLimits) -> Result<(), ApiError> {
    let most = limits.max_consumers;
    if config.max_consumers > 0 && most > 0 && config.max_consumers > most {
        return Err(ApiError::MAXIMUM_CONSUMERS_LIMIT);
    }
    Ok(())
}

/// Checks a stream against the limits of the tier of its account and of the server. `bytes` are those that it needs in
/// addition to the reserved ones.
///
/// # Errors
///
/// Errors 10026, 10028, 10047.
// NATS 2.14: jetstream.go checkLimits, checkBytesLimits.
pub fn check_limits(
    config: &StreamConfig,
    bytes: i64,
    (tier, limits): (&str, &TierLimits),
    reserved: &Reserved,
) -> Result<(), ApiError> {
    check_consumers(config, limits)?;
    // A stream without a limit needs some room.
    let bytes = if bytes < 0 { 1 } else { bytes };
    let (max, error) = match config.storage {
        StorageType::Memory => (limits.max_memory, ApiError::MEMORY_RESOURCES_EXCEEDED),
        StorageType::File => (limits.max_storage, ApiError::STORAGE_RESOURCES_EXCEEDED),
    };
    let fits = |bytes: i64, reserved: i64, max: i64| reserved <= max && bytes <= max - reserved;
    let account_bytes = config.reservation(tier, bytes);
    let fits_account = max < 0 || fits(account_bytes, reserved.account, max);
    if fits_account && fits(bytes, reserved.server, reserved.server_max) {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_bytes: i64) -> StreamConfig {
        StreamConfig { max_bytes, replicas: 1, ..StreamConfig::default() }
    }

    fn check(max_bytes: i64, max_storage: i64, reserved: Reserved) -> Result<(), ApiError> {
        let limits = TierLimits { max_storage, ..TierLimits::default() };
        check_limits(&config(max_bytes), max_bytes, ("", &limits), &reserved)
    }

    #[test]
    fn bytes_are_limited_for_the_account_and_for_the_server() {
        let free = Reserved { server_max: i64::MAX, ..Reserved::default() };
        assert_eq!(check(100, 100, free), Ok(()));
        assert_eq!(check(101, 100, free), Err(ApiError::STORAGE_RESOURCES_EXCEEDED));
        assert_eq!(check(100, -1, free), Ok(()));
        let part = Reserved { account: 60, ..free };
        assert_eq!(check(40, 100, part), Ok(()));
        assert_eq!(check(41, 100, part), Err(ApiError::STORAGE_RESOURCES_EXCEEDED));
        let full = Reserved { server: 60, server_max: 60, ..free };
        assert_eq!(check(-1, -1, full), Err(ApiError::STORAGE_RESOURCES_EXCEEDED));
        assert_eq!(check(0, -1, full), Ok(()));
    }

    #[test]
    fn the_claims_of_an_account_allow_streams_or_do_not() {
        let read = |text: &str| AccountLimits::from_claims(&serde_json::from_str(text).unwrap());
        for none in [
            "{}",
            r#"{"streams":-1}"#,
            r#"{"tiered_limits":{"R1":{"streams":1}}}"#,
            r#"{"disk_storage":"x"}"#,
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        let flat = read(
            r#"{"disk_storage":-1,"streams":2,"consumer":3,"max_ack_pending":0,
            "disk_max_stream_bytes":4,"max_bytes_required":true,"tiered_limits":{}}"#,
        );
        let expected = TierLimits {
            max_memory: 0,
            max_storage: -1,
            max_streams: 2,
            max_consumers: 3,
            storage_max_stream_bytes: 4,
            max_bytes_required: true,
            ..TierLimits::default()
        };
        assert_eq!(flat, Some(AccountLimits::flat(expected)));
        let tiered = read(r#"{"tiered_limits":{"R1":{"mem_storage":5},"R3":{}}}"#).unwrap();
        assert_eq!(tiered.select(1).map(|(_, limits)| limits.max_memory), Some(5));
        assert_eq!(tiered.as_flat(), None);
    }

    #[test]
    fn a_tier_is_selected_by_replicas() {
        let tiers = BTreeMap::from([("R1".to_owned(), TierLimits::default())]);
        let tiered = AccountLimits::tiered(tiers);
        assert_eq!(tiered.select(0).map(|(name, _)| name), Some("R1"));
        assert_eq!(tiered.select(3), None);
        assert_eq!(AccountLimits::default().select(3).map(|(name, _)| name), Some(""));
    }
}
