//! Monitoring over HTTP.
//!
//! | what | where |
//! | --- | --- |
//! | routing of paths | `routes` |
//! | responses in the reference's form | `answer` |
//! | authorization | `access` |
//! | bounded generation of responses | `response_pool` |
//! | the listener, and connections with timeouts | `server`, `patience` |
//! | request targets that the HTTP library refuses and Go accepts | `target` |

mod access;
mod answer;
mod patience;
mod response_pool;
mod routes;
mod server;
mod target;

pub use server::Monitor;
pub(crate) use server::MonitorSocket;
