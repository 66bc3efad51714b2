//! JSON as decoded by Go's `encoding/json`, which defines the input that clients may send.
//!
//! Three rules differ from a strict parser: an escaped surrogate without its other half, and each byte
//! of a string that is not UTF-8, decodes to U+FFFD; keys match in any case; and a number is parsed
//! only if a field takes it. At most [`MAX_DEPTH`] arrays and objects may be nested.
//!
//! Nothing here recurses, so that no input can exhaust the stack.
// NATS 2.14 is built with encoding/json of Go 1.25 and later: scanner.go, decode.go, fold.go.

use smallvec::SmallVec;

/// The depth to which arrays and objects may be nested.
// NATS 2.14: scanner.go maxNestingDepth.
const MAX_DEPTH: usize = 10_000;

/// The text is not JSON, or not of the required type.
///
/// Contains no details, which could be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotJson;

/// Reads the members of an object in order; `null` has none. Keys are
/// [folded](fold).
///
/// # Errors
///
/// [`NotJson`] if `json` is not one whole object or `null`, or if `member` refuses a value.
pub(crate) fn for_each_member<'a>(
    json: &'a [u8],
    mut member: impl FnMut(&str, Value<'a>) -> Result<(), NotJson>,
) -> Result<(), NotJson> {
    let value = Value::parse(json)?;
    if value.is_null() { Ok(()) } else { value.for_each_member(&mut member) }
}

