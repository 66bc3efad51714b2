//! Options of requests: JSON as Go reads it, and errors as Go words them.

use broker_core::error::Quoted;
use serde_json::{Map, Value};

use super::fields::{Form, kind};
use crate::monitor::Observer;

/// The options of one request, of the types that its form states.
#[derive(Debug)]
pub(super) struct RequestOptions(Map<String, Value>);

/// The options are invalid; the text is the description in the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Invalid(pub(super) String);

impl RequestOptions {
    /// Reads the payload of a request. Nothing is the same as `{}`.
    // Go: names of fields are compared without case; unknown ones are ignored, and so are those that are null.
    pub(super) fn read(form: &Form, payload: &[u8]) -> Result<Self, Invalid> {
        if payload.is_empty() {
            return Ok(Self(Map::new()));
        }
        let value = serde_json::from_slice(payload).map_err(|error| syntax(payload, &error))?;
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => {
                let (kind, name) = (kind(&other), form.name);
                let into = format!("Go value of type server.{name}");
                return Err(Invalid(format!("json: cannot unmarshal {kind} into {into}")));
            }
        };
        let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
        let fields: Map<_, _> =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        fields.iter().try_for_each(|(name, value)| form.check(name, value)).map_err(Invalid)?;
        Ok(Self(fields))
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn uint(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns true if the request is meant for this server.
    // NATS 2.14: events.go filterRequest.
    pub(super) fn concerns(&self, observer: &Observer) -> bool {
        let info = observer.broker().info();
        let is_exact = self.switch("exact_match");
        let is_meant = |wanted: &str, is: &str| {
            wanted.is_empty() || if is_exact { wanted == is } else { is.contains(wanted) }
        };
        // The reference compares tags in lower case only.
        let tags = observer.facts().tags.iter().map(|tag| tag.to_lowercase()).collect::<Vec<_>>();
        let has = |tag: &String| tags.contains(&tag.trim().to_lowercase());
        let domain = self.text("domain");
        is_meant(&self.text("server_name"), &info.server_name)
            && is_meant(&self.text("host"), &info.host)
            && is_meant(&self.text("cluster"), &info.cluster)
            && self.texts("tags").iter().all(has)
            && (domain.is_empty() || domain == info.domain)
    }
}

/// Words a syntax error as Go does, where the parser reports enough.
// Go: encoding/json SyntaxError.
fn syntax(payload: &[u8], error: &serde_json::Error) -> Invalid {
    if error.is_eof() {
        return Invalid("unexpected end of JSON input".to_owned());
    }
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let after = match what {
        "expected value" => "looking for beginning of value",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "invalid escape" => "in string escape code",
        "trailing characters" => "after top-level value",
        _ => return Invalid("invalid JSON".to_owned()),
    };
    let line = payload.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let found = line.and_then(|line| line.get(error.column().checked_sub(1)?));
    let found = found.map(|byte| char::from(*byte).to_string()).unwrap_or_default();
    let quoted = match &*found {
        "'" => r"'\''".to_owned(),
        "\"" => "'\"'".to_owned(),
        found => Quoted::from(found).to_string().replace('"', "'"),
    };
    Invalid(format!("invalid character {quoted} {after}"))
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;

    fn read(payload: &str) -> Result<RequestOptions, String> {
        RequestOptions::read(&fields::CONNZ, payload.as_bytes()).map_err(|Invalid(text)| text)
    }

    #[test]
    fn names_have_no_case_and_null_is_nothing() {
        let options = read(r#"{"LIMIT": 3, "auth": true, "user": null, "other": {}}"#).unwrap();
        assert_eq!((options.int("limit"), options.switch("auth")), (3, true));
        assert_eq!(options.text("user"), "");
        assert!(read("null").is_ok() && read("").is_ok());
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn errors_of_syntax_are_those_of_go() {
        for (payload, expected) in [
            ("{bad", "invalid character 'b' looking for beginning of object key string"),
            ("{\"x\":", "unexpected end of JSON input"),
            ("{\"x\" 1}", "invalid character '1' after object key"),
            ("{\"x\":1 2}", "invalid character '2' after object key:value pair"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("x", "invalid character 'x' looking for beginning of value"),
            (r#"{"a":"\x"}"#, "invalid character 'x' in string escape code"),
            ("[]", "json: cannot unmarshal array into Go value of type server.ConnzEventOptions"),
        ] {
            assert_eq!(read(payload).err().as_deref(), Some(expected), "{payload}");
        }
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn errors_of_types_are_those_of_go() {
        for (form, payload, what) in [
            (
                &fields::CONNZ,
                r#"{"limit": "x"}"#,
                "string|ConnzEventOptions.ConnzOptions.limit|int",
            ),
            (
                &fields::CONNZ,
                r#"{"cid": -1}"#,
                "number -1|ConnzEventOptions.ConnzOptions.cid|uint64",
            ),
            (
                &fields::CONNZ,
                r#"{"state": 1.5}"#,
                "number 1.5|ConnzEventOptions.ConnzOptions.state|server.ConnState",
            ),
            (
                &fields::CONNZ,
                r#"{"sort": 5}"#,
                "number|ConnzEventOptions.ConnzOptions.sort|server.SortOpt",
            ),
            (&fields::JSZ, r#"{"limit": "x"}"#, "string|JszEventOptions.JSzOptions.limit|int"),
            (
                &fields::LEAFZ,
                r#"{"account": 5}"#,
                "number|LeafzEventOptions.LeafzOptions.account|string",
            ),
            (
                &fields::RAFTZ,
                r#"{"group": []}"#,
                "array|RaftzEventOptions.RaftzOptions.group|string",
            ),
            (
                &fields::PROFILEZ,
                r#"{"duration": "2s"}"#,
                "string|ProfilezEventOptions.ProfilezOptions.duration|time.Duration",
            ),
            (
                &fields::VARZ,
                r#"{"tags": "a"}"#,
                "string|VarzEventOptions.EventFilterOptions.tags|[]string",
            ),
            (&fields::SERVERS, r#"{"tags": [1]}"#, "number|EventFilterOptions.tags|string"),
        ] {
            let error =
                RequestOptions::read(form, payload.as_bytes()).map_err(|Invalid(text)| text);
            let words: Vec<&str> = what.split('|').collect();
            let [kind, field, expected] = words[..] else { panic!("{what}") };
            let text = format!(
                "json: cannot unmarshal {kind} into Go struct field {field} of type {expected}"
            );
            assert_eq!(error.err().as_deref(), Some(&*text), "{payload}");
        }
        let unknown = RequestOptions::read(&fields::LEAFZ, br#"{"limit": "x"}"#);
        assert!(unknown.is_ok(), "another kind of request has it");
    }
}
