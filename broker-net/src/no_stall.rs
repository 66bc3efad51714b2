//! Stands in for the gates of the test kit in a build without it.

use std::sync::Arc;

use crate::transport::Socket;

/// An empty set of gates.
#[derive(Debug, Default)]
pub(crate) struct StallGates;

impl StallGates {
    pub(crate) fn refuse_one(&self) -> bool {
        false
    }

    pub(crate) fn put_before(&self, socket: Arc<Socket>) -> Arc<Socket> {
        socket
    }
}
