//! Runs scenarios as benchmarks of time.

use divan::Bencher;
use divan::counter::ItemsCount;

use super::{Scenario, warm_up};

/// Returns false if benchmarks are only tested: `cargo test --all-targets`.
fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Reduces a count that takes long to prepare to a thousandth if nothing is measured.
pub(crate) fn many(count: usize) -> usize {
    if is_measuring() { count } else { count.div_ceil(1000) }
}

/// Measures turns of a scenario, each of as many units as the first.
pub(crate) fn run(bencher: Bencher<'_, '_>, mut scenario: impl Scenario) {
    if is_measuring() {
        warm_up(&mut scenario);
    }
    let items = scenario.turn();
    bencher.counter(ItemsCount::new(items)).bench_local(|| scenario.turn());
    let (expected, happened) = scenario.account();
    assert_eq!(expected, happened, "nothing may be lost while it is measured");
}
