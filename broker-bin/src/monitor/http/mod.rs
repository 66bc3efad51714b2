//! Monitoring over HTTP.
//!
//! | what | where |
//! | --- | --- |
//! | which path shows what | `routes` |
//! | answers as the reference sends them | `answer` |
//! | who may look | `access` |
//! | making answers a few at a time, and what they may take | `kitchen` |
//! | the socket, and connections that do not last | `server`, `patience` |

mod access;
mod answer;
mod kitchen;
mod patience;
mod routes;
mod server;

pub use server::Monitor;
