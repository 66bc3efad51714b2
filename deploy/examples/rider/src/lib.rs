//! Rides in a city: an API takes orders over HTTP, a manager finds a driver by asking all of them, and anybody can ask all
//! components for their status. Each component is a program of its own; they know subjects, not each other, so that any of them
//! may be started several times, and connect to any server of a cluster.
//!
//! ```text
//!  POST /rides     drivers.find                drivers.rides
//!  ───────────▶ api ───────────▶ manager (any) ─────────────▶ agent, agent, agent …
//!                                   of a queue group            the first answer wins
//!
//!  _NATS_RIDER.discovery, _NATS_RIDER.<id>.status: answered by each of them
//! ```

mod agent;
pub mod api;
mod component;
mod manager;

pub use agent::Agent;
pub use component::{Component, Report, Status, components};
pub use manager::Manager;

/// The result of what a component does with NATS.
pub type Result<T> = std::result::Result<T, async_nats::Error>;
