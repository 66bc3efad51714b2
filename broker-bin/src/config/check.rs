//! Validates the contents of one source against the table of options: reports unknown names and
//! invalid values with their places, and returns the rest under canonical names as plain values.
//!
//! Validation continues after an error, so that one run reports all of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use figment::value::{Dict, Empty, Tag, Value as Plain};

use super::duration;
use super::format::Format;
use super::kind::{Bare, Kind};
use super::lang::{Entry, Map, Node, Span, Value};
use super::nearest::nearest;
use super::path::Path;
use super::problem::{Findings, Origin};
use super::table::{Block, Key, Meaning};

/// A reader for lists of some kinds of blocks. The check passes it each validated block, and stores a
/// number in place of the list.
pub(crate) trait ListReader: Debug {
    /// Returns true if this reader takes lists of `block`.
    fn reads(&self, block: &'static Block) -> bool;

    /// Begins a list. A list that was begun but not ended is dropped.
    fn begin(&mut self, block: &'static Block, capacity: usize);

    /// Appends a validated block to the list.
    fn read(&mut self, values: Dict, path: Path<'_>) -> Result<(), Unusable>;

    /// Completes the list and returns the value that represents it.
    fn end(&mut self) -> Plain;
}

/// Validated values do not fit the options, which means that the table is wrong. The deserializer's
/// message is omitted because it quotes values.
#[derive(Debug, thiserror::Error)]
#[error("the configuration does not fit natsd's own table of options: this is a bug of natsd")]
pub(crate) struct Unusable;

/// Validates the contents of one source.
#[derive(Debug, Default)]
pub(crate) struct Check<'a> {
    pub(crate) findings: Findings,
    pub(crate) origins: BTreeMap<String, Origin>,
    /// Reads some of the lists. With a reader, no origins are recorded: they take more memory than
    /// all values, and are needed only to report errors in a file.
    list_reader: Option<&'a mut dyn ListReader>,
    /// For sources without spans (environment, command line): the origin of the value and the path
    /// of its option.
    fixed: Option<(Origin, String)>,
}

impl<'a> Check<'a> {
    /// Creates a check for a file or another source with spans.
    pub(crate) fn file() -> Self {
        Self::default()
    }

    /// Creates a check for a file of which `reader` takes some lists.
    pub(crate) fn file_with_lists(reader: &'a mut dyn ListReader) -> Self {
        Self { list_reader: Some(reader), ..Self::default() }
    }

    /// Creates a check for a single value of another source.
    pub(crate) fn value_from(origin: Origin, path: &str) -> Self {
        Self { fixed: Some((origin, path.to_owned())), ..Self::default() }
    }

    fn at(&self, span: &Span) -> Origin {
        match &self.fixed {
            Some((origin, _)) => origin.clone(),
            None => Origin::File(span.clone()),
        }
    }

    fn note_origin(&mut self, path: Path<'_>, span: &Span) {
        if self.list_reader.is_none() {
            let origin = self.at(span);
            self.origins.insert(path.to_string(), origin);
        }
    }

    fn refuse(&mut self, node: &Node, path: Path<'_>, expected: &str) {
        self.expected(node, path, expected, node.value.kind());
    }

    /// Like `refuse`, if the type may be valid and only the value is wrong.
    fn refuse_value(&mut self, kind: Kind, node: &Node, path: Path<'_>) {
        let found = match (kind, &node.value) {
            (
                Kind::Integer { .. }
                | Kind::Size { .. }
                | Kind::Port
                | Kind::Duration { bare: Bare::Deprecated | Bare::Seconds, .. },
                Value::Integer(_),
            ) => "another integer",
            (
                Kind::Storage
                | Kind::Duration { .. }
                | Kind::Lifetime
                | Kind::Text(_)
                | Kind::Spelled(_)
                | Kind::List(_)
                | Kind::Choice(_),
                Value::String(_),
            ) => "another string",
            (_, value) => value.kind(),
        };
        self.expected(node, path, &kind.expects(), found);
    }

    fn expected(&mut self, node: &Node, path: Path<'_>, expected: &str, found: &str) {
        let path = path.to_string();
        let what = match &self.fixed {
            Some((_, whole)) if *whole == path => format!("expected {expected}"),
            _ => format!("{path}: expected {expected}, found {found}"),
        };
        self.findings.error(self.at(&node.span), what);
    }

    /// Validates the contents of a block.
    pub(crate) fn block(&mut self, block: &Block, map: &Map, path: Path<'_>) -> Dict {
        let mut dict = Dict::new();
        // The keys that are set, as known and as written. Few, so that they are searched one by one.
        let mut set: Vec<(&'static str, &str)> = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let Some(key) = block.key(&entry.key) else {
                if !entry.is_variable {
                    self.unknown(block, entry);
                }
                continue;
            };
            let path = path.name(key.name);
            let before = set.iter_mut().find(|(name, _)| *name == key.name);
            if let Some((_, before)) = before {
                let before = std::mem::replace(before, &entry.key);
                let what = if before == entry.key {
                    format!("{path}: set twice; the later counts")
                } else {
                    format!("{path}: set twice, as {before} and {}; the later counts", entry.key)
                };
                self.findings.warn(self.at(&entry.span), what);
            } else {
                set.push((key.name, &entry.key));
            }
            self.value(key, &entry.node, path, &mut dict);
        }
        for key in block.options().filter(|key| !key.implies.is_empty()) {
            if dict.get(key.name).and_then(Plain::to_bool) == Some(true) {
                for implied in key.implies {
                    dict.entry((*implied).to_owned()).or_insert_with(|| true.into());
                }
            }
        }
        dict
    }

    // NATS 2.14: errors.go, unknownConfigFieldErr.
    fn unknown(&mut self, block: &Block, entry: &Entry) {
        let known = block.options().flat_map(Key::names);
        let mut what = format!("unknown field {:?}", entry.key);
        if let Some(meant) = nearest(&entry.key, known) {
            what += &format!("; did you mean {meant:?}?");
        }
        self.findings.error(self.at(&entry.span), what);
    }

    /// Adds the value of an option, and the switches that it implies, to `dict`.
    pub(crate) fn value(
        &mut self,
        key: &'static Key,
        node: &Node,
        path: Path<'_>,
        dict: &mut Dict,
    ) {
        if let Kind::Listen { host, port } = key.kind {
            self.listen(node, path, host, port, dict);
            return;
        }
        if let Some(plain) = self.plain(key.kind, node, path) {
            self.note_origin(path, &node.span);
            dict.insert(key.name.to_owned(), plain);
        }
    }

    fn listen(
        &mut self,
        node: &Node,
        path: Path<'_>,
        host_key: &str,
        port_key: &str,
        dict: &mut Dict,
    ) {
        // NATS 2.14: opts.go parseListen. A port alone leaves the host at its default.
        let split = match &node.value {
            Value::Integer(port) => Some(("", *port)),
            Value::String(text) => host_and_port(text),
            _ => None,
        };
        let Some((host, port)) = split.filter(|(_, port)| PORTS.contains(port)) else {
            let found = match node.value {
                Value::Integer(_) => "another integer",
                Value::String(_) => "another string",
                ref value => value.kind(),
            };
            return self.expected(node, path, "\"host:port\" or a port", found);
        };
        for (key, value) in [(host_key, Plain::from(host)), (port_key, Plain::from(port))] {
            dict.insert(key.to_owned(), value);
            self.note_origin(Path::Text(&path.sibling(key)), &node.span);
        }
    }

    fn plain(&mut self, kind: Kind, node: &Node, path: Path<'_>) -> Option<Plain> {
        let plain = match (kind, &node.value) {
            (Kind::Bool, Value::Bool(on)) => Some(Plain::from(*on)),
            (Kind::Integer { min, max } | Kind::Size { min, max }, Value::Integer(number)) => {
                (min..=max).contains(number).then(|| Plain::from(*number))
            }
            (Kind::Storage, Value::Integer(number)) => Some(Plain::from(*number)),
            (Kind::Storage, Value::String(text)) => storage(text).map(Plain::from),
            (Kind::Port, Value::Integer(port)) => PORTS.contains(port).then(|| Plain::from(*port)),
            (Kind::Duration { bare, min }, value) => self
                .duration(bare, value, &node.span, path)
                .filter(|duration| *duration >= min)
                .and_then(|duration| Plain::serialize(duration).ok()),
            (Kind::Lifetime, Value::String(text)) => match duration::parse(text) {
                Ok((true, _)) => Some(Plain::from(Empty::None)),
                Ok((false, duration)) => Plain::serialize(duration).ok(),
                Err(_) => None,
            },
            (Kind::Text(format), Value::String(text)) => {
                format.fits(text).then(|| Plain::from(text.as_str()))
            }
            (Kind::Spelled(format), value) => {
                let text = match value {
                    Value::Bool(on) => on.to_string(),
                    Value::Integer(number) => number.to_string(),
                    Value::String(text) => text.clone(),
                    _ => String::new(),
                };
                format.fits(&text).then(|| Plain::from(text))
            }
            (Kind::Choice(words), Value::String(text)) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                found.map(|word| Plain::from(*word))
            }
            (Kind::List(format), Value::String(text)) => {
                format.fits(text).then(|| Plain::from(vec![text.as_str()]))
            }
            (Kind::List(format), Value::Array(items)) => {
                return self.items(Kind::Text(format), items, path);
            }
            (Kind::Choices(words), Value::Array(items)) => {
                return self.items(Kind::Choice(words), items, path);
            }
            (Kind::Texts, Value::Map(map)) => {
                return self.entries(Kind::Text(Format::Any), Format::Any, map, path);
            }
            (Kind::Switches, Value::Map(map)) => {
                return self.entries(Kind::Bool, Format::Any, map, path);
            }
            (Kind::Block(block), value) => return self.one_block(block(), value, node, path),
            (Kind::Blocks(block), Value::Array(items))
                if self.list_reader.as_ref().is_some_and(|reader| reader.reads(block())) =>
            {
                return self.read_list(block, items, path);
            }
            (Kind::Blocks(block), Value::Array(items)) => {
                return self.items(Kind::Block(block), items, path);
            }
            // NATS 2.14: opts.go parseAccounts: a list of names declares empty accounts.
            (Kind::Named { name, block }, Value::Array(items)) => {
                return self.names(name, block, items, path);
            }
            (Kind::Named { name, block }, Value::Map(map)) => {
                return self.entries(Kind::Block(block), name, map, path);
            }
            (Kind::NamedLists { name, block }, Value::Map(map)) => {
                return self.entries(Kind::Blocks(block), name, map, path);
            }
            _ => None,
        };
        if plain.is_none() {
            self.refuse_value(kind, node, path);
        }
        plain
    }

