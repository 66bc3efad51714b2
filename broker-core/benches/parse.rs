//! The cost of parsing.

mod common;

use common::chunk::{publish, publish_with_headers, repeated};
use common::codec::Parsing;
use common::timed::run;
use divan::Bencher;

fn main() {
    divan::main();
}

fn parse(bencher: Bencher<'_, '_>, operation: &[u8]) {
    run(bencher, Parsing::of(repeated(operation)));
}

#[divan::bench]
fn parse_pub_16_bytes(bencher: Bencher<'_, '_>) {
    parse(bencher, &publish("bench.subject", "", 16));
}

#[divan::bench]
fn parse_pub_with_reply(bencher: Bencher<'_, '_>) {
    parse(bencher, &publish("bench.subject", "_INBOX.Tf8sk2QwYz0Lr5VbNc1mXa.4711", 128));
}

#[divan::bench]
fn parse_pub_with_headers(bencher: Bencher<'_, '_>) {
    parse(bencher, &publish_with_headers("bench.subject", 128));
}

/// A spelling that no client library uses, but the protocol allows.
#[divan::bench]
fn parse_pub_with_tabs_and_two_blanks(bencher: Bencher<'_, '_>) {
    parse(bencher, b"pub\tbench.subject  16\r\n0123456789abcdef\r\n");
}

#[divan::bench]
fn parse_sub(bencher: Bencher<'_, '_>) {
    parse(bencher, b"SUB orders.*.new workers 4711\r\n");
}

#[divan::bench]
fn parse_ping(bencher: Bencher<'_, '_>) {
    parse(bencher, b"PING\r\n");
}
