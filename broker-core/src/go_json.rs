//! JSON in Go's format, as nats-server writes it: programs may compare or log its text.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Formats with an indent of two blanks.
///
/// # Errors
///
/// Returns the error of the value's `Serialize`.
pub fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    write(value, PrettyFormatter::new())
}

/// Formats on one line.
///
/// ```
/// let text = broker_core::go_json::compact(&("foo.>", 1.0)).unwrap();
/// assert_eq!(text, br#"["foo.\u003e",1]"#);
/// ```
///
/// # Errors
///
/// Returns the error of the value's `Serialize`.
pub fn compact(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    write(value, CompactFormatter)
}

fn write(value: &impl Serialize, formatter: impl Formatter) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Go(formatter)))?;
    Ok(out)
}

/// Formats as Go does: HTML characters are escaped, so that a client's name cannot act as markup in
/// a browser, and whole numbers are written without a fraction.
struct Go<F>(F);

impl<F: Formatter> Formatter for Go<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_special = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(is_special) {
            let (before, behind) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = behind.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value}")
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &serde_json::Value) -> String {
        String::from_utf8(compact(value).unwrap()).unwrap()
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            text(&json!("<b>&\u{2028}ü\"\n\u{1}")),
            r#""\u003cb\u003e\u0026\u2028ü\"\n\u0001""#
        );
        assert_eq!(text(&json!("a<")), r#""a\u003c""#);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(text(&json!([2.0, 0.1, -0.5, 1e9])), "[2,0.1,-0.5,1000000000]");
    }

    #[test]
    fn objects_are_indented_as_go_does() {
        let value = json!({"a": [], "b": {}, "c": [1, {"d": 2}]});
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": 2\n    }\n  ]\n}";
        assert_eq!(String::from_utf8(pretty(&value).unwrap()).unwrap(), expected);
    }
}
