//! One line of the log.

use std::fmt::Write as _;

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Date and time stand before the label.
    pub time: bool,
    /// They are UTC, not local.
    pub utc: bool,
    /// The label is coloured, for a terminal.
    pub colors: bool,
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// The program ends for this.
    Fatal,
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What helps to find a fault.
    Debug,
    /// The raw protocol.
    Trace,
}

impl Label {
    /// The three letters, and the terminal's colour for them.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Fatal => ("FTL", "31"),
            Self::Error => ("ERR", "31"),
            Self::Warn => ("WRN", "0;93"),
            Self::Info => ("INF", "32"),
            Self::Debug => ("DBG", "36"),
            Self::Trace => ("TRC", "33"),
        }
    }
}

impl Style {
    /// A whole line, with its end.
    pub fn line(&self, label: Label, text: &str) -> String {
        let now = self.time.then(|| {
            if self.utc { Timestamp::now().to_zoned(TimeZone::UTC) } else { Zoned::now() }
        });
        self.line_at(now.as_ref(), label, text)
    }

    pub(super) fn line_at(&self, now: Option<&Zoned>, label: Label, text: &str) -> String {
        let mut line = String::with_capacity(64 + text.len());
        let _ = write!(line, "[{}] ", std::process::id());
        if let Some(now) = now {
            let _ = write!(line, "{} ", now.strftime("%Y/%m/%d %H:%M:%S.%6f"));
        }
        let (letters, color) = label.parts();
        let _ = if self.colors {
            write!(line, "[\x1b[{color}m{letters}\x1b[0m] ")
        } else {
            write!(line, "[{letters}] ")
        };
        push_printable(&mut line, text);
        line.push('\n');
        line
    }
}

/// A client chooses part of what is logged (its name, its subjects, its payloads), and must not be able
/// to forge a line of ours or to talk to the operator's terminal.
fn push_printable(line: &mut String, text: &str) {
    for char in text.chars() {
        if char.is_control() && char != '\t' {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
}
