//! Use and limits of the account.
// NATS 2.14: jetstream.go JetStreamUsage.

use std::collections::BTreeMap;

use super::call::Call;
use super::host::TierUsage;
use super::response::{AccountInfo, AccountStats, ApiStats, Tier};
use crate::config::limits::{AccountLimits, TierLimits};
use crate::config::version::API_LEVEL;

pub(super) fn info(call: &mut Call<'_>) {
    let result = call.limits().map(|limits| AccountInfo { stats: Some(stats(call, &limits)) });
    call.send("account_info", result);
}

fn stats(call: &mut Call<'_>, limits: &AccountLimits) -> AccountStats {
    let usage = call.host.usage();
    let counts = call.host.counts();
    let mut total = TierUsage::default();
    for used in usage.values() {
        total.memory += used.memory;
        total.storage += used.storage;
        total.reserved_memory = total.reserved_memory.saturating_add(used.reserved_memory);
        total.reserved_storage = total.reserved_storage.saturating_add(used.reserved_storage);
        total.streams += used.streams;
        total.consumers += used.consumers;
    }
    let mut tiers = BTreeMap::new();
    if limits.as_flat().is_none() {
        let no_limits = Tier::default().limits;
        for (name, used) in &usage {
            tiers.insert(name.clone(), tier(used, no_limits));
        }
        for (name, limits) in limits.tiers() {
            let used = usage.get(name).copied().unwrap_or_default();
            tiers.insert(name.to_owned(), tier(&used, *limits));
        }
    }
    AccountStats {
        total: tier(&total, limits.as_flat().copied().unwrap_or(Tier::default().limits)),
        domain: call.identity.domain.clone(),
        api: ApiStats { level: API_LEVEL, total: counts.total, errors: counts.errors },
        tiers,
    }
}

fn tier(used: &TierUsage, limits: TierLimits) -> Tier {
    Tier {
        memory: used.memory,
        storage: used.storage,
        reserved_memory: used.reserved_memory,
        reserved_storage: used.reserved_storage,
        streams: used.streams,
        consumers: used.consumers,
        limits,
    }
}
