//! Syntax: text to a tree.

use crate::go::quoted_char;

/// The deepest nesting. (Go allows 10,000, with a stack that grows.)
const MAX_DEPTH: usize = 200;

/// A value and its text.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) raw: &'a [u8],
    pub(super) value: Value<'a>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number,
    String(String),
    Array(Vec<Node<'a>>),
    Object(Vec<(String, Node<'a>)>),
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum SyntaxError {
    /// The text ends within a value, or before it.
    End,
    /// A character that is not allowed; the offset is the number of bytes up to it, inclusive.
    Character { text: String, offset: usize },
}

/// Reads values one after the other.
// Go: encoding/json scanner.go.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Skips white space and returns true if nothing else is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// Returns the error for a character after a value that nothing may follow.
    pub(super) fn trailing(&self) -> SyntaxError {
        self.refuse("after top-level value")
    }

    pub(super) fn value(&mut self) -> Result<Node<'a>, SyntaxError> {
        self.skip_space();
        let begin = self.at;
        let value = match self.peek()? {
            b'{' => self.nested(Self::object)?,
            b'[' => self.nested(Self::array)?,
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal("true", Value::Bool(true))?,
            b'f' => self.literal("false", Value::Bool(false))?,
            b'n' => self.literal("null", Value::Null)?,
            _ => return Err(self.refuse("looking for beginning of value")),
        };
        Ok(Node { raw: &self.text[begin..self.at], value })
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value<'a>, SyntaxError>,
    ) -> Result<Value<'a>, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse("exceeded max depth"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value<'a>, SyntaxError> {
        let mut items = Vec::new();
        if self.ends_with(b']')? {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.refuse("after array element")),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Result<Value<'a>, SyntaxError> {
        let mut members = Vec::new();
        if self.ends_with(b'}')? {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek()? != b'"' {
                return Err(self.refuse("looking for beginning of object key string"));
            }
            let name = self.string()?;
            self.skip_space();
            if self.peek()? != b':' {
                return Err(self.refuse("after object key"));
            }
            self.at += 1;
            members.push((name, self.value()?));
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.refuse("after object key:value pair")),
            }
        }
        self.at += 1;
        Ok(Value::Object(members))
    }

    /// Skips white space, and `end` if it follows.
    fn ends_with(&mut self, end: u8) -> Result<bool, SyntaxError> {
        self.skip_space();
        let ends = self.peek()? == end;
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn literal(&mut self, text: &str, value: Value<'a>) -> Result<Value<'a>, SyntaxError> {
        for expected in text.bytes() {
            if self.peek()? != expected {
                let expected = char::from(expected);
                return Err(self.refuse(&format!("in literal {text} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>, SyntaxError> {
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits("in numeric literal")?,
            _ => return Err(self.refuse("in numeric literal")),
        }
        if self.next_is(b".") {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            self.peek()?;
            if self.next_is(b"+-") {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(Value::Number)
    }

    /// Skips one or more digits.
    fn digits(&mut self, context: &str) -> Result<(), SyntaxError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(self.refuse(context));
        }
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let plain = &self.text[self.at..];
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let len = plain.iter().position(special).unwrap_or(plain.len());
            out.extend_from_slice(&plain[..len]);
            self.at += len;
            match self.peek()? {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                _ => return Err(self.refuse("in string literal")),
            }
        }
        self.at += 1;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
        self.at += 1;
        let plain = match self.peek()? {
            b'b' => 0x8,
            b'f' => 0xc,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'\\' | b'/' | b'"') => byte,
            b'u' => {
                let c = self.escaped_char()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.refuse("in string escape code")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// Reads `uXXXX`, and the second one of a pair of surrogates.
    fn escaped_char(&mut self) -> Result<char, SyntaxError> {
        let unit = self.code_unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if unit < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
            self.at += 1;
            let low = self.code_unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn code_unit(&mut self) -> Result<u32, SyntaxError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()?).to_digit(16) else {
                return Err(self.refuse("in \\u hexadecimal character escape"));
            };
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_space(&mut self) {
        while self.next_is(b" \t\r\n") {
            self.at += 1;
        }
    }

    fn next_is(&self, any: &[u8]) -> bool {
        self.text.get(self.at).is_some_and(|byte| any.contains(byte))
    }

    fn peek(&self) -> Result<u8, SyntaxError> {
        self.text.get(self.at).copied().ok_or(SyntaxError::End)
    }

    /// Refuses the next character.
    fn refuse(&self, context: &str) -> SyntaxError {
        let c = self.text.get(self.at).copied().unwrap_or_default();
        let text = format!("invalid character {} {context}", quoted_char(c));
        SyntaxError::Character { text, offset: self.at + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match Scanner::new(text.as_bytes()).value() {
            Ok(node) => panic!("{node:?}"),
            Err(SyntaxError::End) => "end".into(),
            Err(SyntaxError::Character { text, offset }) => format!("{text} at {offset}"),
        }
    }

    // The texts and offsets are those of Go 1.26.
    #[test]
    fn syntax_errors_are_those_of_go() {
        for (text, expected) in [
            ("", "end"),
            ("{\"a\":", "end"),
            ("[1", "end"),
            ("\"a", "end"),
            ("1.", "end"),
            ("x", "invalid character 'x' looking for beginning of value at 1"),
            ("{a", "invalid character 'a' looking for beginning of object key string at 2"),
            ("{\"a\",", "invalid character ',' after object key at 5"),
            ("{\"a\":1 1", "invalid character '1' after object key:value pair at 8"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string at 8"),
            ("[1 2", "invalid character '2' after array element at 4"),
            ("[1,]", "invalid character ']' looking for beginning of value at 4"),
            ("nul1", "invalid character '1' in literal null (expecting 'l') at 4"),
            ("-a", "invalid character 'a' in numeric literal at 2"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal at 3"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal at 4"),
            ("\"\\x\"", "invalid character 'x' in string escape code at 3"),
            ("\"\\u12x", "invalid character 'x' in \\u hexadecimal character escape at 6"),
            ("\"\n\"", "invalid character '\\n' in string literal at 2"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(error(&deep), "invalid character '[' exceeded max depth at 201");
        assert!(Scanner::new(b"[[[]]]").value().is_ok());
    }

    #[test]
    fn strings_are_unescaped() {
        let text = br#""a\n\u00e9\ud83d\ude00\ud83dx\/""#;
        let Ok(Node { value: Value::String(text), .. }) = Scanner::new(text).value() else {
            panic!()
        };
        assert_eq!(text, "a\né\u{1f600}\u{fffd}x/");
    }
}
