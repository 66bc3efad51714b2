//! Options from the environment: `NATSD_` and the option's name in capitals, with `__` between a
//! block and its option: `NATSD_MAX_PAYLOAD`, `NATSD_AUTHORIZATION__TIMEOUT`.

use std::collections::BTreeMap;

use super::Check;
use super::check::join;
use super::kind::Kind;
use super::lang::{self, Node, Value};
use super::layer::Layer;
use super::nearest::nearest;
use super::path::Path;
use super::problem::{Findings, Origin};
use super::table::{Block, Key};

const PREFIX: &str = "NATSD_";

/// Returns the name of the variable for the option at `path`.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// Reads all options that environment variables set.
pub(crate) fn read(
    top: &'static Block,
    variables: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Layer {
    let mut layer = Layer::new("the environment");
    for (name, text) in variables {
        let Some(words) = name.strip_prefix(PREFIX) else { continue };
        // Equal to unset: `NATSD_DEBUG=${DEBUG:-}` in a compose file.
        if text.is_empty() || is_from_kubernetes(words, text) {
            continue;
        }
        let Some((path, key)) = find(top, words) else {
            let known = all_variables(top, "");
            let mut what = String::from("no option is called so");
            if let Some(meant) = nearest(name, known.iter().map(String::as_str)) {
                what += &format!("; did you mean {meant}?");
            }
            findings.warn(Origin::Environment(name.clone()), what);
            continue;
        };
        set(&mut layer, key, &path, name, text, variables, findings);
    }
    layer
}

/// Kubernetes sets variables of these names in every pod beside a Service named `natsd`; without
/// this exception, `NATSD_PORT=tcp://10.0.0.1:4222` would keep each of these pods from starting.
fn is_from_kubernetes(words: &str, text: &str) -> bool {
    words.starts_with("SERVICE_")
        || words.starts_with("PORT_")
        || (words == "PORT" && text.contains("://"))
}

fn set(
    layer: &mut Layer,
    key: &'static Key,
    path: &str,
    name: &str,
    text: &str,
    variables: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    let origin = Origin::Environment(name.to_owned());
    let span = lang::Span { file: name.into(), line: 1, column: 1 };
    let value = match value(key.kind, text) {
        Some(value) => Ok(value),
        None => lang::parse_value(text, name, &|name| variables.get(name).cloned()),
    };
    let value = match value {
        Ok(value) => value,
        // The message contains the place: `NAME:1:3`.
        Err(error) => return findings.error(Origin::Nowhere, error.to_string()),
    };
    check(layer, key, path, &Node { value, span }, &origin, findings);
}

/// Validates and sets one value that has no place in a file.
pub(crate) fn check(
    layer: &mut Layer,
    key: &'static Key,
    path: &str,
    node: &Node,
    origin: &Origin,
    findings: &mut Findings,
) {
    let mut check = Check::value_from(origin.clone(), path);
    let mut dict = figment::value::Dict::new();
    check.value(key, node, Path::Text(path), &mut dict);
    findings.errors.append(&mut check.findings.errors);
    findings.warnings.append(&mut check.findings.warnings);
    for (name, value) in dict {
        layer.set(&Path::Text(path).sibling(&name), value, origin.clone());
    }
}

/// Reads values that need no quotes: a text is taken verbatim, so that a password of digits remains
/// a text.
pub(crate) fn value(kind: Kind, text: &str) -> Option<Value> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind {
        Kind::Text(_) | Kind::Choice(_) | Kind::Spelled(_) | Kind::Lifetime => {
            Some(Value::String(text.to_owned()))
        }
        // `2m` means two million as a size, and two minutes here.
        Kind::Duration { .. } if !is_number => Some(Value::String(text.to_owned())),
        Kind::Listen { .. } if !is_number && text != "-1" => Some(Value::String(text.to_owned())),
        Kind::List(_) if !text.trim_start().starts_with('[') => {
            let span = lang::Span { file: "".into(), line: 1, column: 1 };
            let items = text.split(',').map(|item| Node {
                value: Value::String(item.trim().to_owned()),
                span: span.clone(),
            });
            Some(Value::Array(items.collect()))
        }
        _ => None,
    }
}

fn find(block: &'static Block, words: &str) -> Option<(String, &'static Key)> {
    match words.split_once("__") {
        None => block.key(words).map(|key| (key.name.to_owned(), key)),
        Some((first, rest)) => {
            let key = block.key(first)?;
            let Kind::Block(inner) = key.kind else { return None };
            let (path, found) = find(inner(), rest)?;
            Some((join(key.name, &path), found))
        }
    }
}

fn all_variables(block: &Block, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    for key in block.options() {
        let path = join(path, key.name);
        all.push(variable(&path));
        if let Kind::Block(inner) = key.kind {
            all.extend(all_variables(inner(), &path));
        }
    }
    all
}
