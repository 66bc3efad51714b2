//! Clusters: servers that are connected in memory, by real sessions and bytes, with a clock of the test.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod accounts;
mod basics;
mod growth;
mod jetstream;
mod mesh;
mod network;
mod simulation;
