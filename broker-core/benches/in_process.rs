//! The cost of in-process clients, on one thread.

mod common;

use common::in_process::{Asking, AskingHandler, Batching, Publishing};
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

#[divan::bench]
fn in_process_128_bytes_in_batches(bencher: Bencher<'_, '_>) {
    run(bencher, Batching::of(128));
}

#[divan::bench]
fn in_process_request_to_handler_128_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, AskingHandler::of(128));
}
