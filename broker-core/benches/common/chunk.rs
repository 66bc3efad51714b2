//! Input of clients, split as a connection reads it.

/// Bytes per read under load, as in broker-net.
const READ_BYTES: usize = 64 << 10;

/// The input of one read: complete operations.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) operations: usize,
}

/// Returns one full read of a repeated operation.
pub(crate) fn repeated(operation: &[u8]) -> Vec<Chunk> {
    full(std::iter::repeat_n(operation, (READ_BYTES / operation.len()).max(1)))
}

/// Returns full reads of these operations in sequence.
pub(crate) fn full(operations: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Chunk> {
    at_most(usize::MAX, operations)
}

/// Returns reads of at most `count` operations each.
pub(crate) fn at_most(
    most: usize,
    operations: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for operation in operations {
        let operation = operation.as_ref();
        match chunks.last_mut() {
            Some(last)
                if last.operations < most && last.bytes.len() + operation.len() <= READ_BYTES =>
            {
                last.bytes.extend_from_slice(operation);
                last.operations += 1;
            }
            _ => chunks.push(Chunk { bytes: operation.to_vec(), operations: 1 }),
        }
    }
    chunks
}

/// Returns a `PUB` with a payload of this size.
pub(crate) fn publish(subject: &str, reply: &str, payload_bytes: usize) -> Vec<u8> {
    let blank = if reply.is_empty() { "" } else { " " };
    let payload = "x".repeat(payload_bytes);
    format!("PUB {subject} {reply}{blank}{payload_bytes}\r\n{payload}\r\n").into_bytes()
}

/// A header block as in a traced request.
pub(crate) const HEADERS: &str =
    "NATS/1.0\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

/// Returns an `HPUB` with [`HEADERS`] and a payload of this size.
pub(crate) fn publish_with_headers(subject: &str, payload_bytes: usize) -> Vec<u8> {
    let payload = "x".repeat(payload_bytes);
    let headers = HEADERS.len();
    let total = headers + payload_bytes;
    format!("HPUB {subject} {headers} {total}\r\n{HEADERS}{payload}\r\n").into_bytes()
}

/// Returns reproducible pseudo-random numbers below `below` (SplitMix64).
pub(crate) fn at_random(below: usize) -> impl Iterator<Item = usize> {
    let mut state = 0u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    })
}
