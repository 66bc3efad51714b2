//! Routing: from a message and its matches to destinations.

mod deliver;
#[cfg(feature = "testing")]
mod watched;

pub(crate) use deliver::{deliver, end, flush_touched};
#[cfg(feature = "testing")]
pub(crate) use watched::deliver_held;
