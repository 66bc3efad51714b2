//! Where options come from: defaults, file, environment, command line; the later wins.
//!
//! | what | where |
//! | --- | --- |
//! | the NATS configuration language | [`lang`] |

pub mod lang;
