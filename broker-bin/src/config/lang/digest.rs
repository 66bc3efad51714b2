//! The digest of a configuration, used by operators to compare servers.

use std::fmt::Write as _;

use broker_core::sort::sort_by;
use sha2::{Digest as _, Sha256};

use super::{Map, Value};

/// Returns the digest that `nats-server -t` prints for the same configuration.
pub(super) fn digest(root: &Map) -> String {
    // NATS 2.14: conf/parse.go hashes the output of Go's json.Encoder, which ends with a newline.
    let hash = Sha256::new().chain_update(to_json(root)).chain_update("\n").finalize();
    let mut text = String::from("sha256:");
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Formats all values as JSON, byte for byte as Go does: keys sorted, HTML characters escaped.
///
/// Passwords are included.
pub fn to_json(root: &Map) -> String {
    let mut json = String::new();
    write_map(root, &mut json);
    json
}

fn write_value(value: &Value, json: &mut String) {
    match value {
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => {
            let _ = write!(json, "{value}");
        }
        Value::Float(value) => write_float(*value, json),
        Value::String(value) => write_string(value, json),
        Value::Time(value) => {
            let _ = write!(json, "\"{value}\"");
        }
        Value::Array(nodes) => {
            json.push('[');
            for (at, node) in nodes.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                write_value(&node.value, json);
            }
            json.push(']');
        }
        Value::Map(map) => write_map(map, json),
    }
}

fn write_map(map: &Map, json: &mut String) {
    let mut sorted: Vec<_> = map.entries.iter().collect();
    sort_by(&mut sorted, |one, other| one.key.cmp(&other.key));
    json.push('{');
    for (at, entry) in sorted.into_iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        write_string(&entry.key, json);
        json.push(':');
        write_value(&entry.node.value, json);
    }
    json.push('}');
}

/// Writes the shortest digits that parse to the same value, with an exponent below 1e-6 and from
/// 1e21 on.
fn write_float(value: f64, json: &mut String) {
    let size = value.abs();
    let _ = if size != 0.0 && size < 1e-6 {
        write!(json, "{value:e}")
    } else if size >= 1e21 {
        json.push_str(&format!("{value:e}").replace('e', "e+"));
        Ok(())
    } else {
        write!(json, "{value}")
    };
}

fn write_string(text: &str, json: &mut String) {
    json.push('"');
    let mut rest = text;
    // Characters that stay as they are, then one that needs an escape.
    while let Some(at) = rest.find(is_escaped) {
        let (plain, special) = rest.split_at(at);
        json.push_str(plain);
        let mut chars = special.chars();
        chars.next().into_iter().for_each(|c| write_escaped(c, json));
        rest = chars.as_str();
    }
    json.push_str(rest);
    json.push('"');
}

fn is_escaped(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

fn write_escaped(c: char, json: &mut String) {
    match c {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\x08' => json.push_str("\\b"),
        '\x0c' => json.push_str("\\f"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        _ => {
            let _ = write!(json, "\\u{:04x}", u32::from(c));
        }
    }
}
