//! Routing: from a message and its matches to destinations.

mod audience;
mod deliver;
mod peers;
#[cfg(feature = "testing")]
mod watched;

pub(crate) use deliver::{deliver, end, flush_touched};
#[cfg(feature = "testing")]
pub(crate) use watched::deliver_held;
