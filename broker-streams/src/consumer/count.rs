//! The number of messages that were not delivered.

/// The number of selected messages that were not delivered yet.
///
/// It is counted by the store once; afterwards each stored, delivered and removed message changes it.
#[derive(Debug, Default)]
pub(super) struct Count {
    messages: u64,
    /// The last sequence that was counted.
    through: u64,
}

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.messages
    }

    /// Takes a number that includes all messages up to `through`.
    pub(super) fn reset(&mut self, messages: u64, through: u64) {
        (self.messages, self.through) = (messages, through);
    }

    /// Counts a stored message, unless it was counted.
    pub(super) fn appended(&mut self, sequence: u64) {
        if sequence > self.through {
            self.messages += 1;
            self.through = sequence;
        }
    }

    pub(super) fn delivered(&mut self) {
        self.messages = self.messages.saturating_sub(1);
    }

    /// Counts a removed message that was not delivered, unless it was not counted.
    pub(super) fn removed(&mut self, sequence: u64) {
        if sequence <= self.through {
            self.messages = self.messages.saturating_sub(1);
        }
    }
}
