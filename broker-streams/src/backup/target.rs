//! The target of a restored backup.

use crate::config::StreamConfig;
use crate::config::limits::{ServerLimits, TierLimits};

/// The destination of a restored backup.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name of the account, for errors.
    pub account: &'a str,
    /// The configuration of the stream, which was checked. That of the backup may differ in all but the name.
    pub config: &'a StreamConfig,
    /// The limits of the server, for its consumers.
    pub server: &'a ServerLimits,
    /// The limits of the account, for its consumers.
    pub tier: &'a TierLimits,
}
