//! Records published messages.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Arc;

use broker_core::SubjectFilter;

use super::kit::Kit;
use super::tapped::{Recorded, Tapped};
use super::wait::Wait;

/// Number of messages in a table: the last ones.
const SHOWN: usize = 50;

/// Bytes of a payload in a table.
const SHOWN_BYTES: usize = 60;

/// Records messages published and accepted in all accounts: see
/// [`TestBroker::tap`](super::TestBroker::tap).
///
/// It is not a subscriber: a request that only a tap receives has no responders. A message affected
/// by a [fault](super::TestBroker::disturb) is recorded once, as published.
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

    /// Returns the recorded messages not taken yet.
    pub fn messages(&self) -> Vec<Tapped> {
        self.recorded.messages().iter().cloned().collect()
    }

    /// Returns their number.
    pub fn len(&self) -> usize {
        self.recorded.messages().len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all recorded messages.
    pub fn take(&self) -> Vec<Tapped> {
        self.recorded.messages().drain(..).collect()
    }

    /// Takes the next `count` messages as soon as they arrive.
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
    /// Panics when awaited, if the time is up, with a table of the received messages.
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

    /// Takes the next message as soon as it arrives.
    ///
    /// # Panics
    ///
    /// See [`Self::expect`].
    #[track_caller]
    pub fn next(&self) -> Wait<Tapped> {
        let (recorded, told) = (Arc::clone(&self.recorded), Arc::clone(&self.recorded));
        Wait::new(
            &self.kit,
            move |_| recorded.messages().pop_front(),
            move |_| format!("a message to {} was expected, none came", told.filter),
        )
    }

    /// Checks that all recorded messages were taken. To make sure that no more follow, wait until
    /// the broker [is idle](super::TestBroker::wait_idle).
    ///
    /// # Panics
    ///
    /// Panics with a table of the remaining messages, if there are any.
    #[track_caller]
    pub fn expect_nothing(&self) {
        let messages = self.recorded.messages();
        let filter = &self.recorded.filter;
        assert!(messages.is_empty(), "nothing to {filter} was expected, {}", table(&messages));
    }
}

/// Formats the received messages in columns.
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
    fn a_long_table_shows_the_last_messages_and_the_start_of_their_payloads() {
        let long = "ä".repeat(1_000);
        let messages = (0..1_000).map(|at| tapped(&format!("x.{at}"), None, &long)).collect();
        let shown = table(&messages);
        assert!(shown.starts_with("1000 came:\n  … 950 before these\n"), "{shown}");
        assert!(!shown.contains("x.949 ") && shown.contains("x.950 "), "{shown}");
        assert!(shown.contains("… (2000 bytes)") && shown.len() < 20_000, "{shown}");
    }
}
