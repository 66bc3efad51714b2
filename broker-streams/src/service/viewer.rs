//! Reads the state of running streams, for monitoring.
//!
//! The lock of a stream is held for its totals, and again for each few of its consumers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use broker_core::endpoint::Scratch;

use super::account::Account;
use super::lock::lock;
use super::options::Options;
use super::report::{
    AccountReport, AccountSelection, ConsumerReport, ReportRoom, StreamHealth, StreamReport,
    Totals, UsageReport,
};
use super::server::Server;
use super::unit::Unit;
use crate::cell::Cell;
use crate::config::StorageType;
use crate::config::limits::AccountLimits;

/// The consumers that are read within one hold of the lock of their stream: counting what one has pending may take a scan.
const CONSUMERS_AT_ONCE: usize = 16;

/// Reads the state of running streams. It does not keep them running.
#[derive(Clone)]
pub struct Viewer {
    server: Weak<Server>,
    accounts: Weak<Mutex<BTreeMap<String, Arc<Account>>>>,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").finish_non_exhaustive()
    }
}

impl Viewer {
    pub(super) fn new(
        server: &Arc<Server>,
        accounts: &Arc<Mutex<BTreeMap<String, Arc<Account>>>>,
    ) -> Self {
        Self { server: Arc::downgrade(server), accounts: Arc::downgrade(accounts) }
    }

    /// Returns the options; `None` if the streams have ended.
    pub fn options(&self) -> Option<Options> {
        self.server.upgrade().map(|server| server.options.clone())
    }

    /// Returns the names of the accounts that may have streams, in order.
    pub fn account_names(&self) -> Vec<String> {
        self.accounts().into_iter().map(|(account, _)| account.name().to_owned()).collect()
    }

    /// Returns the usage of all accounts together.
    pub fn usage(&self) -> UsageReport {
        let Some(server) = self.server.upgrade() else { return UsageReport::default() };
        let accounts = self.accounts();
        let mut usage = UsageReport {
            memory: server.usages.of(StorageType::Memory).used(),
            storage: server.usages.of(StorageType::File).used(),
            reserved_memory: bytes(server.usages.of(StorageType::Memory).reserved()),
            reserved_storage: bytes(server.usages.of(StorageType::File).reserved()),
            accounts: accounts.len(),
            ..UsageReport::default()
        };
        for (account, _) in accounts {
            let (total, errors) = account.request_counts();
            usage.requests += total;
            usage.request_errors += errors;
        }
        usage
    }

    /// Returns the numbers of streams, consumers and messages of all accounts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (account, _) in self.accounts() {
            for unit in account.units() {
                let (state, consumers) =
                    unit.see(|cell| (cell.stream().state(), consumer_count(cell)));
                totals.streams += 1;
                totals.consumers += consumers;
                totals.messages += state.messages;
                totals.bytes += state.bytes;
            }
        }
        totals
    }

    /// Returns the state of an account; `None` if it may have no streams.
    pub fn account(&self, name: &str, selection: AccountSelection) -> Option<AccountReport> {
        self.account_within(name, selection, &mut ReportRoom::default())
    }

    /// Returns the state of an account, with its first streams and consumers by name as far as there is room; `None` if
    /// it may have no streams.
    pub fn account_within(
        &self,
        name: &str,
        selection: AccountSelection,
        room: &mut ReportRoom,
    ) -> Option<AccountReport> {
        let server = self.server.upgrade()?;
        let (account, limits) = self.find(name)?;
        let usages = account.usages();
        let (requests, request_errors) = account.request_counts();
        let flat = limits.as_flat();
        let mut report = AccountReport {
            usage: UsageReport {
                memory: usages.of(StorageType::Memory).used(),
                storage: usages.of(StorageType::File).used(),
                // The reference writes -1, which is unlimited, as the largest number.
                reserved_memory: flat.map_or(0, |limits| limits.max_memory.cast_unsigned()),
                reserved_storage: flat.map_or(0, |limits| limits.max_storage.cast_unsigned()),
                accounts: 0,
                requests,
                request_errors,
            },
            streams: Vec::new(),
        };
        if selection.streams {
            let mut units = account.units();
            units.retain(|unit| room.take_stream(|| unit.see(consumer_count)));
            report.streams =
                units.iter().map(|unit| stream_report(&server, unit, selection, room)).collect();
        }
        Some(report)
    }

    /// Returns whether each stream of an account is served, by name; `None` if the account may have no streams.
    pub fn health(&self, account: &str) -> Option<BTreeMap<String, StreamHealth>> {
        let (account, _) = self.find(account)?;
        let mut health: BTreeMap<_, _> = account
            .units()
            .iter()
            .map(|unit| (unit.config().name.clone(), StreamHealth::Served))
            .collect();
        for name in account.unrecovered() {
            health.entry(name).or_insert(StreamHealth::NotRecovered);
        }
        Some(health)
    }

    /// Returns true if a stream has a consumer of that name.
    pub fn has_consumer(&self, account: &str, stream: &str, consumer: &str) -> bool {
        let unit = self.find(account).and_then(|(account, _)| account.unit(stream));
        unit.is_some_and(|unit| unit.see(|cell| cell.consumer(consumer).is_some()))
    }

    /// Returns the accounts that may have streams.
    fn accounts(&self) -> Vec<(Arc<Account>, Arc<AccountLimits>)> {
        let Some(accounts) = self.accounts.upgrade() else { return Vec::new() };
        let accounts = lock(&accounts);
        let with_streams = accounts.values();
        with_streams.filter_map(|account| Some((Arc::clone(account), account.limits()?))).collect()
    }

    fn find(&self, name: &str) -> Option<(Arc<Account>, Arc<AccountLimits>)> {
        let accounts = self.accounts.upgrade()?;
        let account = lock(&accounts).get(name).cloned()?;
        let limits = account.limits()?;
        Some((account, limits))
    }
}

fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Returns the number of consumers, without those that mirrors and sources use.
fn consumer_count(cell: &Cell) -> usize {
    cell.consumers().filter(|found| !found.config().direct).count()
}

fn stream_report(
    server: &Server,
    unit: &Arc<Unit>,
    selection: AccountSelection,
    room: &mut ReportRoom,
) -> StreamReport {
    let now = server.now();
    let (info, names) = unit.see(|cell| {
        let is_wanted =
            |is_direct: bool| selection.consumers && (selection.direct_consumers || !is_direct);
        let wanted = cell.consumers().filter(|found| is_wanted(found.config().direct));
        let names: Vec<String> =
            room.take_consumers(wanted).into_iter().map(|found| found.name().to_owned()).collect();
        let config = cell.stream().config().clone();
        (crate::api::stream_info(cell, config, now), names)
    });
    let leader = server.identity().server.clone();
    let mut report = StreamReport::of(info, leader, selection.config);
    let mut scratch = Scratch::new();
    for some in names.chunks(CONSUMERS_AT_ONCE) {
        unit.with(&mut scratch, |cell, now, out| {
            for name in some {
                let Some(is_direct) = cell.consumer(name).map(|found| found.config().direct) else {
                    continue;
                };
                let list = if is_direct { &mut report.direct } else { &mut report.consumers };
                if let Some(info) = cell.consumer_info(name, now.time, out) {
                    list.push(ConsumerReport::of(info, selection.config));
                }
            }
        });
    }
    report
}
