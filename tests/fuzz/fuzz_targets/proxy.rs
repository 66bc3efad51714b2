//! Arbitrary bytes in place of a PROXY protocol header.

#![no_main]

use broker_net::proxy::{Found, PEEK_BYTES, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    for end in 0..data.len().min(PEEK_BYTES) {
        let part = parse(&data[..end]);
        assert!(part == Ok(None) || part == whole, "more bytes unsay {part:?}");
    }
    if data.len() >= PEEK_BYTES {
        assert_ne!(whole, Ok(None), "so many bytes are enough");
    }
    match whole {
        Ok(Some(Found::Header { used, source })) => {
            let is_text = data.starts_with(b"PROXY ");
            assert!(if is_text { used <= data.len() } else { used <= 16 + 0xffff });
            assert!(source.is_none() || used >= 16);
        }
        Ok(_) => {}
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
});
