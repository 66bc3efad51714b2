//! The options of one source, in figment's form.

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Map as Profiles, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::problem::Origin;

/// The validated options of one source, under canonical names.
#[derive(Clone, Default)]
pub struct Layer {
    /// The source's name in figment.
    name: String,
    values: Dict,
    origins: BTreeMap<String, Origin>,
}

/// `Debug` shows the names of the options, not their values.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layer").field(&self.name).field(&self.origins.keys()).finish()
    }
}

impl Layer {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(crate) fn with(
        name: impl Into<String>,
        values: Dict,
        origins: BTreeMap<String, Origin>,
    ) -> Self {
        Self { name: name.into(), values, origins }
    }

    /// Sets one option by its path, such as `cluster.name`.
    pub(crate) fn set(&mut self, path: &str, value: Value, origin: Origin) {
        let mut dict = &mut self.values;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                dict.insert(name.to_owned(), value);
                break;
            }
            let inner = dict.entry(name.to_owned()).or_insert_with(|| Dict::new().into());
            if !matches!(inner, Value::Dict(..)) {
                *inner = Dict::new().into();
            }
            let Value::Dict(_, inner) = inner else { break };
            dict = inner;
        }
        self.origins.insert(path.to_owned(), origin);
    }

    /// Removes one option by its path.
    pub(crate) fn unset(&mut self, path: &str) {
        let (block, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut dict = Some(&mut self.values);
        for inner in block.split('.').filter(|inner| !inner.is_empty()) {
            dict = dict.and_then(|dict| match dict.get_mut(inner) {
                Some(Value::Dict(_, inner)) => Some(inner),
                _ => None,
            });
        }
        if let Some(dict) = dict {
            dict.remove(name);
        }
        self.origins.remove(path);
    }

    /// Ensures that a block exists, even if it is empty.
    pub(crate) fn open(&mut self, block: &str, origin: Origin) {
        self.values.entry(block.to_owned()).or_insert_with(|| Dict::new().into());
        self.origins.entry(block.to_owned()).or_insert(origin);
    }

    /// The origins of its values, by path.
    pub(crate) fn origins(&self) -> &BTreeMap<String, Origin> {
        &self.origins
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Profiles<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_block_are_set_beside_each_other() {
        let mut layer = Layer::new("test");
        for (path, value) in [("a.b.c", 1), ("a.b.d", 2), ("e", 3)] {
            layer.set(path, value.into(), Origin::Nowhere);
        }
        let figment = figment::Figment::from(layer);
        for (path, value) in [("a.b.c", 1), ("a.b.d", 2), ("e", 3)] {
            assert_eq!(figment.extract_inner::<i64>(path).unwrap(), value);
        }
    }

    #[test]
    fn debug_prints_no_value() {
        let mut layer = Layer::new("test");
        layer.set("authorization.password", "marker".into(), Origin::Nowhere);
        let shown = format!("{layer:?}");
        assert!(shown.contains("authorization.password") && !shown.contains("marker"), "{shown}");
    }
}