    fn duration(
        &mut self,
        bare: Bare,
        value: &Value,
        span: &Span,
        path: Path<'_>,
    ) -> Option<Duration> {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        let duration = match (value, bare) {
            (Value::String(text), _) => match duration::parse(text) {
                Ok((false, duration)) => Some(duration),
                _ => None,
            },
            (Value::Integer(number), Bare::Deprecated) => {
                // NATS 2.14: opts.go parseDuration, with the same wording.
                let name = path.last();
                let what = format!(
                    "invalid use of field {name:?}: {name} should be converted to a duration"
                );
                self.findings.warn(self.at(span), what);
                u64::try_from(*number).ok().map(Duration::from_secs)
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds in the billions may be off by one"
            )]
            (Value::Integer(number), Bare::Seconds) => seconds(*number as f64),
            (Value::Float(number), Bare::Seconds) => seconds(*number),
            _ => None,
        };
        // Go's durations end at 292 years; a longer one would also overflow clock arithmetic.
        duration.filter(|duration| i64::try_from(duration.as_nanos()).is_ok())
    }

    fn items(&mut self, kind: Kind, items: &[Node], path: Path<'_>) -> Option<Plain> {
        let before = self.findings.errors.len();
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = path.item(index);
            self.note_origin(path, &item.span);
            list.extend(self.plain(kind, item, path));
        }
        (self.findings.errors.len() == before).then(|| list.into())
    }

    /// Passes the blocks to the reader one by one. As values, 100,000 users take ten times the
    /// memory.
    fn read_list(
        &mut self,
        block: fn() -> &'static Block,
        items: &[Node],
        path: Path<'_>,
    ) -> Option<Plain> {
        let before = self.findings.errors.len();
        self.list_reader.as_mut()?.begin(block(), items.len());
        for (index, item) in items.iter().enumerate() {
            let path = path.item(index);
            let plain = self.plain(Kind::Block(block), item, path);
            if let (Some(Plain::Dict(_, dict)), Some(reader)) = (plain, &mut self.list_reader)
                && let Err(Unusable) = reader.read(dict, path)
            {
                self.findings.error(Origin::Nowhere, Unusable.to_string());
            }
        }
        let is_right = self.findings.errors.len() == before;
        is_right.then(|| self.list_reader.as_mut().map(|reader| reader.end()))?
    }

    fn names(
        &mut self,
        format: Format,
        block: fn() -> &'static Block,
        items: &[Node],
        path: Path<'_>,
    ) -> Option<Plain> {
        let mut dict = Dict::new();
        for item in items {
            match &item.value {
                Value::String(name) if format.fits(name) => {
                    let empty = self.block(block(), &Map::default(), path);
                    if dict.insert(name.clone(), plain_dict(empty)).is_some() {
                        self.findings.error(self.at(&item.span), format!("{path}: {name:?} twice"));
                    }
                }
                _ => self.refuse(item, path, "a name"),
            }
        }
        Some(plain_dict(dict))
    }

    /// Validates values under names that the user chooses.
    fn entries(&mut self, kind: Kind, name: Format, map: &Map, path: Path<'_>) -> Option<Plain> {
        let mut dict = Dict::new();
        for entry in &map.entries {
            // NATS 2.14: opts.go parseAccounts. In other blocks, the value of a variable is kept as
            // a value too.
            if entry.is_variable && matches!(kind, Kind::Block(_)) {
                continue;
            }
            if !name.fits(&entry.key) {
                let origin = self.at(&entry.span);
                self.findings.error(origin, format!("{path}: {:?} is no name for it", entry.key));
                continue;
            }
            let path = path.name(&entry.key);
            self.note_origin(path, &entry.span);
            // A single block in place of an array of blocks.
            let single = match (kind, &entry.node.value) {
                (Kind::Blocks(block), Value::Map(_) | Value::String(_)) => Some(Kind::Block(block)),
                _ => None,
            };
            let plain = match single {
                Some(kind) => self.plain(kind, &entry.node, path).map(|one| Plain::from(vec![one])),
                None => self.plain(kind, &entry.node, path),
            };
            dict.extend(plain.map(|plain| (entry.key.clone(), plain)));
        }
        Some(plain_dict(dict))
    }

    fn one_block(
        &mut self,
        block: &'static Block,
        value: &Value,
        node: &Node,
        path: Path<'_>,
    ) -> Option<Plain> {
        if let Value::Map(map) = value {
            return Some(plain_dict(self.block(block, map, path)));
        }
        match block.short.map(|short| (short.read)(node)) {
            Some(Meaning::Is(map)) => Some(plain_dict(self.block(block, &map, path))),
            Some(Meaning::Unset) => None,
            Some(Meaning::Unknown) | None => {
                self.refuse(node, path, block.short.map_or("a map", |short| short.expects));
                None
            }
        }
    }
}

const PORTS: std::ops::RangeInclusive<i64> = -1..=65_535;

pub(crate) fn join(block: &str, name: &str) -> String {
    if block.is_empty() { name.to_owned() } else { format!("{block}.{name}") }
}

/// `Plain::from` would build the map again.
pub(crate) fn plain_dict(dict: Dict) -> Plain {
    Plain::Dict(Tag::Default, dict)
}

/// Splits `host:1`, `[::1]:1` or `:1`.
fn host_and_port(text: &str) -> Option<(&str, i64)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

/// NATS 2.14: opts.go getStorageSize: upper case only, powers of 1024.
fn storage(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let (number, unit) = text.split_at_checked(text.len() - 1)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}
