//! The queue of messages to send.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;

/// Some seconds of a busy log; with [`MAX_BYTES`] it bounds the memory that an unreachable syslog
/// takes.
pub(super) const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Minimum interval between two reports of lost messages.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// One message.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) severity: u8,
    pub(super) time: Zoned,
    pub(super) text: String,
}

/// The queue between logging threads and the sending thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signals that a line waits or that the queue was closed.
    changed: Condvar,
    /// Signals that no line waits.
    empty: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines dropped because the queue was full, not yet reported.
    lost: u64,
    told: Option<Instant>,
    /// The sender has taken a line and not sent it yet.
    in_hand: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, line: Line) {
        let mut state = self.lock();
        if state.lines.len() >= MAX_LINES || state.bytes + line.text.len() > MAX_BYTES {
            state.lost += 1;
            return;
        }
        state.bytes += line.text.len();
        state.lines.push_back(line);
        self.changed.notify_one();
    }

    /// Waits for a line; returns `None` when the queue is closed and empty. [`sent`](Self::sent)
    /// must follow.
    pub(super) fn next(&self) -> Option<Line> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.text.len();
                state.in_hand = true;
                return Some(line);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Marks the taken line as sent. Returns the number of lost lines if a report is due.
    pub(super) fn sent(&self) -> Option<u64> {
        let mut state = self.lock();
        state.in_hand = false;
        self.tell_if_empty(&state);
        let due = state.told.is_none_or(|told| told.elapsed() >= LOSS_INTERVAL);
        if state.lost == 0 || !(due || state.lines.is_empty()) {
            return None;
        }
        state.told = Some(Instant::now());
        Some(std::mem::take(&mut state.lost))
    }

    /// Adds to the number of lost lines.
    pub(super) fn lose(&self, lines: u64) {
        self.lock().lost += lines;
    }

    /// Discards the remaining lines.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        state.lines.clear();
        state.in_hand = false;
        self.tell_if_empty(&state);
    }

    /// Closes the queue to new lines.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for the end of the sender, up to `time`; returns true if it has ended.
    pub(super) fn closed_within(&self, time: Duration) -> bool {
        let wait = self.changed.wait_timeout_while(self.lock(), time, |state| !state.closed);
        wait.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    pub(super) fn wait_until_empty(&self, patience: Duration) {
        let busy = |state: &mut State| state.in_hand || !state.lines.is_empty();
        drop(self.empty.wait_timeout_while(self.lock(), patience, busy));
    }

    fn tell_if_empty(&self, state: &State) {
        if state.lines.is_empty() {
            self.empty.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { severity: 5, time: crate::time_zone::now(), text: text.to_owned() }
    }

    #[test]
    fn excess_lines_are_dropped_and_counted() {
        let queue = Queue::default();
        for n in 0..MAX_LINES + 3 {
            queue.push(line(&n.to_string()));
        }
        assert_eq!(queue.next().unwrap().text, "0");
        assert_eq!(queue.sent(), Some(3));
        // All lines that fitted are present, in order.
        for n in 1..MAX_LINES {
            assert_eq!(queue.next().unwrap().text, n.to_string());
            assert_eq!(queue.sent(), None);
        }
    }

    #[test]
    fn long_lines_fill_it_sooner() {
        let queue = Queue::default();
        for _ in 0..5 {
            queue.push(line(&"x".repeat(MAX_BYTES / 4)));
        }
        queue.next().unwrap();
        assert_eq!(queue.sent(), Some(1));
    }

    #[test]
    fn continuing_losses_are_reported_at_intervals() {
        let queue = Queue::default();
        for _ in 0..MAX_LINES {
            queue.push(line("x"));
        }
        let mut told = 0;
        for _ in 0..100 {
            queue.push(line("one too many"));
            queue.next().unwrap();
            queue.push(line("fits"));
            told += u64::from(queue.sent().is_some());
        }
        assert_eq!(told, 1);
    }

    #[test]
    fn waiting_lines_are_returned_after_the_close() {
        let queue = Queue::default();
        queue.push(line("last"));
        queue.close();
        assert_eq!(queue.next().unwrap().text, "last");
        assert_eq!(queue.sent(), None);
        assert!(queue.next().is_none());
    }
}
