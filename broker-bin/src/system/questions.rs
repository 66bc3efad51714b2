//! Questions to all servers of the cluster. Each has a number, by which the answers find it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::recipient::Recipient;

/// The number of questions that may be open at the same time.
const OPEN_QUESTIONS: usize = 256;

/// The time for which answers are passed on: that of clients that collect answers.
const RELAYED_FOR: Duration = Duration::from_secs(5);

/// The open questions of a server.
#[derive(Debug)]
pub(super) struct Questions {
    /// `$SYS._INBOX.<server>.`
    prefix: String,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Question>>,
}

#[derive(Debug)]
struct Question {
    task: Task,
    asked: Instant,
}

/// The use of the answers.
#[derive(Debug)]
pub(super) enum Task {
    /// Their numbers are added up, until so many servers have answered.
    Sum { total: usize, missing: usize, done: Option<oneshot::Sender<usize>> },
    /// They are passed on to the requester.
    Relay(Recipient),
}

impl Questions {
    pub(super) fn new() -> Self {
        let token = RandomState::new().hash_one(0_u8);
        Self {
            prefix: format!("$SYS._INBOX.{token:016x}."),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// Returns the part of the subject of answers that belongs to this server.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the number of the question that is answered on that subject.
    pub(super) fn number_of(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.prefix)?.parse().ok()
    }

    /// Opens a question. Returns the subject for the answers, unless too many questions are open.
    pub(super) fn open(&self, task: Task) -> Option<String> {
        let now = Instant::now();
        let mut open = self.questions();
        open.retain(|_, question| now.saturating_duration_since(question.asked) < RELAYED_FOR);
        if open.len() >= OPEN_QUESTIONS {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, Question { task, asked: now });
        Some(format!("{}{number}", self.prefix))
    }

    /// Takes the sum that a question has come to, because it has taken too long.
    pub(super) fn close(&self, subject: &str) -> Option<usize> {
        let question = self.questions().remove(&self.number_of(subject)?)?;
        match question.task {
            Task::Sum { total, .. } => Some(total),
            Task::Relay(_) => None,
        }
    }

    /// Takes an answer. Returns to whom it is to be passed on.
    pub(super) fn take(&self, number: u64, payload: &[u8]) -> Option<Recipient> {
        let mut open = self.questions();
        let question = open.get_mut(&number)?;
        match &mut question.task {
            Task::Relay(to) => return Some(to.clone()),
            Task::Sum { total, missing, done } => {
                let counted = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
                *total = total.saturating_add(counted.unwrap_or(0));
                *missing = missing.saturating_sub(1);
                if *missing > 0 {
                    return None;
                }
                if let Some(done) = done.take() {
                    let _ = done.send(*total);
                }
            }
        }
        open.remove(&number);
        None
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<u64, Question>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(missing: usize) -> (Task, oneshot::Receiver<usize>) {
        let (done, sum) = oneshot::channel();
        (Task::Sum { total: 1, missing, done: Some(done) }, sum)
    }

    #[test]
    fn answers_are_added_up_until_all_servers_have_answered() {
        let questions = Questions::new();
        let (task, mut answer) = sum(2);
        let subject = questions.open(task).unwrap();
        let number = questions.number_of(&subject).unwrap();
        assert!(questions.take(number, b"4").is_none());
        assert!(answer.try_recv().is_err());
        assert!(questions.take(number, b"nonsense").is_none());
        assert_eq!(answer.try_recv(), Ok(5));
        assert!(questions.take(number, b"9").is_none(), "too late");
        assert_eq!(questions.number_of("$SYS._INBOX.other.1"), None);
    }

    #[test]
    fn a_question_without_all_answers_is_closed_with_what_there_is() {
        let questions = Questions::new();
        let (task, _answer) = sum(3);
        let subject = questions.open(task).unwrap();
        questions.take(questions.number_of(&subject).unwrap(), b"2");
        assert_eq!(questions.close(&subject), Some(3));
        assert_eq!(questions.close(&subject), None);
    }

    #[test]
    fn there_are_so_many_open_questions_and_no_more() {
        let questions = Questions::new();
        for _ in 0..OPEN_QUESTIONS {
            assert!(questions.open(sum(1).0).is_some());
        }
        assert!(questions.open(sum(1).0).is_none());
    }
}
