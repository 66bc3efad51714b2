//! JetStream.

use std::path::PathBuf;
use std::time::Duration;

use broker_core::auth::Secret;
use figment::value::{Dict, Value as Plain};

use super::authorization::map;
use crate::config::declare::{
    block, choice, formatted, integer, section, strict_duration, switch, text,
};
use crate::config::kind::{Format, Kind, MANY};
use crate::config::lang::{Node, Value};
use crate::config::table::{Group, Key, Meaning};

const fn storage() -> Key {
    Key::new(Kind::Storage)
}

const CIPHERS: &[&str] = &["chacha", "chachapoly", "aes"];

section! {
    /// JetStream. A switch, or the word `enabled` or `disabled`, in place of the block is
    /// `enabled`.
    pub struct JetStream = Block::new("jetstream")
        .short("a map, true, false, \"enabled\" or \"disabled\"", enabled).off(is_off);

    /// Enables JetStream.
    enabled: bool = true => switch().aliases(&["enable"]).at_once()
        .flag(Group::JetStream, &["js", "jetstream"], "");
    /// Refuses requests with unknown fields.
    strict: bool = true => switch().called("JetStreamStrict");
    /// Directory of the streams.
    store_dir: Option<PathBuf> = None => formatted(Format::Path).aliases(&["store", "storedir"]);
    /// Interval of syncing files to disk, or `always`.
    sync_interval: String = "2m".into() => Key::new(Kind::Spelled(Format::SyncInterval))
        .aliases(&["sync"]).no_effect("an acknowledged message is on disk");
    /// Memory for streams; -1 is up to three quarters of the machine's.
    max_memory_store: i64 = -1 => storage().aliases(&["max_mem_store", "max_mem"]).at_once();
    /// Disk space for streams; -1 is up to three quarters of the free space.
    max_file_store: i64 = -1 => storage().aliases(&["max_file"]).at_once();
    /// The JetStream domain.
    domain: Option<String> = None => text().called("JetStreamDomain");
    /// Encryption key of the streams.
    encryption_key: Option<Secret> = None => formatted(Format::Secret).aliases(&["key", "ek"])
        .called("JetStreamKey");
    /// Previous encryption key.
    prev_encryption_key: Option<Secret> = None => formatted(Format::Secret)
        .aliases(&["prev_key", "prev_ek"]).called("JetStreamOldKey");
    /// Cipher of the encryption.
    cipher: Option<String> = None => choice(CIPHERS).unset("chacha")
        .called("JetStreamCipher");
    /// Hint for an extension.
    extension_hint: Option<String> = None => text().no_effect("there are no leaf nodes");
    /// Limits of client requests.
    limits: JetStreamLimits = JetStreamLimits::default() => block(JetStreamLimits::block)
        .called("JetStreamLimits");
    /// Keeps the encryption key in a TPM.
    tpm: Option<Tpm> = None => block(Tpm::block).not_yet("keys in a TPM");
    /// Places replicas on servers that differ in the tag with this prefix.
    unique_tag: Option<String> = None => text().no_effect("streams have one replica");
    /// Bytes in flight to servers that catch up.
    max_outstanding_catchup: i64 = 0 => storage().unset("64MB")
        .no_effect("streams have one replica");
    /// Bytes that may wait to be stored.
    max_buffered_size: i64 = 0 => storage().unset("128MB")
        .no_effect("64 MiB and 32,768 messages of each stream may wait");
    /// Messages that may wait to be stored.
    max_buffered_msgs: i64 = 0 => integer(0, i64::MAX).unset("10000")
        .no_effect("64 MiB and 32,768 messages of each stream may wait");
    /// Requests that may wait.
    request_queue_limit: i64 = 10_000 => integer(i64::MIN, i64::MAX).zero_is_default()
        .no_effect("10,000 requests may wait");
    /// Information requests that may wait.
    info_queue_limit: i64 = 0 => integer(i64::MIN, i64::MAX).unset("request_queue_limit")
        .no_effect("10,000 requests may wait");
    /// Number of entries at which the cluster's log is compacted.
    meta_compact: i64 = 0 => integer(0, i64::MAX).at_once()
        .no_effect("streams have one replica");
    /// Size at which the cluster's log is compacted.
    meta_compact_size: i64 = 0 => storage().at_once()
        .no_effect("streams have one replica");
    /// Syncs to disk when compacting.
    meta_compact_sync: bool = false => switch().at_once()
        .no_effect("streams have one replica");
    /// Concurrent disk operations.
    max_concurrent_io: i64 = 4096 => integer(4, 8192)
        .no_effect("one thread writes");
}

