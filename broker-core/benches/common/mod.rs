//! What the benchmarks and `examples/one_message.rs` have in common, so that both measure the same.

#![allow(dead_code, reason = "no benchmark needs all of it")]

pub(crate) mod chunk;
pub(crate) mod codec;
pub(crate) mod in_process;
pub(crate) mod sessions;
pub(crate) mod timed;
pub(crate) mod traffic;

/// Something that is done again and again while its cost is measured.
pub(crate) trait Scenario {
    /// How many turns make a round, after which everything repeats itself.
    fn turns_in_round(&self) -> usize;

    /// About one read's worth. Returns of how many things the cost is asked: messages, or deliveries
    /// where each message makes several.
    fn turn(&mut self) -> usize;

    /// What should have come of all turns together, and what has: dropping everything is fast.
    fn account(&self) -> (u64, u64);
}

/// Turns until queues have the memory they need and caches know what they can: of ten thousand subjects
/// a session remembers a quarter of the rest in each round.
pub(crate) fn warm_up(scenario: &mut (impl Scenario + ?Sized)) {
    for _ in 0..(16 * scenario.turns_in_round()).min(160) {
        scenario.turn();
    }
}
