//! Routing: from a message and its matches to destinations.

mod deliver;

pub(crate) use deliver::*;
