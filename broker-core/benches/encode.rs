//! The cost of encoding output.

mod common;

use common::chunk::HEADERS;
use common::codec::Encoding;
use common::timed::run;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn encode_msg_16_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, Encoding::of("", "", 16));
}

#[divan::bench]
fn encode_msg_with_reply(bencher: Bencher<'_, '_>) {
    run(bencher, Encoding::of("_INBOX.Tf8sk2QwYz0Lr5VbNc1mXa.4711", "", 128));
}

#[divan::bench]
fn encode_msg_with_headers(bencher: Bencher<'_, '_>) {
    run(bencher, Encoding::of("", HEADERS, 128));
}
