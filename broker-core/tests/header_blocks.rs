//! Headers of clients: a service of another account trusts those of the server, and a trace goes only where it may.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "common/header_blocks.rs"]
mod header_blocks;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_spelling_of_a_header_deceives_a_service_or_a_trace(
        how in 0..16_u8,
        parts in proptest::collection::vec(prop_oneof![9 => 0..32_u8, 1 => any::<u8>()], 0..24),
    ) {
        header_blocks::play(&[&[how], &parts[..]].concat());
    }
}

/// A client may have its trace sent to the service that it asks.
#[test]
fn the_trace_of_a_request_may_go_to_the_service() {
    // Piece 11 is `Nats-Trace-Dest`, piece 4 a colon.
    for how in [0x80, 0x84, 0x88, 0x8c] {
        header_blocks::play(&[how, 0x0b, 0x04, b's', b'v', b'c']);
    }
}
