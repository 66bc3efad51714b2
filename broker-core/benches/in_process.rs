//! The cost of in-process clients, on one thread.

mod common;

use common::in_process::{Asking, Publishing};
use common::timed::run;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn in_process_128_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, Publishing::of(128));
}

#[divan::bench]
fn in_process_request_128_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, Asking::of(128));
}
