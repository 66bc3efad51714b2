//! Keys, maps, arrays and documents.
//!
//! Keys occur in three contexts, each with its own rules: the top level, a block of braces around
//! (part of) the top level, which turns JSON into a file, and a map.

use std::sync::Arc;

use super::cursor::{Cursor, Place, is_blank, is_line_end};
use super::scope::Scope;
use super::surroundings::Session;
use super::text::{self, Bare};
use super::{Entry, Error, Fault, Map, Node, Value, number};

/// Parses one text; `session` is shared with all texts of the same configuration.
pub(super) struct Parser<'t, 's, 'a> {
    pub(super) cursor: Cursor<'t>,
    pub(super) session: &'s mut Session<'a>,
    /// The file name as given.
    pub(super) file: Arc<str>,
    /// The open maps, outermost first.
    pub(super) scopes: Vec<Scope>,
}

/// The context of a key.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Within {
    Top,
    Block,
    Map,
}

/// The state after a value.
enum Next {
    /// Another value may follow.
    More,
    /// The enclosing construct was closed.
    Closed,
}

impl<'t, 's, 'a> Parser<'t, 's, 'a> {
    pub(super) fn new(
        text: &'t [u8],
        file: &str,
        session: &'s mut Session<'a>,
    ) -> Result<Self, Error> {
        let file: Arc<str> = file.into();
        let mut cursor = Cursor::new(text, Arc::clone(&file));
        session.add_bytes(text.len()).map_err(|fault| cursor.error_here(fault))?;
        if cursor.peek() == Some('\u{feff}') {
            return Err(cursor.error_here(Fault::ByteOrderMark));
        }
        if text.contains(&0) {
            cursor.eat_while(|c| c != '\0');
            return Err(cursor.error_here(Fault::ZeroByte));
        }
        Ok(Self { cursor, session, file, scopes: Vec::new() })
    }

    /// Parses a whole text.
    pub(super) fn document(mut self) -> Result<Map, Error> {
        self.scopes.push(Scope::default());
        loop {
            self.cursor.eat_while(char::is_whitespace);
            match self.cursor.peek() {
                None => break,
                Some('{') => self.block()?,
                _ if self.comment()? => {}
                _ => match self.entry(Within::Top)? {
                    Next::More => self.end_of_top_value()?,
                    Next::Closed => break,
                },
            }
        }
        Ok(self.close_scope())
    }

    /// Parses a single value without trailing text, as in an environment variable.
    pub(super) fn lone_value(mut self) -> Result<Value, Error> {
        self.cursor.eat_while(is_blank);
        if self.cursor.peek().is_none() {
            return Ok(Value::String(String::new()));
        }
        let node = self.value(false)?;
        self.cursor.eat_while(char::is_whitespace);
        match self.cursor.peek() {
            None => Ok(node.value),
            Some(_) => Err(self.cursor.error_here(Fault::LoneValueGoesOn)),
        }
    }

