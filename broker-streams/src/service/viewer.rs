//! Reads the state of running streams, for monitoring.
//!
//! The lock of a stream is held for its totals, and again for each few of its consumers.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use broker_core::endpoint::Scratch;
use broker_core::sort::to_map;

use super::account::Account;
use super::accounts::Accounts;
use super::lock::lock;
use super::options::Options;
use super::report::{
    AccountReport, AccountSelection, ConsumerReport, ReportRoom, ServiceCounts, StreamHealth,
    StreamReport, Totals, UsageReport,
};
use super::server::Server;
use super::unit::Unit;
use crate::cell::Cell;
use crate::config::StorageType;
use crate::config::limits::AccountLimits;
use crate::consumer::ConsumerInfo;

/// The consumers that are read within one hold of the lock of their stream: counting what one has pending may take a scan.
const CONSUMERS_AT_ONCE: usize = 16;

/// Reads the state of running streams. It does not keep them running.
#[derive(Clone)]
pub struct Viewer {
    server: Weak<Server>,
    accounts: Weak<Accounts>,
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").finish_non_exhaustive()
    }
}

impl Viewer {
    pub(super) fn new(server: &Arc<Server>, accounts: &Arc<Accounts>) -> Self {
        Self { server: Arc::downgrade(server), accounts: Arc::downgrade(accounts) }
    }

    /// Returns the options, with the limits in force; `None` if the streams have ended.
    pub fn options(&self) -> Option<Options> {
        let server = self.server.upgrade()?;
        let most =
            |storage| Some(server.usages.of(storage).most()).filter(|bytes| *bytes < u64::MAX);
        Some(Options {
            max_memory: most(StorageType::Memory),
            max_storage: most(StorageType::File),
            ..server.options.clone()
        })
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

    /// Returns what all streams have done since the start.
    pub fn counts(&self) -> ServiceCounts {
        let Some(server) = self.server.upgrade() else { return ServiceCounts::default() };
        let ended = server.counters.ended();
        let mut counts = server.counters.counts();
        counts.waiting_requests = server.requests.waiting();
        counts.damages = server.scrubber.damaged();
        counts.latencies = *ended;
        for account in self.all_accounts() {
            for unit in account.units() {
                unit.see(|cell| counts.latencies.add(cell.latencies()));
            }
        }
        counts
    }

    /// Returns the free and the total bytes of the disk with the directory; `None` without a directory, or if the system
    /// does not tell.
    pub fn disk(&self) -> Option<(u64, u64)> {
        let server = self.server.upgrade()?;
        super::disk_space::disk_space(server.options.directory.as_deref()?)
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
        let mut health = to_map(account.units().iter().map(|unit| {
            let failure = unit.failure();
            let health = failure.map_or(StreamHealth::Served, StreamHealth::WriteFailed);
            (unit.config().name.clone(), health)
        }));
        for name in account.unrecovered() {
            health.entry(name).or_insert(StreamHealth::NotRecovered);
        }
        Some(health)
    }

    /// Returns true if a stream has a consumer of that name.
    pub fn has_consumer(&self, account: &str, stream: &str, consumer: &str) -> bool {
        let unit = self.unit(account, stream);
        unit.is_some_and(|unit| unit.see(|cell| cell.consumer(consumer).is_some()))
    }

    /// Returns the accounts that may have streams.
    fn accounts(&self) -> Vec<(Arc<Account>, Arc<AccountLimits>)> {
        let Some(accounts) = self.accounts.upgrade() else { return Vec::new() };
        let accounts = lock(&accounts);
        let with_streams = accounts.values();
        with_streams.filter_map(|account| Some((Arc::clone(account), account.limits()?))).collect()
    }

    /// Returns all accounts, also those that may have no streams any more.
    pub(super) fn all_accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.upgrade();
        accounts.map(|accounts| lock(&accounts).values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn unit(&self, account: &str, stream: &str) -> Option<Arc<Unit>> {
        self.find(account).and_then(|(account, _)| account.unit(stream))
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
    each_consumer(unit, &names, |info, is_direct| {
        let list = if is_direct { &mut report.direct } else { &mut report.consumers };
        list.push(ConsumerReport::of(info, selection.config));
    });
    report
}

/// Returns the state of the consumers of these names, as far as they exist.
pub(super) fn consumer_reports(unit: &Arc<Unit>, names: &[String]) -> Vec<ConsumerReport> {
    let mut reports = Vec::with_capacity(names.len());
    each_consumer(unit, names, |info, _| reports.push(ConsumerReport::of(info, true)));
    reports
}

/// Calls `visit` with the state of each consumer of these names, and whether a mirror or source uses it.
fn each_consumer(unit: &Arc<Unit>, names: &[String], mut visit: impl FnMut(ConsumerInfo, bool)) {
    let mut scratch = Scratch::new();
    for some in names.chunks(CONSUMERS_AT_ONCE) {
        unit.with(&mut scratch, |cell, now, out| {
            for name in some {
                let Some(is_direct) = cell.consumer(name).map(|found| found.config().direct) else {
                    continue;
                };
                if let Some(info) = cell.consumer_info(name, now.time, out) {
                    visit(info, is_direct);
                }
            }
        });
    }
}