/// The text of one valid value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// Parses all of `json`, with white space around it.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, NotJson> {
        let mut reader = Reader { rest: json };
        let value = reader.value()?;
        reader.skip_white_space();
        if reader.rest.is_empty() { Ok(value) } else { Err(NotJson) }
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == b"null"
    }

    pub(crate) fn bool(self) -> Result<bool, NotJson> {
        match self.0 {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(NotJson),
        }
    }

    /// Parses a number without a fraction or an exponent that fits the type.
    pub(crate) fn integer<T: std::str::FromStr>(self) -> Result<T, NotJson> {
        match self.0 {
            [b'-' | b'0'..=b'9', ..] => {
                std::str::from_utf8(self.0).ok().and_then(|text| text.parse().ok()).ok_or(NotJson)
            }
            _ => Err(NotJson),
        }
    }

    pub(crate) fn string(self) -> Result<String, NotJson> {
        match self.0 {
            [b'"', inner @ .., b'"'] => Ok(unquote(inner)),
            _ => Err(NotJson),
        }
    }

    /// Reads each element of an array.
    pub(crate) fn for_each_element(
        self,
        mut element: impl FnMut(Value<'a>) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        let [b'[', rest @ ..] = self.0 else { return Err(NotJson) };
        let mut reader = Reader { rest };
        while !reader.ends_with(b']') {
            element(reader.value()?)?;
            reader.skip_comma();
        }
        Ok(())
    }

    /// Reads each member of an object.
    pub(crate) fn for_each_member(
        self,
        member: &mut impl FnMut(&str, Value<'a>) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        let [b'{', rest @ ..] = self.0 else { return Err(NotJson) };
        let mut reader = Reader { rest };
        while !reader.ends_with(b'}') {
            let key = fold(&unquote(reader.key()?));
            member(&key, reader.value()?)?;
            reader.skip_comma();
        }
        Ok(())
    }
}

/// Returns the form in which keys are compared: letters in lower case, with the two letters outside of ASCII
/// that fold to one within it.
// NATS 2.14: fold.go foldName.
fn fold(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// A reader of the remaining input.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads the next value.
    fn value(&mut self) -> Result<Value<'a>, NotJson> {
        self.skip_white_space();
        let start = self.rest;
        // The expected closing bracket of each open array and object.
        let mut open = SmallVec::<[u8; 32]>::new();
        loop {
            self.skip_white_space();
            let is_open = match *self.rest.first().ok_or(NotJson)? {
                bracket @ (b'{' | b'[') => {
                    self.rest = &self.rest[1..];
                    if open.len() == MAX_DEPTH {
                        return Err(NotJson);
                    }
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    let is_empty = self.ends_with(close);
                    if !is_empty {
                        open.push(close);
                        if bracket == b'{' {
                            self.key()?;
                        }
                    }
                    !is_empty
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if !is_open && self.close(&mut open)? {
                return Ok(Value(&start[..start.len() - self.rest.len()]));
            }
        }
    }

    /// Reads the input between a value and the next one. Returns true if no array or object is open.
    fn close(&mut self, open: &mut SmallVec<[u8; 32]>) -> Result<bool, NotJson> {
        while let Some(close) = open.last().copied() {
            self.skip_white_space();
            let (byte, rest) = self.rest.split_first().ok_or(NotJson)?;
            self.rest = rest;
            match *byte {
                b',' => {
                    if close == b'}' {
                        self.key()?;
                    }
                    return Ok(false);
                }
                byte if byte == close => {
                    open.pop();
                }
                _ => return Err(NotJson),
            }
        }
        Ok(true)
    }

    /// Reads the next key, without its quotes, and the colon behind it.
    fn key(&mut self) -> Result<&'a [u8], NotJson> {
        self.skip_white_space();
        let start = self.rest;
        self.quoted()?;
        let key = &start[1..start.len() - self.rest.len() - 1];
        self.skip_white_space();
        self.rest = self.rest.strip_prefix(b":").ok_or(NotJson)?;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<(), NotJson> {
        match self.rest {
            [b'"', ..] => self.quoted(),
            [b'-' | b'0'..=b'9', ..] => self.number(),
            _ => {
                let words = [&b"null"[..], b"true", b"false"];
                let word = words.iter().find(|word| self.rest.starts_with(word)).ok_or(NotJson)?;
                self.rest = &self.rest[word.len()..];
                Ok(())
            }
        }
    }

    fn quoted(&mut self) -> Result<(), NotJson> {
        let mut rest = self.rest.strip_prefix(b"\"").ok_or(NotJson)?;
        loop {
            rest = match rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(());
                }
                [b'\\', b'u', rest @ ..] => {
                    four_digits(rest).ok_or(NotJson)?;
                    &rest[4..]
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
                [] | [b'\\' | 0..0x20, ..] => return Err(NotJson),
                [_, rest @ ..] => rest,
            };
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        let _ = self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            let _ = self.skip(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    /// Skips one or more digits.
    fn digits(&mut self) -> Result<(), NotJson> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        if count > 0 { Ok(()) } else { Err(NotJson) }
    }

    /// Skips the next byte if it is one of `bytes`. Returns true if it was.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        match self.rest {
            [byte, rest @ ..] if bytes.contains(byte) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_comma(&mut self) {
        self.skip_white_space();
        let _ = self.skip(b",");
    }

    /// Skips white space, and `close` if it is next. Returns true if it was.
    fn ends_with(&mut self, close: u8) -> bool {
        self.skip_white_space();
        self.skip(&[close])
    }

    fn skip_white_space(&mut self) {
        while self.skip(b" \t\r\n") {}
    }
}

/// Parses the number of a `\u` escape.
fn four_digits(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.iter().try_fold(0, |number, digit| {
        char::from(*digit).to_digit(16).map(|digit| (number << 4) | digit)
    })
}

/// Decodes the text between the quotes of a valid string.
// NATS 2.14: decode.go unquoteBytes.
fn unquote(mut inner: &[u8]) -> String {
    let mut text = String::with_capacity(inner.len());
    while let Some(at) = memchr::memchr(b'\\', inner) {
        push_lossy(&mut text, &inner[..at]);
        let escape = inner.get(at + 1).copied().unwrap_or_default();
        inner = inner.get(at + 2..).unwrap_or_default();
        text.push(match escape {
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, len) = escaped(inner);
                inner = inner.get(len..).unwrap_or_default();
                c
            }
            other => char::from(other),
        });
    }
    push_lossy(&mut text, inner);
    text
}

/// Returns the character of a `\u` escape, and the length of the text behind the `u` that it takes.
fn escaped(text: &[u8]) -> (char, usize) {
    let first = four_digits(text).unwrap_or_default();
    let second = text.get(4..).and_then(|rest| rest.strip_prefix(b"\\u")).and_then(four_digits);
    if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, second) {
        let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// Appends bytes; each one that is not part of a character becomes U+FFFD.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(json: &[u8]) -> Option<String> {
        Value::parse(json).and_then(Value::string).ok()
    }

    /// The expected text is that of Go's `json.Unmarshal` into a string.
    #[test]
    fn strings_are_decoded_as_in_go() {
        for (json, expected) in [
            (&br#""svc-\ud83d""#[..], "svc-\u{fffd}"),
            (br#""\ud83d\ude00""#, "\u{1f600}"),
            (br#""\uD83D\uDE00x""#, "\u{1f600}x"),
            (br#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (br#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (br#""\ud83d\n\u0041""#, "\u{fffd}\nA"),
            (br#""\ud83dA""#, "\u{fffd}A"),
            (br#""\u0000\u007f\uffff""#, "\0\x7f\u{ffff}"),
            (br#""\"\\\/\b\f\n\r\t""#, "\"\\/\x08\x0c\n\r\t"),
            (b"\"a\xffb\"", "a\u{fffd}b"),
            // Rust's own conversion makes one character of both bytes.
            (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
            (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\"\xf0\x9f\x98\\n\"", "\u{fffd}\u{fffd}\u{fffd}\n"),
            ("\"größe\u{2028}\"".as_bytes(), "größe\u{2028}"),
            (b" \t\r\n\"\" ", ""),
        ] {
            assert_eq!(string(json).as_deref(), Some(expected), "{}", json.escape_ascii());
        }
    }

    #[test]
    fn invalid_json_is_refused() {
        for json in [
            &b""[..],
            b" ",
            b"\"",
            b"\"\\\"",
            b"\"\\x41\"",
            b"\"\\u12g4\"",
            b"\"\\u123\"",
            b"\"\\u+123\"",
            b"\"a\nb\"",
            b"\"a\0b\"",
            b"\xef\xbb\xbfnull",
            b"nul",
            b"nullx",
            b"True",
            b"01",
            b"+1",
            b".5",
            b"1.",
            b"1e",
            b"1e+",
            b"-",
            b"--1",
            b"0x10",
            b"NaN",
            b"[",
            b"]",
            b"[1,]",
            b"[,1]",
            b"[1 2]",
            b"[1}",
            b"{]",
            b"{,}",
            b"{\"a\"}",
            b"{\"a\":}",
            b"{\"a\":1,}",
            b"{\"a\":1 \"b\":2}",
            b"{'a':1}",
            b"{a:1}",
            b"{1:1}",
            b"{\"a\"::1}",
            b"{}{}",
            b"1 2",
            b"/**/1",
        ] {
            assert!(Value::parse(json).is_err(), "{}", json.escape_ascii());
        }
    }

    #[test]
    fn valid_json_is_accepted() {
        for json in [
            "null",
            " true ",
            "-0",
            "0.0e-0",
            "1E+5",
            "123456789012345678901234567890123456789012345678901234567890.5e99999",
            "[]",
            "[ [ ] , { } ]",
            "{}",
            r#"{"a":{"b":[1,"x",null,{"c":false}]},"a":2}"#,
        ] {
            assert!(Value::parse(json.as_bytes()).is_ok(), "{json}");
        }
    }

    #[test]
    fn nesting_is_limited_as_in_go() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Value::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        let mixed = format!("{}0{}", "{\"a\":[".repeat(5_000), "]}".repeat(5_000));
        assert!(Value::parse(mixed.as_bytes()).is_ok());
    }

    #[test]
    fn integers_are_whole_and_fit() {
        let integer = |json: &str| Value::parse(json.as_bytes()).and_then(Value::integer::<i64>);
        for (json, expected) in
            [("0", 0), ("-0", 0), ("7", 7), ("9223372036854775807", i64::MAX), ("-1", -1)]
        {
            assert_eq!(integer(json), Ok(expected));
        }
        for json in ["1.0", "1e0", "9223372036854775808", "\"1\"", "true", "null", "[]"] {
            assert!(integer(json).is_err(), "{json}");
        }
        assert!(Value::parse(b"-1").and_then(Value::integer::<u64>).is_err());
    }

    #[test]
    fn members_are_read_in_order_with_folded_keys() {
        let json = "{\"User\":1,\"u\u{17f}er\":2,\"n\u{212a}EY\":3,\"\\u0061\":[4, 5] , \"ſ\":{}}";
        let mut seen = Vec::new();
        for_each_member(json.as_bytes(), |key, value| {
            seen.push((key.to_owned(), String::from_utf8_lossy(value.0).into_owned()));
            Ok(())
        })
        .unwrap();
        let seen: Vec<_> = seen.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            seen,
            [("user", "1"), ("user", "2"), ("nkey", "3"), ("a", "[4, 5]"), ("s", "{}")]
        );
        assert_eq!(for_each_member(b" null ", |_, _| Err(NotJson)), Ok(()));
        for json in [&b"[]"[..], b"1", b"\"a\"", b"true"] {
            assert_eq!(for_each_member(json, |_, _| Ok(())), Err(NotJson));
        }
    }

    #[test]
    fn elements_are_read_in_order() {
        let mut seen = Vec::new();
        let value = Value::parse(b"[ 1 , [2,3], \"]\" ]").unwrap();
        let push = |value: Value<'static>| {
            seen.push(value.0);
            Ok(())
        };
        value.for_each_element(push).unwrap();
        assert_eq!(seen, [&b"1"[..], b"[2,3]", b"\"]\""]);
    }
}
