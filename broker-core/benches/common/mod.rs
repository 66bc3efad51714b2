//! Shared by the benchmarks and `examples/one_message.rs`, so that both measure the same.

#![allow(dead_code, reason = "no benchmark needs all of it")]

pub(crate) mod chunk;
pub(crate) mod codec;
pub(crate) mod in_process;
pub(crate) mod routes;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod timed;
pub(crate) mod traffic;

/// An operation whose cost is measured by repetition.
pub(crate) trait Scenario {
    /// Returns the number of turns after which the scenario repeats itself.
    fn turns_in_round(&self) -> usize;

    /// Runs one turn, about the input of one read. Returns the number of measured units: messages,
    /// or deliveries if each message has several.
    fn turn(&mut self) -> usize;

    /// Returns the expected and the actual number of deliveries of all turns: dropping everything
    /// would be fast.
    fn account(&self) -> (u64, u64);
}

/// Runs turns until queues have allocated their memory and caches are filled: of ten thousand
/// subjects a session caches a quarter of the rest in each round.
pub(crate) fn warm_up(scenario: &mut (impl Scenario + ?Sized)) {
    for _ in 0..(16 * scenario.turns_in_round()).min(160) {
        scenario.turn();
    }
}
