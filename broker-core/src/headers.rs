//! Message headers of programs inside the process.
//!
//! On the wire a header block is a version line and `Name: value` lines (ADR-4). It is forwarded byte for
//! byte, and parsed only if a program reads it.

use std::fmt;

use bytes::Bytes;
use memchr::memchr_iter;

use crate::sync::Arc;

/// The first line of every header block.
const VERSION: &str = "NATS/1.0";

/// Names and values in the order in which they were added. Names are case-sensitive (ADR-4).
///
/// The headers of a received message are its header block, which is parsed on first use. Published again
/// without a change, they are the same bytes.
#[derive(Clone, Default)]
pub struct HeaderMap(Arc<Form>);

/// Apart, because most messages have none, and shared, because the code that drops it is then no part of the code that drops a
/// message.
#[derive(Clone)]
enum Form {
    /// A UTF-8 block with well-formed lines.
    Raw(Bytes),
    /// A well-formed block that is not UTF-8, and its lossy text.
    Lossy(Bytes, Fields),
    Fields(Fields),
}

#[derive(Clone, Default)]
struct Fields {
    status: Option<u16>,
    description: Option<String>,
    fields: Vec<(String, String)>,
}

impl Default for Form {
    fn default() -> Self {
        Self::Fields(Fields::default())
    }
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
        let fields = &mut self.fields_mut().fields;
        fields.retain(|(other, _)| *other != name);
        fields.push((name, value.into()));
    }

    /// Adds a value, beside those of the same name.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.fields_mut().fields.push((name.into(), value.into()));
    }

    /// Returns all names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (text, fields) = match &*self.0 {
            Form::Raw(block) => (text_of(block), &[][..]),
            Form::Lossy(_, fields) | Form::Fields(fields) => ("", &fields.fields[..]),
        };
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fields_of(text).flatten().chain(fields)
    }

    /// Returns true if there are no fields and no status.
    pub fn is_empty(&self) -> bool {
        self.status().is_none() && self.iter().next().is_none()
    }

    /// Returns the status behind the version: 503 for no responders.
    pub fn status(&self) -> Option<u16> {
        match &*self.0 {
            Form::Raw(block) => status_of(text_of(block))?.0,
            Form::Lossy(_, fields) | Form::Fields(fields) => fields.status,
        }
    }

    /// Returns the description behind the status.
    pub fn description(&self) -> Option<&str> {
        match &*self.0 {
            Form::Raw(block) => status_of(text_of(block))?.1,
            Form::Lossy(_, fields) | Form::Fields(fields) => fields.description.as_deref(),
        }
    }

    pub(crate) fn no_responders(subject: &str) -> Self {
        let fields = vec![(String::from("Nats-Subject"), String::from(subject))];
        Self(Arc::new(Form::Fields(Fields { status: Some(503), description: None, fields })))
    }

    /// Creates headers from a block; `None` if it is malformed.
    pub(crate) fn from_block(block: Bytes) -> Option<Self> {
        let form = match std::str::from_utf8(&block) {
            Ok(text) => {
                status_of(text)?;
                if !fields_of(text).all(|field| field.is_some()) {
                    return None;
                }
                Form::Raw(block)
            }
            Err(_) => {
                let fields = Fields::parse(&String::from_utf8_lossy(&block))?;
                Form::Lossy(block, fields)
            }
        };
        Some(Self(Arc::new(form)))
    }

    /// As [`Self::from_block`], with a copy of the block.
    pub(crate) fn parse(block: &[u8]) -> Option<Self> {
        Self::from_block(Bytes::copy_from_slice(block))
    }

    /// Converts to fields, without the received block, before a change.
    fn fields_mut(&mut self) -> &mut Fields {
        let form = Arc::make_mut(&mut self.0);
        if !matches!(form, Form::Fields(_)) {
            *form = Form::Fields(match std::mem::take(form) {
                Form::Raw(block) => Fields::parse(text_of(&block)).unwrap_or_default(),
                Form::Lossy(_, fields) | Form::Fields(fields) => fields,
            });
        }
        match form {
            Form::Fields(fields) => fields,
            Form::Raw(_) | Form::Lossy(..) => unreachable!("it has just been made fields"),
        }
    }

    /// Appends the block to `out`: a received one unchanged.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] if a name or a value would be ambiguous on the wire.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), InvalidHeader> {
        match &*self.0 {
            Form::Raw(block) | Form::Lossy(block, _) => {
                out.extend_from_slice(block);
                Ok(())
            }
            Form::Fields(fields) => fields.encode(out),
        }
    }

    /// Returns the length of the block, and the block with a payload behind it.
    ///
    /// # Errors
    ///
    /// As [`Self::encode`].
    pub(crate) fn join(&self, payload: &[u8]) -> Result<(usize, Bytes), InvalidHeader> {
        let mut block = Vec::new();
        self.encode(&mut block)?;
        let len = block.len();
        block.extend_from_slice(payload);
        Ok((len, Bytes::from(block)))
    }
}

