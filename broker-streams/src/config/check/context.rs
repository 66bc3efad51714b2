//! Limits and streams that configurations of streams are checked against.

use std::sync::Arc;

use super::{invalid, refuse_if};
use crate::config::StreamConfig;
use crate::config::limits::{AccountLimits, ServerLimits};
use crate::error::ApiError;

/// The limits and streams that a configuration of a stream is checked against.
#[derive(Clone, Copy)]
pub struct StreamCheck<'a> {
    /// The limits of the server.
    pub server: &'a ServerLimits,
    /// The limits of the account.
    pub account: &'a AccountLimits,
    /// Returns the configuration of another stream of the account.
    pub stream: &'a dyn Fn(&str) -> Option<Arc<StreamConfig>>,
    /// Values that would be corrected are errors.
    pub pedantic: bool,
}

impl StreamCheck<'_> {
    /// Refuses a correction if the request is pedantic.
    pub(super) fn correct(&self, text: &str) -> Result<(), ApiError> {
        refuse_if(self.pedantic, || ApiError::pedantic(text))
    }

    /// Refuses a change of another setting if the request is pedantic.
    pub(super) fn imply(&self, text: &str) -> Result<(), ApiError> {
        refuse_if(self.pedantic, || invalid(text))
    }
}
