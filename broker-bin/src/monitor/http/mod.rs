//! Monitoring over HTTP.
//!
//! | what | where |
//! | --- | --- |
//! | which path shows what | `routes` |
//! | answers as the reference sends them | `answer` |
//! | who may look | `access` |
//! | making answers a few at a time, and what they may take | `response_pool` |
//! | the socket, and connections that do not last | `server`, `patience` |
//! | targets that the HTTP library refuses and Go does not | `target` |

mod access;
mod answer;
mod patience;
mod response_pool;
mod routes;
mod server;
mod target;

pub use server::Monitor;
pub(crate) use server::MonitorSocket;
