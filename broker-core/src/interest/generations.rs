//! Counters that tell a cache whether it is still right, kept per first token, so that a reply inbox
//! that comes and goes does not empty the caches for all other subjects.

use crate::sync::{AtomicU64, Ordering};

/// First tokens share this many counters: enough that few programs' tokens meet, and small.
const SHARDS: usize = 128;

/// Each shard's count is its own changes and those of filters that begin with a wildcard.
pub(super) struct Generations {
    literal: [AtomicU64; SHARDS],
    wildcard: AtomicU64,
}

impl Default for Generations {
    fn default() -> Self {
        Self { literal: std::array::from_fn(|_| AtomicU64::new(0)), wildcard: AtomicU64::new(0) }
    }
}

impl Generations {
    /// Which counter stands for a first token (FNV-1a: short, and good enough for 128 shards).
    pub(super) fn shard(first_token: &[u8]) -> u8 {
        let hash = first_token
            .iter()
            .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        ((hash ^ (hash >> 16)) as usize % SHARDS) as u8
    }

    /// Which counter a filter with this first token advances; `None` for the one of wildcards.
    pub(super) fn place(first_token: &[u8]) -> Option<u8> {
        match first_token {
            b"*" | b">" => None,
            _ => Some(Self::shard(first_token)),
        }
    }

    /// Interest in subjects of that place has changed.
    pub(super) fn advance(&self, place: Option<u8>) {
        let counter = match place {
            None => &self.wildcard,
            Some(shard) => &self.literal[usize::from(shard)],
        };
        counter.fetch_add(1, Ordering::Release);
    }

    /// Both parts only grow, so their sum is the same only if both are.
    #[inline]
    pub(super) fn count(&self, shard: u8) -> u64 {
        self.literal[usize::from(shard)].load(Ordering::Acquire)
            + self.wildcard.load(Ordering::Acquire)
    }
}
