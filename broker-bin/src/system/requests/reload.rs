//! Requests to reload the configuration, which the owner of the configuration answers.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::recipient::Recipient;
use super::answers;
use crate::system::sender::Sender;

/// The requests to reload the configuration, in their order. There is one at a time: further ones are refused.
#[derive(Debug)]
pub struct ReloadRequests(mpsc::Receiver<ReloadRequest>);

impl ReloadRequests {
    /// Returns the requests, and what takes them.
    pub(in crate::system) fn new() -> (mpsc::Sender<ReloadRequest>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }

    /// Waits for the next request; `None` once the system account has ended.
    ///
    /// # Cancel safety
    ///
    /// No request is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<ReloadRequest> {
        self.0.recv().await
    }
}

/// A request to reload the configuration.
#[derive(Debug)]
pub struct ReloadRequest {
    sender: Arc<Sender>,
    to: Recipient,
}

impl ReloadRequest {
    /// Tells the requester the outcome.
    pub fn finish(self, result: Result<(), String>) {
        let answer = answers::reloaded(&self.sender, result);
        self.to.send(&self.sender, answer);
    }
}

/// Passes a request on.
pub(super) fn ask(
    sender: &Arc<Sender>,
    to: Recipient,
    reloads: Option<&mpsc::Sender<ReloadRequest>>,
) {
    use mpsc::error::TrySendError;
    let request = ReloadRequest { sender: Arc::clone(sender), to };
    let Some(reloads) = reloads else {
        return request.finish(Err("this server has no configuration to reload".to_owned()));
    };
    match reloads.try_send(request) {
        Ok(()) => {}
        Err(TrySendError::Full(request)) => {
            request.finish(Err("the configuration is being reloaded".to_owned()));
        }
        Err(TrySendError::Closed(request)) => {
            request.finish(Err("the server ends".to_owned()));
        }
    }
}
