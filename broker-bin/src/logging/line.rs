//! Formatting of log lines.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::record::{Label, Record};
use crate::options::LogFormat;
use crate::time_zone;

/// The form of log lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Prints date and time before the label.
    pub(super) time: bool,
    /// Prints UTC instead of local time.
    pub(super) utc: bool,
    /// Colours the label for a terminal.
    pub(super) colors: bool,
    pub(super) format: LogFormat,
}

impl Label {
    /// The three letters and their terminal colour.
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

    /// The level's name for log collectors.
    fn level(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Style {
    /// Formats a whole line with its line end.
    pub(super) fn line(&self, record: &Record) -> String {
        let now = self.time.then(|| {
            let utc = self.utc || self.format == LogFormat::Json;
            if utc { Timestamp::now().to_zoned(TimeZone::UTC) } else { time_zone::now() }
        });
        let mut line = self.line_at(now.as_ref(), record);
        line.push('\n');
        line
    }

    /// Formats a line for a log that records process, time and level by itself.
    pub(super) fn bare(&self, record: &Record) -> String {
        match self.format {
            LogFormat::Text => text(record),
            LogFormat::Json => self.line_at(None, record),
        }
    }

    /// Formats a line without its line end.
    pub(super) fn line_at(&self, now: Option<&Zoned>, record: &Record) -> String {
        if self.format == LogFormat::Json {
            return json(now, record);
        }
        let text = text(record);
        let mut line = String::with_capacity(64 + text.len());
        let _ = write!(line, "[{}] ", std::process::id());
        if let Some(now) = now {
            let _ = write!(line, "{} ", now.strftime("%Y/%m/%d %H:%M:%S.%6f"));
        }
        let (letters, color) = record.label.parts();
        let _ = if self.colors {
            write!(line, "[\x1b[{color}m{letters}\x1b[0m] ")
        } else {
            write!(line, "[{letters}] ")
        };
        line + &text
    }
}

/// Returns the message and fields as one printable line.
fn text(record: &Record) -> String {
    let Record { client, message, fields, .. } = record;
    let mut text = String::with_capacity(message.len() + 64);
    if let Some(client) = client {
        push_printable(&mut text, client);
        text.push_str(" - ");
    }
    push_printable(&mut text, message);
    for (name, value) in fields {
        let _ = write!(text, " {name}=");
        match value {
            Value::String(value) => push_printable(&mut text, value),
            value => push_printable(&mut text, &value.to_string()),
        }
    }
    text
}

/// Escapes control characters: clients choose part of what is logged (names, subjects, payloads)
/// and must not be able to forge a line or to control the operator's terminal.
fn push_printable(line: &mut String, text: &str) {
    for char in text.chars() {
        if char.is_control() && char != '\t' {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
}

/// Formats one JSON object with its keys in reading order.
fn json(now: Option<&Zoned>, record: &Record) -> String {
    let Record { label, client, message, fields } = record;
    let mut line = String::with_capacity(message.len() + 128);
    line.push('{');
    if let Some(now) = now {
        let _ = write!(line, "\"time\":\"{}\",", now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"));
    }
    let _ = write!(line, "\"level\":\"{}\",\"pid\":{}", label.level(), std::process::id());
    if let Some(client) = client {
        push_pair(&mut line, "client", &client.as_str().into());
    }
    push_pair(&mut line, "message", &message.as_str().into());
    for (name, value) in fields {
        match *name {
            // A field of a dependency: no key may occur twice in one object.
            "time" | "level" | "pid" => push_pair(&mut line, &format!("{name}_"), value),
            name => push_pair(&mut line, name, value),
        }
    }
    line.push('}');
    line
}

fn push_pair(line: &mut String, name: &str, value: &Value) {
    let _ = write!(line, ",{}:", Value::from(name));
    // JSON allows some control characters that a terminal would act on.
    for char in value.to_string().chars() {
        if char.is_control() {
            let _ = write!(line, "\\u{:04x}", u32::from(char));
        } else {
            line.push(char);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Style = Style { time: true, utc: true, colors: false, format: LogFormat::Text };
    const JSON: Style = Style { format: LogFormat::Json, ..TEXT };

    fn moment() -> Zoned {
        let moment: Timestamp = "2026-11-20T23:19:05.000626Z".parse().unwrap();
        moment.to_zoned(TimeZone::UTC)
    }

    fn record(label: Label, message: &str) -> Record {
        Record::new(label, message.to_owned())
    }

    #[test]
    fn a_line_equals_that_of_the_reference() {
        let pid = std::process::id();
        let line = TEXT.line_at(Some(&moment()), &record(Label::Info, "Server is ready"));
        assert_eq!(line, format!("[{pid}] 2026/11/20 23:19:05.000626 [INF] Server is ready"));
        let line = TEXT.line_at(None, &record(Label::Fatal, "no"));
        assert_eq!(line, format!("[{pid}] [FTL] no"));
    }

    #[test]
    fn on_a_terminal_the_label_has_its_colour() {
        let pid = std::process::id();
        let style = Style { colors: true, ..TEXT };
        let line = style.line_at(None, &record(Label::Debug, "x"));
        assert_eq!(line, format!("[{pid}] [\u{1b}[36mDBG\u{1b}[0m] x"));
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let mut forged = record(Label::Trace, "a\r\n[1] [INF] forged \u{1b}[2J\tü");
        forged.client = Some("b\n".into());
        forged.fields.push(("c", "\u{9b}2J".into()));
        let line = TEXT.line_at(None, &forged);
        let expected = "b\\n - a\\r\\n[1] [INF] forged \\u{1b}[2J\tü c=\\u{9b}2J";
        assert!(line.ends_with(expected), "{line:?}");

        let line = JSON.line_at(None, &forged);
        assert!(!line.contains(char::is_control), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["message"], "a\r\n[1] [INF] forged \u{1b}[2J\tü");
        assert_eq!(object["c"], "\u{9b}2J");
    }

    #[test]
    fn as_json_a_line_is_one_object() {
        let pid = std::process::id();
        let mut said = record(Label::Warn, "say \"hi\"");
        said.client = Some("127.0.0.1:1 - cid:5".into());
        said.fields = vec![("bytes", 5.into()), ("ok", true.into()), ("subject", "a.b".into())];
        assert_eq!(
            JSON.line_at(Some(&moment()), &said),
            format!(r#"{{"time":"2026-11-20T23:19:05.000626Z","level":"warn","pid":{pid},"#)
                + r#""client":"127.0.0.1:1 - cid:5","message":"say \"hi\"","bytes":5,"ok":true,"subject":"a.b"}"#
        );
        let line = JSON.line(&said);
        assert!(line.ends_with("}\n") && line.contains("Z\",\"level\""), "{line}");
        assert!(!JSON.bare(&said).contains("\"time\""));
    }

    #[test]
    fn as_json_no_key_occurs_twice() {
        let mut said = record(Label::Info, "m");
        said.fields = vec![("level", "high".into()), ("pid", 1.into())];
        let line = JSON.line_at(None, &said);
        assert!(line.ends_with(r#""message":"m","level_":"high","pid_":1}"#), "{line}");
    }
}
