//! `include "file"` inserts the keys of another file.

use std::path::{Component, Path, PathBuf};

use super::cursor::{is_blank, is_line_end};
use super::limits::MAX_INCLUDE_DEPTH;
use super::parser::Parser;
use super::surroundings::Session;
use super::{Error, Fault, Map, Span, text};

/// Reads a whole file. `from` is the place of the include.
pub(super) fn file(
    path: &Path,
    session: &mut Session<'_>,
    from: Option<&Span>,
) -> Result<Map, Error> {
    let text = session.read(path).map_err(|source| match from {
        Some(span) => Error::Include { span: span.clone(), path: path.to_owned(), source },
        None => Error::Read { path: path.to_owned(), source },
    })?;
    session.files.push(path.to_owned());
    let map = Parser::new(&text, &path.to_string_lossy(), session)?.document()?;
    session.files.pop();
    Ok(map)
}

impl Parser<'_, '_, '_> {
    /// Parses the rest of an `include` after the keyword.
    pub(super) fn include(&mut self) -> Result<(), Error> {
        self.cursor.eat_while(is_blank);
        let place = self.cursor.place();
        let name = self.include_name()?;
        if name.is_empty() {
            return Err(self.cursor.error(place, Fault::IncludePath));
        }
        let path = beside(&self.file, &name);
        let fault = if self.session.files.contains(&path) {
            Some(Fault::IncludeCycle)
        } else if self.session.files.len() >= MAX_INCLUDE_DEPTH {
            Some(Fault::IncludesTooDeep)
        } else {
            self.session.add_include().err()
        };
        if let Some(fault) = fault {
            return Err(self.cursor.error(place, fault));
        }
        // An included file does not see the variables of the including one.
        let map = file(&path, self.session, Some(&self.cursor.span(place)))?;
        for entry in map.entries {
            self.set(entry);
        }
        Ok(())
    }

    fn include_name(&mut self) -> Result<String, Error> {
        match self.cursor.peek() {
            Some('\'' | '"') => return text::raw(&mut self.cursor),
            Some('[' | '{' | '(' | '-' | '\\' | '0'..='9') => {
                return Err(self.cursor.error_here(Fault::IncludePath));
            }
            _ => {}
        }
        let start = self.cursor.place();
        self.cursor
            .eat_while(|c| !matches!(c, ';' | '}' | '\'') && !is_line_end(c) && !is_blank(c));
        if self.cursor.peek() == Some('\'') {
            return Err(self.cursor.error_here(Fault::QuoteInBareString));
        }
        text::utf8(&self.cursor, start, self.cursor.since(start).to_vec())
    }
}

/// Joins the path as nats-server does: an absolute path is also looked up relative to the file's
/// directory, and `..` is resolved textually, without following links.
pub(super) fn beside(file: &str, name: &str) -> PathBuf {
    let mut path = PathBuf::new();
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let relative = Path::new(name).components().filter(|part| *part != Component::RootDir);
    for part in folder.components().chain(relative) {
        match (part, path.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                path.pop();
            }
            _ => path.push(part),
        }
    }
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}
