//! natsd on tokio.
