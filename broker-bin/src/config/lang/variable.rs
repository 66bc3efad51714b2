//! `$NAME`: a key above, or an environment variable.

use super::cursor::Place;
use super::limits::MAX_VARIABLE_DEPTH;
use super::parser::Parser;
use super::{Error, Fault, Value, text};

/// Prefix of a bcrypt hash after its `$`. Hashes need no quotes and are not variables.
const BCRYPT: &[u8] = b"2a$";

impl Parser<'_, '_, '_> {
    /// Resolves the variable `name`, whose `$` is at `place`.
    pub(super) fn variable(&mut self, place: Place, name: &[u8]) -> Result<Value, Error> {
        let name = text::utf8(&self.cursor, place, name.to_vec())?;
        if name.as_bytes().starts_with(BCRYPT) {
            return Ok(Value::String(format!("${name}")));
        }
        for scope in self.scopes.iter_mut().rev() {
            if let Some(entry) = scope.get_mut(&name) {
                entry.is_variable = true;
                let size = Size::of(&entry.node.value);
                self.session
                    .check_depth(size.depth)
                    .and_then(|()| self.session.add_values(size.values))
                    .and_then(|()| self.session.add_bytes(size.bytes))
                    .map_err(|fault| self.cursor.error(place, fault))?;
                return Ok(entry.node.value.clone());
            }
        }
        self.environment(place, name)
    }

    fn environment(&mut self, place: Place, name: String) -> Result<Value, Error> {
        if self.session.variables.contains(&name) {
            return Err(self.cursor.error(place, Fault::VariableCycle));
        }
        if self.session.variables.len() >= MAX_VARIABLE_DEPTH {
            return Err(self.cursor.error(place, Fault::VariablesTooDeep));
        }
        let held = if name.is_empty() { None } else { (self.session.surroundings.env)(&name) };
        let held = held.ok_or_else(|| self.cursor.error(place, Fault::VariableNotSet))?;
        self.session.variables.push(name);
        // A variable of the environment has no enclosing maps and no directory for includes.
        let value = Parser::new(held.as_bytes(), "", self.session)
            .and_then(Parser::lone_value)
            .map_err(|error| self.in_variable(place, error))?;
        self.session.variables.pop();
        Ok(value)
    }

    fn in_variable(&self, place: Place, error: Error) -> Error {
        match error {
            Error::Parse { span, fault } if span.file.is_empty() => {
                let fault = Box::new(fault);
                self.cursor.error(place, Fault::InVariable { column: span.column, fault })
            }
            Error::Include { span, path, source } if span.file.is_empty() => {
                Error::Include { span: self.cursor.span(place), path, source }
            }
            other => other,
        }
    }
}

/// The cost of copying a value.
#[derive(Default)]
struct Size {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        let mut size = Self { values: 1, bytes: 0, depth: 0 };
        match value {
            Value::String(text) => size.bytes = text.len(),
            Value::Array(nodes) => {
                size.depth = 1;
                nodes.iter().for_each(|node| size.add(&node.value));
            }
            Value::Map(map) => {
                size.depth = 1;
                for entry in &map.entries {
                    size.bytes += entry.key.len();
                    size.add(&entry.node.value);
                }
            }
            _ => {}
        }
        size
    }

    fn add(&mut self, child: &Value) {
        let child = Self::of(child);
        self.values += child.values;
        self.bytes += child.bytes;
        self.depth = self.depth.max(child.depth + 1);
    }
}
