//! What was published, written down.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Arc;

use broker_core::SubjectFilter;

use super::kit::Kit;
use super::tapped::{Recorded, Tapped};
use super::wait::Wait;

/// How many a table shows: the last ones.
const SHOWN: usize = 50;

/// How much of a payload a table shows.
const SHOWN_BYTES: usize = 60;

/// Writes down what is published and accepted, by anybody and in any account: see
/// [`TestBroker::tap`](super::TestBroker::tap).
///
/// It is no subscriber: a request that only a tap has seen has no responders. A message that a
/// [fault](super::TestBroker::disturb) befalls is written down as it was published, once.
#[derive(Clone)]
pub struct Tap {
    pub(super) kit: Arc<Kit>,
    pub(super) recorded: Arc<Recorded>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("filter", &self.recorded.filter)
            .field("messages", &self.len())
            .finish()
    }
}

impl Tap {
    pub(super) fn new(kit: Arc<Kit>, filter: SubjectFilter) -> Self {
        let recorded = Arc::new(Recorded::new(filter));
        kit.watcher.add_tap(&recorded);
        Self { kit, recorded }
    }

    /// What was written down and not taken yet.
    pub fn messages(&self) -> Vec<Tapped> {
        self.recorded.messages().iter().cloned().collect()
    }

    /// How many that are.
    pub fn len(&self) -> usize {
        self.recorded.messages().len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all that was written down.
    pub fn take(&self) -> Vec<Tapped> {
        self.recorded.messages().drain(..).collect()
    }

    /// Takes the next `count` messages, as soon as they are there.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use broker_net::testing::TestBroker;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let broker = TestBroker::start().await;
    /// let tap = broker.tap("orders.>");
    /// broker.client().publish("orders.eu", "one".into()).await.unwrap();
    ///
    /// let orders = tap.expect(1).within(Duration::from_secs(1)).await;
    /// assert_eq!(orders[0].payload, "one");
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When it is awaited, if they are not there in time: with a table of what is.
    #[track_caller]
    pub fn expect(&self, count: usize) -> Wait<Vec<Tapped>> {
        let (recorded, told) = (Arc::clone(&self.recorded), Arc::clone(&self.recorded));
        Wait::new(
            &self.kit,
            move |_| {
                let mut messages = recorded.messages();
                (messages.len() >= count).then(|| messages.drain(..count).collect())
            },
            move |_| {
                let messages = told.messages();
                format!("{count} messages to {} were expected, {}", told.filter, table(&messages))
            },
        )
    }

    /// Takes the next message, as soon as it is there.
    ///
    /// # Panics
    ///
    /// As [`Self::expect`].
    #[track_caller]
    pub fn next(&self) -> Wait<Tapped> {
        let (recorded, told) = (Arc::clone(&self.recorded), Arc::clone(&self.recorded));
        Wait::new(
            &self.kit,
            move |_| recorded.messages().pop_front(),
            move |_| format!("a message to {} was expected, none came", told.filter),
        )
    }

    /// Says that nothing more has been written down than was taken. To know that nothing will be, wait
    /// until the broker [is idle](super::TestBroker::wait_idle).
    ///
    /// # Panics
    ///
    /// If something has: with a table of it.
    #[track_caller]
    pub fn expect_nothing(&self) {
        let messages = self.recorded.messages();
        let filter = &self.recorded.filter;
        assert!(messages.is_empty(), "nothing to {filter} was expected, {}", table(&messages));
    }
}

/// What came, in columns.
fn table(messages: &VecDeque<Tapped>) -> String {
    if messages.is_empty() {
        return "none came".to_owned();
    }
    let mut text = format!("{} came:", messages.len());
    let skipped = messages.len().saturating_sub(SHOWN);
    if skipped > 0 {
        let _ = write!(text, "\n  … {skipped} before these");
    }
    let rows: Vec<[String; 6]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(messages.iter().enumerate().skip(skipped).map(|(at, message)| row(at, message)))
        .collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        text.push('\n');
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "  {cell:<width$}");
        }
        text.push_str(line.trim_end());
    }
    text
}

const HEAD: [&str; 6] = ["", "after", "from", "subject", "reply", "payload"];

fn row(at: usize, message: &Tapped) -> [String; 6] {
    let Tapped { subject, reply, headers, payload, from, at: after, .. } = message;
    let mut shown = String::new();
    if let Some(headers) = headers {
        let _ = write!(shown, "{headers:?} ");
    }
    let start = payload.get(..SHOWN_BYTES).unwrap_or(payload);
    let dots = if start.len() < payload.len() { "…" } else { "" };
    let _ = write!(shown, "{:?}{dots} ({} bytes)", String::from_utf8_lossy(start), payload.len());
    [
        format!("{}", at + 1),
        format!("{:.3} s", after.as_secs_f64()),
        format!("cid {from}"),
        subject.to_string(),
        reply.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        shown,
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use broker_core::Subject;

    use super::*;

    fn tapped(subject: &str, reply: Option<&str>, payload: &str) -> Tapped {
        Tapped {
            subject: Subject::parse(subject).unwrap(),
            reply: reply.map(|reply| Subject::parse(reply).unwrap()),
            headers: None,
            payload: payload.to_owned().into(),
            account: "$G".into(),
            from: 5,
            at: Duration::from_millis(1234),
        }
    }

    #[test]
    fn a_table_has_columns() {
        let messages = [tapped("orders.eu", None, "one"), tapped("x", Some("_INBOX.1"), "")];
        let lines = [
            "2 came:",
            "     after    from   subject    reply     payload",
            "  1  1.234 s  cid 5  orders.eu  -         \"one\" (3 bytes)",
            "  2  1.234 s  cid 5  x          _INBOX.1  \"\" (0 bytes)",
        ];
        assert_eq!(table(&messages.into()), lines.join("\n"));
    }

    #[test]
    fn a_table_of_many_shows_the_last_and_their_beginnings() {
        let long = "ä".repeat(1_000);
        let messages = (0..1_000).map(|at| tapped(&format!("x.{at}"), None, &long)).collect();
        let shown = table(&messages);
        assert!(shown.starts_with("1000 came:\n  … 950 before these\n"), "{shown}");
        assert!(!shown.contains("x.949 ") && shown.contains("x.950 "), "{shown}");
        assert!(shown.contains("… (2000 bytes)") && shown.len() < 20_000, "{shown}");
    }
}
