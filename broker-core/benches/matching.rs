//! The cost of finding the receivers of a subject: messages without payload, each with another
//! subject than the one before.

mod common;

use common::timed::{many, run};
use common::traffic;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn match_1m_literal_subscriptions(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::literal_subscriptions(many(1_000_000)));
}

#[divan::bench]
fn match_10k_wildcards(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::wildcard_subscriptions(many(10_000)));
}

#[divan::bench]
fn match_10k_wildcards_beside_1m_literal_subscriptions(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::literal_and_wildcard_subscriptions(many(1_000_000), many(10_000)));
}

#[divan::bench]
fn ten_thousand_subjects_into_a_wildcard(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::ten_thousand_subjects_into_a_wildcard());
}
