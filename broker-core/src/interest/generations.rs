//! Counters by which a cache checks that an entry is up to date. They are kept per first token, so that the reply
//! inboxes that clients subscribe to do not invalidate the caches of all other subjects.

use crate::sync::{AtomicU64, Ordering};

/// The number of counters that first tokens share: few tokens of a program collide, and the memory is small.
const SHARDS: usize = 128;

/// Each shard counts its own changes and those of filters that begin with a wildcard.
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
    /// Returns the counter of a first token (FNV-1a: short, and good enough for 128 shards).
    pub(super) fn shard(first_token: &[u8]) -> u8 {
        let hash = first_token
            .iter()
            .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        ((hash ^ (hash >> 16)) as usize % SHARDS) as u8
    }

    /// Returns the counter that a filter with this first token advances; `None` for that of wildcards.
    #[inline]
    pub(super) fn place(first_token: &[u8]) -> Option<u8> {
        match first_token {
            b"*" | b">" => None,
            _ => Some(Self::shard(first_token)),
        }
    }

    /// Records a change of the interest in subjects of that place.
    pub(super) fn advance(&self, place: Option<u8>) {
        let counter = match place {
            None => &self.wildcard,
            Some(shard) => &self.literal[usize::from(shard)],
        };
        counter.fetch_add(1, Ordering::Release);
    }

    /// Both counters only grow, so the sum is unchanged only if both are.
    #[inline(always)]
    pub(super) fn count(&self, shard: u8) -> u64 {
        self.literal[usize::from(shard)].load(Ordering::Acquire)
            + self.wildcard.load(Ordering::Acquire)
    }
}
