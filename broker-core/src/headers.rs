//! Message headers, as programs see them.
//!
//! On the wire a header block is a version line and `Name: value` lines (ADR-4). Between wire clients it
//! is passed on byte for byte; in-process clients get it parsed.

use std::fmt;

/// The line that begins every header block.
const VERSION: &str = "NATS/1.0";

/// Names and values in the order in which they were added. Names are case-sensitive (ADR-4).
#[derive(Clone, Default, Eq, PartialEq)]
pub struct HeaderMap(Box<Headers>);

/// Boxed, because most messages have none.
#[derive(Clone, Default, Eq, PartialEq)]
struct Headers {
    status: Option<u16>,
    description: Option<String>,
    fields: Vec<(String, String)>,
}

impl HeaderMap {
    /// Creates an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the first value of a name.
    ///
    /// ```
    /// let mut headers = broker_core::HeaderMap::new();
    /// headers.append("Trace", "1");
    /// headers.append("Trace", "2");
    /// assert_eq!(headers.get("Trace"), Some("1"));
    /// assert_eq!(headers.get_all("Trace").count(), 2);
    /// assert_eq!(headers.get("trace"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns all values of a name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Replaces all values of a name by one.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.0.fields.retain(|(other, _)| *other != name);
        self.0.fields.push((name, value.into()));
    }

    /// Adds a value, beside those of the same name.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.fields.push((name.into(), value.into()));
    }

    /// Returns all names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns true without fields and status.
    pub fn is_empty(&self) -> bool {
        self.0.fields.is_empty() && self.0.status.is_none()
    }

    /// Returns the status behind the version: 503 for no responders.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the description behind the status.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    pub(crate) fn no_responders(subject: &str) -> Self {
        let fields = vec![(String::from("Nats-Subject"), String::from(subject))];
        Self(Box::new(Headers { status: Some(503), description: None, fields }))
    }

    /// Parses a block; `None` if it is malformed.
    pub(crate) fn parse(block: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(block);
        let mut lines = text.split("\r\n");
        let first = lines.next()?.strip_prefix(VERSION)?.trim();
        let mut headers = Self::default();
        if !first.is_empty() {
            let (status, description) = first.split_once(' ').unwrap_or((first, ""));
            headers.0.status = Some(status.parse().ok()?);
            headers.0.description =
                Some(description.trim().to_owned()).filter(|text| !text.is_empty());
        }
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            headers.append(name, value.trim());
        }
        Some(headers)
    }

    /// Encodes the block.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] if a name or a value could be read as something else.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, InvalidHeader> {
        let mut block = String::from(VERSION);
        if let Some(status) = self.0.status {
            block.push_str(&format!(" {status}"));
            if let Some(description) = &self.0.description {
                block.push_str(&format!(" {description}"));
            }
        }
        block.push_str("\r\n");
        for (name, value) in &self.0.fields {
            let bad_name =
                name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            if bad_name || value.contains(['\r', '\n']) {
                return Err(InvalidHeader(name.clone()));
            }
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        Ok(block.into_bytes())
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0.status.iter().map(|status| ("status", status.to_string()));
        f.debug_map().entries(status).entries(self.iter()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }
}

/// A header that cannot be written: an empty name, a colon or a blank in it, a line end in either.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("header {0:?} cannot be sent")]
pub struct InvalidHeader(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let headers: HeaderMap = [("A", "1"), ("B", "x: y"), ("A", "2")].into_iter().collect();
        let block = headers.encode().unwrap();
        assert_eq!(block, b"NATS/1.0\r\nA: 1\r\nB: x: y\r\nA: 2\r\n\r\n");
        assert_eq!(HeaderMap::parse(&block), Some(headers));
        let status = HeaderMap::parse(b"NATS/1.0 503 No Responders\r\n\r\n").unwrap();
        assert_eq!((status.status(), status.description()), (Some(503), Some("No Responders")));
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        for (name, value) in
            [("", "x"), ("a:b", "x"), ("a b", "x"), ("a", "x\r\nb: y"), ("a\n", "")]
        {
            let headers: HeaderMap = [(name, value)].into_iter().collect();
            assert_eq!(headers.encode(), Err(InvalidHeader(name.into())), "{name:?} {value:?}");
        }
    }

    #[test]
    fn what_is_no_header_block_is_none() {
        for bad in
            [&b"HTTP/1.0\r\n\r\n"[..], b"", b"NATS/1.0 x\r\n\r\n", b"NATS/1.0\r\nabc\r\n\r\n"]
        {
            assert_eq!(HeaderMap::parse(bad), None);
        }
    }
}
