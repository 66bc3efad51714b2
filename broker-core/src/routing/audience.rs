//! The part of an account's interest that a message is meant for.

/// The part of an account's interest that a message is meant for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Audience<'a> {
    /// Plain subscriptions and queue groups.
    All,
    /// Queue groups of these names only. A server that sends a message names the groups for which it has
    /// picked this server.
    Queues {
        /// Plain subscriptions too.
        plain: bool,
        names: &'a [&'a [u8]],
    },
}

impl Audience<'_> {
    pub(crate) fn has_plain(self) -> bool {
        match self {
            Self::All => true,
            Self::Queues { plain, .. } => plain,
        }
    }

    pub(crate) fn has_queue(self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Queues { names, .. } => names.contains(&name),
        }
    }
}