section! {
    /// Limits of client requests; 0 is unlimited.
    pub struct JetStreamLimits = Block::new("jetstream limits");

    /// Unacknowledged messages per consumer.
    max_ack_pending: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// Replicated streams and consumers.
    max_ha_assets: i64 = 0 => integer(i64::MIN, i64::MAX)
        .no_effect("streams have one replica");
    /// Messages per request.
    max_request_batch: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// Time for which a stream remembers message ids.
    duplicate_window: Duration = Duration::ZERO => strict_duration();
    /// Limits of batch publishing.
    batch: JetStreamBatch = JetStreamBatch::default() => block(JetStreamBatch::block);
}

section! {
    /// Limits of batch publishing; 0 is nats-server's default.
    pub struct JetStreamBatch = Block::new("jetstream batch");

    /// Incomplete batches per stream.
    max_inflight_per_stream: i64 = 0 => integer(0, MANY).unset("50");
    /// Incomplete batches of all streams.
    max_inflight_total: i64 = 0 => integer(0, MANY).unset("1000");
    /// Messages per batch.
    max_msgs: i64 = 0 => integer(0, MANY).unset("1000");
    /// Timeout of an incomplete batch.
    timeout: Duration = Duration::ZERO => strict_duration().unset("10s");
}

section! {
    /// A key that is kept in a TPM.
    pub struct Tpm = Block::new("tpm").off(|_| false);

    /// File of the sealed keys.
    keys_file: Option<PathBuf> = None => formatted(Format::Path);
    /// Password that seals the key.
    encryption_password: Option<Secret> = None => formatted(Format::Secret);
    /// Password of the storage root key.
    srk_password: Option<Secret> = None => formatted(Format::Secret);
    /// Platform configuration register to which the key is bound.
    pcr: i64 = 0 => integer(0, MANY).unset("22");
    /// Cipher of the encryption.
    cipher: Option<String> = None => choice(CIPHERS).unset("chacha");
}

section! {
    /// JetStream in an account. A switch, or the word `enabled` or `disabled`, in place of the
    /// block is the block without limits; -1 is unlimited.
    pub struct AccountJetStream = Block::new("account jetstream")
        .short("a map, true, false, \"enabled\" or \"disabled\"", unbounded).off(|_| false);

    /// Memory for streams.
    max_memory: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_mem", "mem", "memory"]);
    /// Disk space for streams.
    max_store: i64 = -1 => integer(i64::MIN, i64::MAX)
        .aliases(&["max_file", "max_disk", "store", "disk"]);
    /// Number of streams.
    max_streams: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["streams"]);
    /// Number of consumers.
    max_consumers: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["consumers"]);
    /// Streams must be created with a size limit.
    max_bytes_required: bool = false => switch().aliases(&["max_stream_bytes", "max_bytes"]);
    /// Memory per stream.
    mem_max_stream_bytes: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["memory_max_stream_bytes"]);
    /// Disk space per stream.
    disk_max_stream_bytes: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["store_max_stream_bytes"]);
    /// Unacknowledged messages per consumer.
    max_ack_pending: i64 = -1 => integer(i64::MIN, i64::MAX);
    /// Account that carries the replication traffic.
    cluster_traffic: String = "system".into() => choice(&["system", "owner"]);
}

fn word(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(on) => Some(*on),
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "enabled" | "enable" => Some(true),
            "disabled" | "disable" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn enabled(node: &Node) -> Meaning {
    match word(node) {
        Some(on) => Meaning::Is(map(node, "enabled", Value::Bool(on))),
        None => Meaning::Unknown,
    }
}

fn unbounded(node: &Node) -> Meaning {
    match word(node) {
        Some(true) => Meaning::Is(crate::config::lang::Map::default()),
        Some(false) => Meaning::Unset,
        None => Meaning::Unknown,
    }
}

fn is_off(block: &Dict) -> bool {
    block.get("enabled").and_then(Plain::to_bool) == Some(false)
}
