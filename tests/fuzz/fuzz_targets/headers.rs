//! Header blocks of a client, on their way to a service of another account and into traces.

#![no_main]

#[path = "../../../broker-core/tests/common/header_blocks.rs"]
mod header_blocks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| header_blocks::play(data));
