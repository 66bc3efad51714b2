//! Sends the log as syslog messages (RFC 3164, as Go's `log/syslog` formats them) to the local or a
//! remote syslog. A dedicated thread sends them, so that a slow or dead syslog blocks no caller.

mod address;
mod connection;
mod queue;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::record::Label;
use crate::time_zone;
pub(super) use address::Address;
use connection::Connection;
use queue::{Line, Queue};

/// Delay after a failed attempt to connect, doubled each time.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// Longer messages are truncated: rsyslog's default limit, and datagrams need one.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// A syslog that was reachable when it was opened.
#[derive(Debug)]
pub(super) struct Syslog {
    queue: Arc<Queue>,
}

impl Syslog {
    /// Connects, which may take seconds. `complain` reports what cannot be sent to an unreachable
    /// syslog; `tag` names the program.
    pub(super) fn open(
        address: Address,
        tag: &str,
        complain: impl Fn(String) + Send + 'static,
    ) -> io::Result<Self> {
        let courier = Courier {
            connection: Some(Connection::open(&address)?),
            local: address.is_local(),
            // NATS 2.14: logger/syslog.go. Local messages use the facility of daemons; remote ones
            // name none, which makes it 0.
            facility: if matches!(address, Address::Local) { 3 << 3 } else { 0 },
            host: host_name(),
            tag: tag.to_owned(),
            address,
        };
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("syslog".into())
            .spawn(move || courier.run(&theirs, complain))?;
        Ok(Self { queue })
    }

    /// Queues a message. If the queue is full, the message is dropped and counted.
    pub(super) fn write(&self, label: Label, mut text: String) {
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - "...".len()));
            text.push_str("...");
        }
        self.queue.push(Line { severity: severity(label), time: time_zone::now(), text });
    }

    /// Waits until all messages are sent, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        self.queue.wait_until_empty(patience);
    }
}

impl Drop for Syslog {
    /// Waiting messages are still sent if the syslog takes them.
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The sending thread.
struct Courier {
    connection: Option<Connection>,
    address: Address,
    local: bool,
    facility: u8,
    host: String,
    tag: String,
}

impl Courier {
    fn run(mut self, queue: &Queue, complain: impl Fn(String)) {
        while let Some(line) = queue.next() {
            let mut back_off = BACK_OFF_MIN;
            while let Err(error) = self.send(&line) {
                if back_off == BACK_OFF_MIN {
                    complain(format!(
                        "The syslog is out of reach ({error}); up to {} lines wait for it",
                        queue::MAX_LINES
                    ));
                }
                if queue.closed_within(back_off) {
                    return queue.give_up();
                }
                back_off = (back_off * 2).min(BACK_OFF_MAX);
            }
            if let Some(lost) = queue.sent() {
                let text = format!(
                    "{lost} lines of the log were lost: they came faster than syslog took them"
                );
                // If this message is lost too, the next count is higher.
                let line = Line { severity: severity(Label::Warn), time: time_zone::now(), text };
                if self.send(&line).is_err() {
                    queue.lose(lost);
                }
            }
        }
    }

    /// Sends on the current connection, or on a new one.
    fn send(&mut self, line: &Line) -> io::Result<()> {
        let packet = self.packet(line);
        if let Some(connection) = &mut self.connection
            && connection.write(packet.as_bytes()).is_ok()
        {
            return Ok(());
        }
        self.connection = None;
        let mut connection = Connection::open(&self.address)?;
        connection.write(packet.as_bytes())?;
        self.connection = Some(connection);
        Ok(())
    }

    fn packet(&self, line: &Line) -> String {
        let Self { facility, host, tag, .. } = self;
        let Line { severity, time, text } = line;
        let priority = facility | severity;
        let pid = std::process::id();
        if self.local {
            let stamp = time.strftime("%b %e %H:%M:%S");
            format!("<{priority}>{stamp} {tag}[{pid}]: {text}\n")
        } else {
            // Go writes `Z` if the offset is zero.
            let utc = time.offset().is_zero();
            let stamp = time.strftime(if utc { "%Y-%m-%dT%TZ" } else { "%Y-%m-%dT%T%:z" });
            format!("<{priority}>{stamp} {host} {tag}[{pid}]: {text}\n")
        }
    }
}

// NATS 2.14: logger/syslog.go maps both info and trace to notice.
fn severity(label: Label) -> u8 {
    match label {
        Label::Fatal => 2,
        Label::Error => 3,
        Label::Warn => 4,
        Label::Info | Label::Trace => 5,
        Label::Debug => 7,
    }
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests;
