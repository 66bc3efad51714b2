//! Post-processing of the merged sources: removes values that request defaults, and finds values
//! that request unimplemented parts.

use figment::value::{Dict, Value as Plain};

use super::kind::Kind;
use super::path::Path;
use super::table::{Block, Key, Status};

/// Removes values that request defaults (empty texts and some zeros), and replaces the port number
/// that requests any free port.
pub(crate) fn settle(block: &Block, dict: &mut Dict) {
    dict.retain(|name, value| {
        let Some(key) = block.keys.iter().find(|key| key.name == *name) else { return true };
        if (key.zero_is_default && is_zero(value)) || value.as_str() == Some("") {
            return false;
        }
        // Only the client port has a default, so only there 0 is available for this.
        if matches!(key.kind, Kind::Port) && key.zero_is_default && number(value) == Some(-1) {
            *value = Plain::from(0);
        }
        if let Some(inner) = key.kind.block() {
            each_block(key.kind, value, &mut |dict| settle(inner, dict));
        }
        true
    });
}

fn each_block(kind: Kind, value: &mut Plain, settle: &mut dyn FnMut(&mut Dict)) {
    match (kind, value) {
        (Kind::Block(_), Plain::Dict(_, dict)) => settle(dict),
        (Kind::Blocks(block), Plain::Array(_, items)) => {
            items.iter_mut().for_each(|item| each_block(Kind::Block(block), item, settle));
        }
        (Kind::Named { block, .. }, Plain::Dict(_, dict)) => {
            dict.values_mut().for_each(|item| each_block(Kind::Block(block), item, settle));
        }
        (Kind::NamedLists { block, .. }, Plain::Dict(_, dict)) => {
            dict.values_mut().for_each(|item| each_block(Kind::Blocks(block), item, settle));
        }
        _ => {}
    }
}

/// Returns true for the number zero or a duration of zero.
fn is_zero(value: &Plain) -> bool {
    match value {
        Plain::Dict(_, parts) => !parts.is_empty() && parts.values().all(is_zero),
        value => number(value) == Some(0),
    }
}

/// Returns any integer, regardless of its type.
pub(crate) fn number(value: &Plain) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128()?.try_into().ok())
}

/// A value that requests an unimplemented part.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The path of the option.
    pub(crate) path: String,
    pub(crate) part: &'static str,
    /// The warning, if the option is ignored with a warning only.
    pub(crate) passed_over: Option<&'static str>,
}

/// Collects the values that request unimplemented parts.
pub(crate) fn not_yet(block: &Block, dict: &Dict, path: Path<'_>, found: &mut Vec<Missing>) {
    for key in block.options().filter(|key| may_be_missing(key)) {
        let Some(value) = dict.get(key.name) else { continue };
        let path = path.name(key.name);
        if let Status::NotYet(part) = key.status {
            if !is_off(key.kind, value) {
                let passed_over = key.passed_over.filter(|over| (over.is)(value));
                let path = path.to_string();
                found.push(Missing { path, part, passed_over: passed_over.map(|over| over.so) });
            }
            continue;
        }
        let Some(inner) = key.kind.block() else { continue };
        match (key.kind, value) {
            (Kind::Block(_), Plain::Dict(_, dict)) => not_yet(inner, dict, path, found),
            (Kind::Blocks(_), Plain::Array(_, items)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Plain::Dict(_, dict) = item {
                        not_yet(inner, dict, path.item(index), found);
                    }
                }
            }
            (Kind::Named { .. }, Plain::Dict(_, dict)) => {
                for (name, item) in dict {
                    if let Plain::Dict(_, dict) = item {
                        not_yet(inner, dict, path.name(name), found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns true if the option requests an unimplemented part, or contains options that may.
fn may_be_missing(key: &Key) -> bool {
    matches!(key.status, Status::NotYet(_)) || key.kind.block().is_some()
}

/// Returns true if a value requests nothing.
fn is_off(kind: Kind, value: &Plain) -> bool {
    match (kind, value) {
        (Kind::Block(block), Plain::Dict(_, dict)) => (block().is_off)(dict),
        (_, Plain::Dict(_, dict)) => dict.is_empty(),
        (_, Plain::Array(_, items)) => items.is_empty(),
        (_, Plain::String(_, text)) => text.is_empty(),
        (_, Plain::Bool(_, on)) => !on,
        (_, value) => is_zero(value),
    }
}
