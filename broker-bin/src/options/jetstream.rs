//! Streams.

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
    /// Streams. A switch, or the word `enabled` or `disabled`, in place of the block is `enabled`.
    pub struct JetStream = Block::new("jetstream")
        .short("a map, true, false, \"enabled\" or \"disabled\"", enabled).off(is_off);

    /// There are streams.
    enabled: bool = true => switch().aliases(&["enable"]).at_once()
        .flag(Group::JetStream, &["js", "jetstream"], "");
    /// Requests with unknown fields are refused.
    strict: bool = true => switch();
    /// Where streams are kept.
    store_dir: Option<PathBuf> = None => formatted(Format::Path).aliases(&["store", "storedir"]);
    /// How often files are synced, or `always`.
    sync_interval: String = "2m".into() => Key::new(Kind::Spelled(Format::SyncInterval))
        .aliases(&["sync"]);
    /// Memory for streams; -1 is up to three quarters of the machine's.
    max_memory_store: i64 = -1 => storage().aliases(&["max_mem_store", "max_mem"]).at_once();
    /// Disk for streams; -1 is up to three quarters of what is free.
    max_file_store: i64 = -1 => storage().aliases(&["max_file"]).at_once();
    /// The domain.
    domain: Option<String> = None => text();
    /// The key that streams are encrypted with.
    encryption_key: Option<Secret> = None => formatted(Format::Secret).aliases(&["key", "ek"]);
    /// The key that they were encrypted with before.
    prev_encryption_key: Option<Secret> = None => formatted(Format::Secret)
        .aliases(&["prev_key", "prev_ek"]);
    /// How streams are encrypted.
    cipher: Option<String> = None => choice(CIPHERS).unset("chacha");
    /// What an extension is told.
    extension_hint: Option<String> = None => text();
    /// Bounds of what clients may ask for.
    limits: JetStreamLimits = JetStreamLimits::default() => block(JetStreamLimits::block);
    /// The key is kept in a TPM.
    tpm: Option<Tpm> = None => block(Tpm::block);
    /// Replicas are kept on servers that differ in the tag that begins so.
    unique_tag: Option<String> = None => text();
    /// How much is sent at once to servers that catch up.
    max_outstanding_catchup: i64 = 0 => storage().unset("64MB");
    /// How much may wait to be stored.
    max_buffered_size: i64 = 0 => storage().unset("128MB");
    /// How many messages may wait to be stored.
    max_buffered_msgs: i64 = 0 => integer(0, i64::MAX).unset("10000");
    /// How many requests may wait.
    request_queue_limit: i64 = 10_000 => integer(i64::MIN, i64::MAX).zero_is_default();
    /// How many requests for information may wait.
    info_queue_limit: i64 = 0 => integer(i64::MIN, i64::MAX).unset("request_queue_limit");
    /// After how many entries the log of the cluster is compacted.
    meta_compact: i64 = 0 => integer(0, i64::MAX).at_once();
    /// From which size the log of the cluster is compacted.
    meta_compact_size: i64 = 0 => storage().at_once();
    /// Compacting waits for the disk.
    meta_compact_sync: bool = false => switch().at_once();
    /// How many operations of the disk may run at once.
    max_concurrent_io: i64 = 4096 => integer(4, 8192);
}

section! {
    /// Bounds of what clients may ask of streams; 0 is none.
    pub struct JetStreamLimits = Block::new("jetstream limits");

    /// Unconfirmed messages of a consumer.
    max_ack_pending: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// Streams and consumers with replicas.
    max_ha_assets: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// Messages that one request may ask for.
    max_request_batch: i64 = 0 => integer(i64::MIN, i64::MAX);
    /// How long a stream remembers the ids of messages.
    duplicate_window: Duration = Duration::ZERO => strict_duration();
    /// Bounds of messages that are published together.
    batch: JetStreamBatch = JetStreamBatch::default() => block(JetStreamBatch::block);
}

section! {
    /// Bounds of messages that are published together; 0 is the default of nats-server.
    pub struct JetStreamBatch = Block::new("jetstream batch");

    /// Batches of one stream that are not complete.
    max_inflight_per_stream: i64 = 0 => integer(0, MANY).unset("50");
    /// Batches of all streams that are not complete.
    max_inflight_total: i64 = 0 => integer(0, MANY).unset("1000");
    /// Messages of a batch.
    max_msgs: i64 = 0 => integer(0, MANY).unset("1000");
    /// How long a batch may take to be complete.
    timeout: Duration = Duration::ZERO => strict_duration().unset("10s");
}

section! {
    /// A key that is kept in a TPM.
    pub struct Tpm = Block::new("tpm").off(|_| false);

    /// The file of the sealed keys.
    keys_file: Option<PathBuf> = None => formatted(Format::Path);
    /// What the key is sealed with.
    encryption_password: Option<Secret> = None => formatted(Format::Secret);
    /// The password of the storage root key.
    srk_password: Option<Secret> = None => formatted(Format::Secret);
    /// The register that the key is bound to.
    pcr: i64 = 0 => integer(0, MANY).unset("22");
    /// How streams are encrypted.
    cipher: Option<String> = None => choice(CIPHERS).unset("chacha");
}

section! {
    /// The streams of an account. A switch, or the word `enabled` or `disabled`, in place of the block has
    /// no bounds; -1 is no bound.
    pub struct AccountJetStream = Block::new("account jetstream")
        .short("a map, true, false, \"enabled\" or \"disabled\"", unbounded).off(|_| false);

    /// Memory.
    max_memory: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["max_mem", "mem", "memory"]);
    /// Disk.
    max_store: i64 = -1 => integer(i64::MIN, i64::MAX)
        .aliases(&["max_file", "max_disk", "store", "disk"]);
    /// Streams.
    max_streams: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["streams"]);
    /// Consumers.
    max_consumers: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["consumers"]);
    /// Streams must say how large they may become.
    max_bytes_required: bool = false => switch().aliases(&["max_stream_bytes", "max_bytes"]);
    /// Memory of one stream.
    mem_max_stream_bytes: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["memory_max_stream_bytes"]);
    /// Disk of one stream.
    disk_max_stream_bytes: i64 = -1 => integer(i64::MIN, i64::MAX).aliases(&["store_max_stream_bytes"]);
    /// Unconfirmed messages of a consumer.
    max_ack_pending: i64 = -1 => integer(i64::MIN, i64::MAX);
    /// Whose account carries what servers say to each other of its streams.
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