    /// Adds an entry to the innermost map.
    pub(super) fn set(&mut self, entry: Entry) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.set(entry);
        }
    }

    /// Parses braces around keys of the top level.
    fn block(&mut self) -> Result<(), Error> {
        let open = self.enter()?;
        loop {
            self.cursor.eat_while(char::is_whitespace);
            let next = match self.cursor.peek() {
                None => return Err(self.unclosed_map(open)),
                Some('}') => break,
                Some('{') => {
                    self.block()?;
                    self.end_of_inner_block(open)?
                }
                _ if self.comment()? => Next::More,
                _ => {
                    self.entry(Within::Block)?;
                    self.end_of_map_value(open)?
                }
            };
            if matches!(next, Next::Closed) {
                break;
            }
        }
        self.leave();
        Ok(())
    }

    fn map(&mut self) -> Result<Map, Error> {
        let open = self.enter()?;
        self.scopes.push(Scope::default());
        loop {
            self.cursor.eat_while(char::is_whitespace);
            let next = match self.cursor.peek() {
                None => return Err(self.unclosed_map(open)),
                Some('}') => break,
                Some(']') => return Err(self.cursor.error_here(Fault::ArrayEndInMap)),
                _ if self.comment()? => Next::More,
                _ => {
                    self.entry(Within::Map)?;
                    self.end_of_map_value(open)?
                }
            };
            if matches!(next, Next::Closed) {
                break;
            }
        }
        self.leave();
        Ok(self.close_scope())
    }

    fn array(&mut self) -> Result<Vec<Node>, Error> {
        let open = self.enter()?;
        let mut nodes = Vec::new();
        loop {
            self.cursor.eat_while(char::is_whitespace);
            match self.cursor.peek() {
                None => return Err(self.unclosed_array(open)),
                Some(']') => break,
                Some(',') => return Err(self.cursor.error_here(Fault::LoneComma)),
                _ if self.comment()? => continue,
                _ => nodes.push(self.value(true)?),
            }
            if matches!(self.end_of_array_value(open)?, Next::Closed) {
                break;
            }
        }
        self.leave();
        nodes.shrink_to_fit();
        Ok(nodes)
    }

    /// Parses a key and its value, or an `include`. Returns [`Next::Closed`] at the end of the
    /// text, if that is allowed.
    fn entry(&mut self, within: Within) -> Result<Next, Error> {
        let start = self.cursor.place();
        let Some(key) = self.key(within)? else {
            self.include()?;
            return Ok(Next::More);
        };
        self.cursor.eat_while(char::is_whitespace);
        if self.cursor.peek().is_none() {
            // A superfluous closing brace at the end of the file is accepted.
            return if key == "}" && within == Within::Top {
                Ok(Next::Closed)
            } else {
                Err(self.cursor.error(start, Fault::NoValue))
            };
        }
        if self.cursor.eat('=') || self.cursor.eat(':') {
            self.cursor.eat_while(if within == Within::Map {
                char::is_whitespace
            } else {
                is_blank
            });
        }
        match self.cursor.peek() {
            None => return Err(self.cursor.error(start, Fault::NoValue)),
            Some('}') if within == Within::Map => {
                return Err(self.cursor.error(start, Fault::NoValue));
            }
            Some(',') if within == Within::Map => {
                return Err(self.cursor.error_here(Fault::LoneComma));
            }
            _ => {}
        }
        let node = self.value(false)?;
        let span = self.cursor.span(start);
        self.set(Entry { key, span, node, is_variable: false });
        Ok(Next::More)
    }

    /// Parses a key; `None` for the keyword `include`.
    fn key(&mut self, within: Within) -> Result<Option<String>, Error> {
        let start = self.cursor.place();
        match self.cursor.peek() {
            Some('=' | ':') => return Err(self.cursor.error_here(Fault::NoKey)),
            Some('"' | '\'') => return text::raw(&mut self.cursor).map(Some),
            _ => {}
        }
        self.cursor.eat_while(|c| !matches!(c, '=' | ':') && !c.is_whitespace());
        let key = self.cursor.since(start);
        let next = self.cursor.peek();
        if key.eq_ignore_ascii_case(b"include") && next.is_some_and(char::is_whitespace) {
            return Ok(None);
        }
        if next.is_none() && within == Within::Map {
            return Err(self.cursor.error(start, Fault::NoValue));
        }
        text::utf8(&self.cursor, start, key.to_vec()).map(Some)
    }

    fn value(&mut self, in_array: bool) -> Result<Node, Error> {
        self.session.add_values(1).map_err(|fault| self.cursor.error_here(fault))?;
        let start = self.cursor.place();
        let value = match self.cursor.peek() {
            Some('[') => Value::Array(self.array()?),
            Some('{') => Value::Map(self.map()?),
            Some('\'') => Value::String(text::raw(&mut self.cursor)?),
            Some('"') => Value::String(text::escaped(&mut self.cursor)?),
            Some('(') => Value::String(text::block(&mut self.cursor)?),
            Some('.') => return Err(self.cursor.error_here(Fault::DecimalPoint)),
            Some('-' | '0'..='9') => match number::number(&mut self.cursor, in_array)? {
                Some(value) => value,
                None => self.bare(start)?,
            },
            Some(c) if is_line_end(c) => {
                return Err(self.cursor.error_here(Fault::ValueInSameLine));
            }
            _ => self.bare(start)?,
        };
        Ok(Node { value, span: self.cursor.span(start) })
    }

    /// Parses an unquoted value that began at `start`.
    fn bare(&mut self, start: Place) -> Result<Value, Error> {
        let Bare { bytes, has_escapes } = text::bare(&mut self.cursor, start)?;
        if !has_escapes {
            if let Some(value) = boolean(&bytes) {
                return Ok(Value::Bool(value));
            }
            if let Some(name) = bytes.strip_prefix(b"$") {
                return self.variable(start, name);
            }
        }
        text::utf8(&self.cursor, start, bytes).map(Value::String)
    }

    /// Skips a comment up to the line end, if one follows.
    fn comment(&mut self) -> Result<bool, Error> {
        match self.cursor.peek() {
            Some('/') if !self.cursor.looking_at("//") => {
                Err(self.cursor.error_here(Fault::LoneSlash))
            }
            Some('#' | '/') => {
                self.cursor.eat_while(|c| !is_line_end(c));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn blanks_and_comments(&mut self) -> Result<(), Error> {
        loop {
            self.cursor.eat_while(is_blank);
            if !self.comment()? {
                return Ok(());
            }
        }
    }

    fn end_of_top_value(&mut self) -> Result<(), Error> {
        self.blanks_and_comments()?;
        match self.cursor.peek() {
            // A superfluous closing brace is accepted.
            None | Some('\n' | '\r' | ';' | ',' | '}') => {
                self.cursor.bump();
                Ok(())
            }
            Some(_) => Err(self.cursor.error_here(Fault::ValueGoesOn)),
        }
    }

    fn end_of_inner_block(&mut self, open: Place) -> Result<Next, Error> {
        self.cursor.eat_while(|c| is_blank(c) || is_line_end(c));
        if self.comment()? {
            return Ok(Next::More);
        }
        match self.cursor.peek() {
            Some(';' | ',') => {
                self.cursor.bump();
                Ok(Next::More)
            }
            Some('}') => Ok(Next::Closed),
            Some(_) => Err(self.cursor.error_here(Fault::BlockGoesOn)),
            None => Err(self.unclosed_map(open)),
        }
    }

    fn end_of_map_value(&mut self, open: Place) -> Result<Next, Error> {
        self.blanks_and_comments()?;
        match self.cursor.peek() {
            Some('\n' | '\r' | ';' | ',') => {
                self.cursor.bump();
                Ok(Next::More)
            }
            Some('}') => Ok(Next::Closed),
            Some(_) => Err(self.cursor.error_here(Fault::MapValueGoesOn)),
            None => Err(self.unclosed_map(open)),
        }
    }

    fn end_of_array_value(&mut self, open: Place) -> Result<Next, Error> {
        self.blanks_and_comments()?;
        match self.cursor.peek() {
            Some('\n' | '\r' | ',') => {
                self.cursor.bump();
                Ok(Next::More)
            }
            Some(']') => Ok(Next::Closed),
            Some(_) => Err(self.cursor.error_here(Fault::ArrayValueGoesOn)),
            None => Err(self.unclosed_array(open)),
        }
    }

    /// Takes an opening bracket and enters a level.
    fn enter(&mut self) -> Result<Place, Error> {
        let open = self.cursor.place();
        self.session.enter().map_err(|fault| self.cursor.error(open, fault))?;
        self.cursor.bump();
        Ok(open)
    }

    /// Takes a closing bracket and leaves a level.
    fn leave(&mut self) {
        self.session.leave();
        self.cursor.bump();
    }

    fn close_scope(&mut self) -> Map {
        self.scopes.pop().unwrap_or_default().into_map()
    }

    fn unclosed_map(&self, open: Place) -> Error {
        self.cursor.error(open, Fault::Unclosed("a map", "`}`"))
    }

    fn unclosed_array(&self, open: Place) -> Error {
        self.cursor.error(open, Fault::Unclosed("an array", "`]`"))
    }
}

fn boolean(word: &[u8]) -> Option<bool> {
    let is_any_of =
        |words: [&str; 3]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    if is_any_of(["true", "yes", "on"]) {
        Some(true)
    } else if is_any_of(["false", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}
