//! The text of a dialogue.

/// One line, with the line of its answer.
pub(super) enum Step<'a> {
    /// Headers of the next request.
    Headers(Vec<u8>),
    /// A message.
    Publish { subject: &'a str, payload: &'a str },
    /// The user of the requests that follow.
    User(&'a str),
    /// A request.
    Request { line: &'a str, subject: &'a str, payload: &'a str, answer: &'a str },
}

pub(super) fn read(text: &str) -> impl Iterator<Item = Step<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            if let Some(header) = line.strip_prefix("HDR ") {
                return Some(Step::Headers(format!("NATS/1.0\r\n{header}\r\n\r\n").into_bytes()));
            }
            if let Some(user) = line.strip_prefix("USER ") {
                return Some(Step::User(user));
            }
            if let Some(message) = line.strip_prefix("PUB ") {
                let (subject, payload) = message.split_once(' ').unwrap_or((message, ""));
                return Some(Step::Publish { subject, payload });
            }
            if let Some(request) = line.strip_prefix("> ") {
                let (subject, payload) = request.split_once(' ').unwrap_or((request, ""));
                let answer = lines.next_if(|line| line.starts_with("< "));
                let answer = answer.map_or("not recorded", |line| &line[2..]);
                return Some(Step::Request { line, subject, payload, answer });
            }
        }
    })
}

/// The times and numbers that differ from run to run, with what stands for them.
const MASKS: [(&str, &str, &str); 9] = [
    ("\"created\":\"", "\"", "TIME"),
    ("\"ts\":\"", "\"", "TIME"),
    ("\"time\":\"", "\"", "TIME"),
    ("\"first_ts\":\"", "\"", "TIME"),
    ("\"last_ts\":\"", "\"", "TIME"),
    ("\"last_active\":\"", "\"", "TIME"),
    ("\"pinned_ts\":\"", "\"", "TIME"),
    ("\"pause_remaining\":", ",}", "1"),
    ("\"leader\":\"", "\"", "SERVER"),
];

pub(super) fn masked(answer: &str) -> String {
    let mut text = answer.to_owned();
    for (begin, ends, mask) in MASKS {
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(begin) {
            let value = &rest[at + begin.len()..];
            let len = value.find(|c| ends.contains(c)).unwrap_or(value.len());
            out.push_str(&rest[..at + begin.len()]);
            let is_zero = value.starts_with("0001-01-01T00:00:00Z");
            out.push_str(if is_zero { &value[..len] } else { mask });
            rest = &value[len..];
        }
        out.push_str(rest);
        text = out;
    }
    text
}