impl Fields {
    fn parse(text: &str) -> Option<Self> {
        let (status, description) = status_of(text)?;
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let fields = fields_of(text).map(|field| field.map(own)).collect::<Option<_>>()?;
        Some(Self { status, description: description.map(str::to_owned), fields })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), InvalidHeader> {
        out.extend_from_slice(VERSION.as_bytes());
        if let Some(status) = self.status {
            out.extend_from_slice(format!(" {status}").as_bytes());
            if let Some(description) = &self.description {
                out.push(b' ');
                out.extend_from_slice(description.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            let bad_name =
                name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            if bad_name || value.contains(['\r', '\n']) {
                return Err(InvalidHeader(name.clone()));
            }
            for part in [name.as_str(), ": ", value.as_str(), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Returns the text of a raw block, which was checked as UTF-8.
fn text_of(block: &[u8]) -> &str {
    std::str::from_utf8(block).unwrap_or_default()
}

/// Returns the lines, without CRLF.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut ends = memchr_iter(b'\n', text.as_bytes());
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let begin = rest?;
        let is_end = |end: &usize| *end > begin && text.as_bytes()[*end - 1] == b'\r';
        let end = ends.find(is_end);
        rest = end.map(|end| end + 1);
        text.get(begin..end.map_or(text.len(), |end| end - 1))
    })
}

/// Returns status and description from the first line; `None` if the line is malformed.
fn status_of(text: &str) -> Option<(Option<u16>, Option<&str>)> {
    let first = lines(text).next()?.strip_prefix(VERSION)?.trim();
    if first.is_empty() {
        return Some((None, None));
    }
    let (status, description) = first.split_once(' ').unwrap_or((first, ""));
    let description = Some(description.trim()).filter(|text| !text.is_empty());
    Some((Some(status.parse().ok()?), description))
}

/// Returns name and value of each further line; `None` for a malformed one.
fn fields_of(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let lines = lines(text).skip(1).filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(':').map(|(name, value)| (name, value.trim())))
}

impl Eq for HeaderMap {}

/// Compares names and values, not the bytes of the block.
impl PartialEq for HeaderMap {
    fn eq(&self, other: &Self) -> bool {
        self.status() == other.status()
            && self.description() == other.description()
            && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status().map(|status| ("status", status.to_string()));
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

/// An invalid header: an empty name, a colon or a blank in the name, a line end in either part.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("header {0:?} cannot be sent")]
pub struct InvalidHeader(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoded_headers_parse_again() {
        let headers: HeaderMap = [("A", "1"), ("B", "x: y"), ("A", "2")].into_iter().collect();
        let mut block = Vec::new();
        headers.encode(&mut block).unwrap();
        assert_eq!(block, b"NATS/1.0\r\nA: 1\r\nB: x: y\r\nA: 2\r\n\r\n");
        assert_eq!(HeaderMap::parse(&block), Some(headers));
        let status = HeaderMap::parse(b"NATS/1.0 503 No Responders\r\n\r\n").unwrap();
        assert_eq!((status.status(), status.description()), (Some(503), Some("No Responders")));
    }

    #[test]
    fn ambiguous_names_and_values_are_refused() {
        for (name, value) in
            [("", "x"), ("a:b", "x"), ("a b", "x"), ("a", "x\r\nb: y"), ("a\n", "")]
        {
            let headers: HeaderMap = [(name, value)].into_iter().collect();
            assert_eq!(
                headers.encode(&mut Vec::new()),
                Err(InvalidHeader(name.into())),
                "{name:?} {value:?}"
            );
        }
    }

    #[test]
    fn a_malformed_block_is_none() {
        for bad in
            [&b"HTTP/1.0\r\n\r\n"[..], b"", b"NATS/1.0 x\r\n\r\n", b"NATS/1.0\r\nabc\r\n\r\n"]
        {
            assert_eq!(HeaderMap::parse(bad), None);
        }
    }

    /// Returns the fields of a block, by a naive parser.
    fn read_plainly(block: &[u8]) -> Option<Fields> {
        let text = String::from_utf8_lossy(block);
        let mut lines = text.split("\r\n");
        let first = lines.next()?.strip_prefix(VERSION)?.trim();
        let mut read = Fields::default();
        if !first.is_empty() {
            let (status, description) = first.split_once(' ').unwrap_or((first, ""));
            read.status = Some(status.parse().ok()?);
            read.description = Some(description.trim().to_owned()).filter(|text| !text.is_empty());
        }
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            read.fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Some(read)
    }

    proptest! {
        #[test]
        fn a_received_block_has_the_fields_of_its_lines_and_is_sent_unchanged(
            status in proptest::option::of("[0-9x]{1,3}"),
            lines in proptest::collection::vec("[a-c: \r\n\u{e9}]{0,8}", 0..6),
            cut in 0..3_usize,
            odd in proptest::option::of((0..40_usize, any::<u8>())),
        ) {
            let status = status.map(|status| format!(" {status} why")).unwrap_or_default();
            let mut block = format!("NATS/1.0{status}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
            block.truncate(block.len() - cut);
            if let Some((at, byte)) = odd && let Some(place) = block.get_mut(at) {
                *place = byte;
            }
            let expected = read_plainly(&block).map(|fields| HeaderMap(Arc::new(Form::Fields(fields))));
            let headers = HeaderMap::from_block(Bytes::from(block.clone()));
            prop_assert_eq!(&headers, &expected);
            if let (Some(mut headers), Some(mut expected)) = (headers, expected) {
                prop_assert_eq!(headers.is_empty(), expected.is_empty());
                let mut sent = Vec::new();
                headers.encode(&mut sent).unwrap();
                prop_assert_eq!(sent, block);
                headers.append("x", "y");
                expected.append("x", "y");
                prop_assert_eq!(&headers, &expected);
                headers.insert("a", "z");
                expected.insert("a", "z");
                prop_assert_eq!(headers, expected);
            }
        }
    }
}
