//! Stands in for what a test puts between a server and its sockets, in a build without the test kit: nothing.

use std::sync::Arc;

use crate::transport::Socket;

/// There are no gates.
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
