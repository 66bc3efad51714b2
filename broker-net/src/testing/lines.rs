//! The last lines of the protocol, for failing tests.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Maximum length of a kept line.
const LINE_BYTES: usize = 512;

/// A bounded list of lines.
pub(super) struct Lines {
    most: usize,
    began: Instant,
    lines: Mutex<VecDeque<String>>,
}

impl Lines {
    pub(super) fn new(most: usize, began: Instant) -> Self {
        Self { most, began, lines: Mutex::default() }
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.most > 0
    }

    pub(super) fn push(&self, client: &str, line: fmt::Arguments<'_>) {
        if self.most == 0 {
            return;
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:>10.6} {client} {line}", self.began.elapsed().as_secs_f64());
        if text.len() > LINE_BYTES {
            let end = text.floor_char_boundary(LINE_BYTES);
            text.truncate(end);
            text.push('…');
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == self.most {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_truncated() {
        let lines = Lines::new(2, Instant::now());
        for word in ["one", "two", &"ä".repeat(10_000)] {
            lines.push("cid:1", format_args!("<<- [{word}]"));
        }
        let all = lines.all();
        assert_eq!(all.len(), 2);
        assert!(all[0].ends_with("cid:1 <<- [two]"), "{}", all[0]);
        assert!(all[1].ends_with('…') && all[1].len() <= LINE_BYTES + 3);
    }
}
