//! Patterns for INFO, most of whose contents are specific to a server.

use serde_json::{Map, Value};

/// Some fields of an INFO line and their expected values.
///
/// Written `INFO {"max_payload":1024, "nonce":"<absent>", ...}`: the dots stand for all other
/// fields. In place of a value, `"<number>"` and `"<string>"` match any of that type (a string that
/// is not empty), `"<absent>"` requires the field to be missing. `"<contains TEXT>"` and `"<lacks TEXT>"` look for a
/// text in the JSON of the field, such as one address of several; an absent field lacks it.
#[derive(Clone, Debug, PartialEq)]
pub struct InfoPattern {
    fields: Map<String, Value>,
}

impl InfoPattern {
    /// Parses the pattern that follows `INFO `.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let asked = text
            .trim()
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .and_then(|t| t.trim_end().strip_suffix("..."))
            .ok_or("an INFO is expected as {\"field\":value, ...}, with the dots")?;
        let object = format!("{{{}}}", asked.trim_end().trim_end_matches(','));
        let fields = serde_json::from_str(&object).map_err(|e| format!("fields of INFO: {e}"))?;
        Ok(Self { fields })
    }

    /// Checks a line (CRLF included) and describes the first difference.
    pub(crate) fn check(&self, line: &[u8]) -> Result<(), String> {
        let json = line
            .strip_prefix(b"INFO ")
            .and_then(|l| l.strip_suffix(b" \r\n"))
            .ok_or("expected INFO, one blank, JSON, one blank, CRLF")?;
        self.check_json(json)
    }

    /// Checks an INFO line on a route, where INFO that is passed on lacks the last blank.
    pub(crate) fn check_on_route(&self, line: &[u8]) -> Result<(), String> {
        let json = line
            .strip_prefix(b"INFO ")
            .and_then(|l| l.strip_suffix(b" \r\n").or_else(|| l.strip_suffix(b"\r\n")))
            .ok_or("expected INFO, one blank, JSON, CRLF")?;
        self.check_json(json)
    }

    /// Checks the CONNECT of a server in the same way.
    pub(crate) fn check_connect(&self, line: &[u8]) -> Result<(), String> {
        let json = line
            .strip_prefix(b"CONNECT ")
            .and_then(|l| l.strip_suffix(b"\r\n"))
            .ok_or("expected CONNECT, one blank, JSON, CRLF")?;
        self.check_json(json)
    }

    fn check_json(&self, json: &[u8]) -> Result<(), String> {
        let info: Map<String, Value> =
            serde_json::from_slice(json).map_err(|e| format!("the JSON: {e}"))?;
        for (name, wanted) in &self.fields {
            let found = info.get(name);
            if !holds(wanted, found) {
                let found = found.map_or("absent".into(), Value::to_string);
                return Err(format!("\"{name}\": expected {wanted}, is {found}"));
            }
        }
        Ok(())
    }
}

fn holds(wanted: &Value, found: Option<&Value>) -> bool {
    let inside = |mark| wanted.as_str()?.strip_prefix(mark)?.strip_suffix('>');
    let has = |text| found.is_some_and(|found| found.to_string().contains(text));
    match (wanted.as_str(), found) {
        _ if inside("<contains ").is_some() => inside("<contains ").is_some_and(has),
        _ if inside("<lacks ").is_some() => !inside("<lacks ").is_some_and(has),
        (Some("<absent>"), found) => found.is_none(),
        (Some("<number>"), found) => found.is_some_and(Value::is_number),
        (Some("<string>"), found) => found.and_then(Value::as_str).is_some_and(|s| !s.is_empty()),
        (_, found) => found == Some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"INFO {\"port\":4222,\"host\":\"::1\",\"headers\":true,\"urls\":[\"x:1\",\"y:2\"]} \r\n";

    fn check(pattern: &str) -> Result<(), String> {
        InfoPattern::parse(pattern).unwrap().check(LINE)
    }

    #[test]
    fn fields_asked_for_must_agree_and_others_may_be_there() {
        assert_eq!(check(r#"{...}"#), Ok(()));
        assert_eq!(
            check(
                r#"{"port":"<number>", "host":"<string>", "tls":"<absent>", "headers":true, ...}"#
            ),
            Ok(())
        );
    }

    #[test]
    fn a_field_that_differs_is_named() {
        assert!(check(r#"{"port":4223, ...}"#).unwrap_err().contains("\"port\""));
        assert!(check(r#"{"port":"<string>", ...}"#).is_err());
        assert!(check(r#"{"port":"<absent>", ...}"#).is_err());
        assert!(check(r#"{"nonce":"<string>", ...}"#).unwrap_err().contains("is absent"));
    }

    #[test]
    fn a_text_may_be_looked_for_in_a_field() {
        assert_eq!(check(r#"{"urls":"<contains x:1>", "none":"<lacks x:1>", ...}"#), Ok(()));
        assert_eq!(check(r#"{"urls":"<lacks z:3>", ...}"#), Ok(()));
        assert!(check(r#"{"urls":"<contains z:3>", ...}"#).is_err());
        assert!(check(r#"{"urls":"<lacks y:2>", ...}"#).is_err());
        assert!(check(r#"{"none":"<contains x:1>", ...}"#).is_err());
    }

    #[test]
    fn the_connect_of_a_server_is_checked_like_info() {
        let pattern = InfoPattern::parse(r#"{"cluster":"C", ...}"#).unwrap();
        assert_eq!(pattern.check_connect(b"CONNECT {\"cluster\":\"C\"}\r\n"), Ok(()));
        assert!(pattern.check_connect(b"CONNECT {\"cluster\":\"D\"}\r\n").is_err());
        assert!(pattern.check_connect(b"INFO {\"cluster\":\"C\"} \r\n").is_err());
    }

    #[test]
    fn a_pattern_without_its_dots_is_refused() {
        assert!(InfoPattern::parse(r#"{"port":1}"#).is_err());
        assert!(InfoPattern::parse(r#"{"port":, ...}"#).is_err());
    }

    #[test]
    fn a_line_that_is_no_info_is_refused() {
        let any = InfoPattern::parse("{...}").unwrap();
        for line in [&b"PONG\r\n"[..], b"INFO {}\r\n", b"INFO {\"a\" \r\n"] {
            assert!(any.check(line).is_err(), "{}", line.escape_ascii());
        }
    }
}
