//! The cost of a message in the core, with the input of one read routed at once.

mod common;

use common::timed::run;
use common::traffic;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn publish_to_nobody_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::publish_to_nobody_16_bytes());
}

#[divan::bench]
fn one_to_one_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one(16));
}

#[divan::bench]
fn one_to_one_of_10_to_99_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one_of_10_to_99_bytes());
}

#[divan::bench]
fn one_to_one_16_bytes_each_read_by_itself(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one_16_bytes_each_read_by_itself());
}

#[divan::bench]
fn one_to_one_128_bytes_with_reply(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one_128_bytes_with_reply());
}

#[divan::bench]
fn one_to_one_128_bytes_with_headers(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one_128_bytes_with_headers());
}

#[divan::bench]
fn one_to_one_16_kib(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one(16 << 10));
}

#[divan::bench]
fn one_to_one_256_kib(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::one_to_one(256 << 10));
}

#[divan::bench]
fn mapped_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::mapped_16_bytes());
}

#[divan::bench]
fn mapped_16_bytes_each_read_by_itself(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::mapped_16_bytes_each_read_by_itself());
}

#[divan::bench]
fn mapped_by_weight_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::mapped_by_weight_16_bytes());
}

#[divan::bench]
fn fan_out_1_to_10_128_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::fan_out(10, 128));
}

#[divan::bench]
fn fan_out_1_to_1000_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::fan_out(1000, 16));
}

#[divan::bench]
fn queue_group_of_10(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::queue_group_of_10());
}

#[divan::bench]
fn subscribe_request_unsubscribe(bencher: Bencher<'_, '_>) {
    run(bencher, traffic::subscribe_request_unsubscribe());
}
