//! Options of requests: JSON as Go reads it, and errors as Go words them.

use broker_core::error::Quoted;
use serde_json::{Map, Value};

use crate::monitor::Observer;

/// The options of one request.
#[derive(Debug)]
pub(super) struct RequestOptions {
    /// The reference's type of the options, for its errors.
    of: &'static str,
    fields: Map<String, Value>,
}

/// The options are invalid; the text is the description in the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Invalid(pub(super) String);

impl RequestOptions {
    /// Reads the payload of a request for `of`: `Connz` stands for `ConnzEventOptions`. Nothing is the same as `{}`.
    // Go: names of fields are compared without case; unknown ones are ignored, and so are those that are null.
    pub(super) fn read(of: &'static str, payload: &[u8]) -> Result<Self, Invalid> {
        if payload.is_empty() {
            return Ok(Self { of, fields: Map::new() });
        }
        let value = serde_json::from_slice(payload).map_err(|error| syntax(payload, &error))?;
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => {
                let kind = kind(&other);
                let into = format!("Go value of type server.{of}EventOptions");
                return Err(Invalid(format!("json: cannot unmarshal {kind} into {into}")));
            }
        };
        let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Ok(Self { of, fields })
    }

    pub(super) fn text(&self, name: &str) -> Result<String, Invalid> {
        match self.fields.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(name, other, "string")),
        }
    }

    pub(super) fn switch(&self, name: &str) -> Result<bool, Invalid> {
        match self.fields.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.mismatch(name, other, "bool")),
        }
    }

    pub(super) fn int(&self, name: &str) -> Result<i64, Invalid> {
        let Some(value) = self.fields.get(name) else { return Ok(0) };
        value.as_i64().ok_or_else(|| self.mismatch(name, value, "int"))
    }

    pub(super) fn uint(&self, name: &str) -> Result<u64, Invalid> {
        let Some(value) = self.fields.get(name) else { return Ok(0) };
        value.as_u64().ok_or_else(|| self.mismatch(name, value, "uint64"))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Invalid> {
        let Some(value) = self.fields.get(name) else { return Ok(Vec::new()) };
        let Value::Array(list) = value else {
            return Err(self.mismatch(name, value, "[]string"));
        };
        let text = |one: &Value| match one {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.mismatch(name, other, "string")),
        };
        list.iter().map(text).collect()
    }

    /// Returns true if the request is meant for this server.
    // NATS 2.14: events.go filterRequest.
    pub(super) fn concerns(&self, observer: &Observer) -> Result<bool, Invalid> {
        let info = observer.broker().info();
        let is_exact = self.switch("exact_match")?;
        let is_meant = |wanted: &str, is: &str| {
            wanted.is_empty() || if is_exact { wanted == is } else { is.contains(wanted) }
        };
        // The reference compares tags in lower case only.
        let tags = observer.facts().tags.iter().map(|tag| tag.to_lowercase()).collect::<Vec<_>>();
        let has = |tag: &String| tags.contains(&tag.trim().to_lowercase());
        let domain = self.text("domain")?;
        Ok(is_meant(&self.text("server_name")?, &info.server_name)
            && is_meant(&self.text("host")?, &info.host)
            && is_meant(&self.text("cluster")?, &info.cluster)
            && self.texts("tags")?.iter().all(has)
            && (domain.is_empty() || domain == info.domain))
    }

    // Go: encoding/json UnmarshalTypeError.
    fn mismatch(&self, name: &str, value: &Value, expected: &str) -> Invalid {
        let of = self.of;
        let part = match name {
            "server_name" | "cluster" | "host" | "exact_match" | "tags" | "domain" => "EventFilter",
            // NATS 2.14: monitor.go has no other type with this spelling.
            _ if of == "Jsz" => "JSz",
            _ => of,
        };
        let expected = match name {
            "sort" => "server.SortOpt",
            "state" => "server.ConnState",
            _ => expected,
        };
        let kind = match value {
            Value::Number(number) if expected.contains("int") => format!("number {number}"),
            other => kind(other).to_owned(),
        };
        let field = format!("{of}EventOptions.{part}Options.{name}");
        Invalid(format!(
            "json: cannot unmarshal {kind} into Go struct field {field} of type {expected}"
        ))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
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
    use super::*;

    fn read(payload: &str) -> Result<RequestOptions, String> {
        RequestOptions::read("Connz", payload.as_bytes()).map_err(|Invalid(text)| text)
    }

    #[test]
    fn names_have_no_case_and_null_is_nothing() {
        let options = read(r#"{"LIMIT": 3, "auth": true, "user": null, "other": {}}"#).unwrap();
        assert_eq!(options.int("limit"), Ok(3));
        assert_eq!(options.switch("auth"), Ok(true));
        assert_eq!(options.text("user"), Ok(String::new()));
        assert!(read("null").is_ok() && read("").is_ok());
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn errors_are_those_of_go() {
        for (payload, expected) in [
            ("{bad", "invalid character 'b' looking for beginning of object key string"),
            ("{\"x\":", "unexpected end of JSON input"),
            ("{\"x\" 1}", "invalid character '1' after object key"),
            ("{\"x\":1 2}", "invalid character '2' after object key:value pair"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("[]", "json: cannot unmarshal array into Go value of type server.ConnzEventOptions"),
        ] {
            assert_eq!(read(payload).err().as_deref(), Some(expected), "{payload}");
        }
        let options = read(r#"{"limit": "x", "cid": -1, "server_name": 1}"#).unwrap();
        let text = |invalid: Invalid| invalid.0;
        assert_eq!(
            options.int("limit").map_err(text),
            Err("json: cannot unmarshal string into Go struct field \
                 ConnzEventOptions.ConnzOptions.limit of type int"
                .to_owned())
        );
        assert_eq!(
            options.uint("cid").map_err(text),
            Err("json: cannot unmarshal number -1 into Go struct field \
                 ConnzEventOptions.ConnzOptions.cid of type uint64"
                .to_owned())
        );
        let streams = RequestOptions::read("Jsz", br#"{"limit": "x"}"#).map_err(text).unwrap();
        assert_eq!(
            streams.int("limit").map_err(text),
            Err("json: cannot unmarshal string into Go struct field \
                 JszEventOptions.JSzOptions.limit of type int"
                .to_owned())
        );
    }
}
