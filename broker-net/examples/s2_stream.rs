//! Compresses or decompresses its input as servers do with the connections between them.
//!
//! ```text
//! cargo run --release -p broker-net --features compression --example s2_stream -- uncompressed|fast|better|best <IN >OUT
//! cargo run --release -p broker-net --features compression --example s2_stream -- decompress <IN >OUT
//! ```

use std::io::{self, Read, Write};

use broker_core::transport::CompressionLevel;
use broker_net::s2::{BATCH_BYTES, Decoder, Encoder, Fault, IDENTIFIER};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let output = match std::env::args().nth(1).as_deref() {
        Some("uncompressed") => compress(CompressionLevel::Uncompressed, &input),
        Some("fast") => compress(CompressionLevel::Fast, &input),
        Some("better") => compress(CompressionLevel::Better, &input),
        Some("best") => compress(CompressionLevel::Best, &input),
        Some("decompress") => decompress(&input)?,
        _ => return Err("the argument is no level, and not `decompress`".into()),
    };
    io::stdout().write_all(&output)?;
    Ok(())
}

fn compress(level: CompressionLevel, input: &[u8]) -> Vec<u8> {
    let mut stream = IDENTIFIER.to_vec();
    let mut encoder = Encoder::default();
    for block in input.chunks(BATCH_BYTES) {
        encoder.append(level, block, &mut stream);
    }
    stream
}

fn decompress(mut input: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut output = Vec::new();
    let mut decoder = Decoder::default();
    while !input.is_empty() {
        let next = decoder.next(input)?;
        input = &input[next.used..];
        let Some(block) = next.block else { break };
        let begin = output.len();
        output.resize(begin + block.decoded_len(), 0);
        block.decode(&mut output[begin..])?;
        input = &input[block.encoded_len()..];
    }
    // The stream must not end within a chunk.
    if input.is_empty() && !decoder.is_within_chunk() { Ok(output) } else { Err(Fault::Corrupt) }
}
