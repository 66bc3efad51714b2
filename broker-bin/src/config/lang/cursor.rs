//! Reads a text character by character and tracks the position.

use std::sync::Arc;

use super::{Error, Fault, Span};

/// A position in the current text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    byte: usize,
    line: u32,
    column: u32,
}

/// The text and the current position.
///
/// Invalid UTF-8 is read as U+FFFD, so that it may occur in comments.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    file: Arc<str>,
    at: Place,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8], file: Arc<str>) -> Self {
        Self { text, file, at: Place { byte: 0, line: 1, column: 1 } }
    }

    /// Takes the next character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let (next, width) = self.decode()?;
        self.step(next, width);
        Some(next)
    }

    fn step(&mut self, over: char, width: usize) {
        self.at.byte += width;
        if over == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
    }

    /// Takes the next character if it equals `expected`.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn eat_while(&mut self, mut wanted: impl FnMut(char) -> bool) {
        while let Some((next, width)) = self.decode()
            && wanted(next)
        {
            self.step(next, width);
        }
    }

    /// Returns to `place`.
    pub(super) fn rewind(&mut self, place: Place) {
        self.at = place;
    }

    /// Returns the next character without taking it.
    pub(super) fn peek(&self) -> Option<char> {
        self.decode().map(|(next, _)| next)
    }

    /// Returns true if `text` follows.
    pub(super) fn looking_at(&self, text: &str) -> bool {
        self.text[self.at.byte..].starts_with(text.as_bytes())
    }

    pub(super) fn place(&self) -> Place {
        self.at
    }

    /// Returns the bytes read since `start`.
    pub(super) fn since(&self, start: Place) -> &'a [u8] {
        &self.text[start.byte..self.at.byte]
    }

    pub(super) fn span(&self, place: Place) -> Span {
        Span { file: Arc::clone(&self.file), line: place.line, column: place.column }
    }

    pub(super) fn error(&self, place: Place, fault: Fault) -> Error {
        Error::Parse { span: self.span(place), fault }
    }

    /// Reports `fault` at the current position.
    pub(super) fn error_here(&self, fault: Fault) -> Error {
        self.error(self.at, fault)
    }

    #[inline]
    fn decode(&self) -> Option<(char, usize)> {
        let first = *self.text.get(self.at.byte)?;
        if first.is_ascii() {
            return Some((char::from(first), 1));
        }
        self.decode_wide()
    }

    fn decode_wide(&self) -> Option<(char, usize)> {
        let rest = &self.text[self.at.byte..];
        let chunk = rest[..rest.len().min(4)].utf8_chunks().next()?;
        let whole = chunk.valid().chars().next();
        Some(whole.map_or((char::REPLACEMENT_CHARACTER, 1), |found| (found, found.len_utf8())))
    }
}

/// Blanks within a line. Other whitespace, such as a no-break space, belongs to a string.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}
