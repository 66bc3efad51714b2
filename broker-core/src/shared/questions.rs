//! Counters of the questions that authenticators ask over the broker.

use std::time::Duration;

use super::Shared;
use crate::latency::{Histogram, Times};
use crate::limits::OPEN_QUESTIONS;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};

/// The questions of all authenticators of a broker.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: AtomicUsize,
    granted: AtomicU64,
    denied: AtomicU64,
    unanswered: AtomicU64,
    refused: AtomicU64,
    answer_times: Times,
}

/// The questions that authenticators have asked over the broker ([`Question`](crate::auth::Question)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct QuestionStats {
    /// Those that wait for an answer now.
    pub open: usize,
    /// Those whose answer granted the client.
    pub granted: u64,
    /// Those whose answer denied the client.
    pub denied: u64,
    /// Those that ended without an answer: it came too late or never, or the client left.
    pub unanswered: u64,
    /// Those that were not asked, because [`OPEN_QUESTIONS`] waited.
    pub refused: u64,
    /// The time from the question to the answer.
    pub answer_times: Histogram,
}

/// A question that waits. Dropping it counts it as unanswered.
pub(crate) struct OpenQuestion {
    shared: Arc<Questions>,
    is_answered: bool,
}

impl OpenQuestion {
    pub(crate) fn answered(mut self, is_granted: bool, took: Duration) {
        let Questions { granted, denied, answer_times, .. } = &*self.shared;
        let count = if is_granted { granted } else { denied };
        count.fetch_add(1, Ordering::Relaxed);
        answer_times.add(took);
        self.is_answered = true;
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.shared.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Counts one more question; `None` if too many wait.
    pub(crate) fn open_question(&self) -> Option<OpenQuestion> {
        let questions = &self.questions;
        if questions.open.fetch_add(1, Ordering::Relaxed) >= OPEN_QUESTIONS {
            questions.open.fetch_sub(1, Ordering::Relaxed);
            questions.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(OpenQuestion { shared: Arc::clone(questions), is_answered: false })
    }

    pub(crate) fn question_stats(&self) -> QuestionStats {
        let Questions { open, granted, denied, unanswered, refused, answer_times } =
            &*self.questions;
        QuestionStats {
            open: open.load(Ordering::Relaxed),
            granted: granted.load(Ordering::Relaxed),
            denied: denied.load(Ordering::Relaxed),
            unanswered: unanswered.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            answer_times: answer_times.histogram(),
        }
    }
}
