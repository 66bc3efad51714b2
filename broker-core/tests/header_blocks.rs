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
