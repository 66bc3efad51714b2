//! Decoding of a text by a description.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::scan::{Node, Scanner, SyntaxError, Value};
use super::shape::{Choice, Field, Record, Shape};
use super::{Mode, time};

/// Decodes a text. An empty text is a value without members, except in [`Mode::One`].
///
/// # Errors
///
/// Returns the text of Go's error.
// NATS 2.14: jetstream_api.go unmarshalRequest.
pub fn read<T: DeserializeOwned>(text: &[u8], record: &Record, mode: Mode) -> Result<T, String> {
    let members = match mode {
        Mode::Strict => read_all(text, record)?,
        Mode::Lenient => read_all(text, record).or_else(|_| read_one(text, record))?,
        Mode::One => read_one(text, record)?,
    };
    serde_json::from_value(Json::Object(members)).map_err(|error| error.to_string())
}

/// Reads values until the end; unknown members are an error.
fn read_all(text: &[u8], record: &Record) -> Result<Map<String, Json>, String> {
    let mut scanner = Scanner::new(text);
    let mut members = Map::new();
    while !scanner.is_at_end() {
        let node = scanner.value().map_err(|error| match error {
            SyntaxError::End => "unexpected EOF".into(),
            SyntaxError::Character { text, offset } => format!("{text} at offset {offset}"),
        })?;
        Reader::new(true).read(record, &node, &mut members)?;
    }
    Ok(members)
}

/// Reads one value, after which there is nothing.
fn read_one(text: &[u8], record: &Record) -> Result<Map<String, Json>, String> {
    let text_of = |error| match error {
        SyntaxError::End => "unexpected end of JSON input".into(),
        SyntaxError::Character { text, .. } => text,
    };
    let mut scanner = Scanner::new(text);
    let node = scanner.value().map_err(text_of)?;
    if !scanner.is_at_end() {
        return Err(text_of(scanner.trailing()));
    }
    let mut members = Map::new();
    Reader::new(false).read(record, &node, &mut members)?;
    Ok(members)
}

/// Returns true if a request has no content: nothing, or an object without members.
// NATS 2.14: jetstream_api.go isEmptyRequest.
pub fn is_empty_request(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    let is_empty =
        |node: Node<'_>| matches!(node.value, Value::Object(members) if members.is_empty());
    text.is_empty() || scanner.value().is_ok_and(is_empty) && scanner.is_at_end()
}

/// Returns true if the text begins as an object or array: other content of some requests is ignored.
// NATS 2.14: jetstream_api.go isJSONObjectOrArray.
pub fn is_object_or_array(text: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    matches!(text.iter().find(|byte| !is_space(byte)), Some(b'{' | b'['))
}

/// Decodes one value.
// Go: encoding/json decode.go.
struct Reader {
    refuses_unknown: bool,
    /// The struct whose member is decoded, and the way to the member.
    context: &'static str,
    path: Vec<&'static str>,
    /// A wrong type does not stop the decoder; an error of a type that decodes itself does.
    first_error: Option<String>,
}

impl Reader {
    fn new(refuses_unknown: bool) -> Self {
        Self { refuses_unknown, context: "", path: Vec::new(), first_error: None }
    }

    fn read(
        mut self,
        record: &Record,
        node: &Node<'_>,
        out: &mut Map<String, Json>,
    ) -> Result<(), String> {
        self.record(record, node, out)?;
        self.first_error.map_or(Ok(()), Err)
    }

    fn record(
        &mut self,
        record: &Record,
        node: &Node<'_>,
        out: &mut Map<String, Json>,
    ) -> Result<(), String> {
        let members = match &node.value {
            Value::Object(members) => members,
            Value::Null => return Ok(()),
            _ => {
                self.wrong_type(node, &format!("server.{}", record.name));
                return Ok(());
            }
        };
        for (name, member) in members {
            let mut way = Vec::new();
            let Some(field) = find(record, name, &mut way) else {
                if self.refuses_unknown {
                    self.save(format!("json: unknown field {}", crate::go::quoted(name)));
                }
                continue;
            };
            let (context, depth) = (self.context, self.path.len());
            self.context = record.name;
            self.path.append(&mut way);
            self.path.push(field.name);
            self.member(field, member, out)?;
            self.path.truncate(depth);
            self.context = context;
        }
        Ok(())
    }

    fn member(
        &mut self,
        field: &Field,
        node: &Node<'_>,
        out: &mut Map<String, Json>,
    ) -> Result<(), String> {
        if let (Shape::Record(record), Value::Object(_)) = (field.shape, &node.value) {
            let inner = out.entry(field.name).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                return self.record(record, node, inner);
            }
        }
        match self.value(field.shape, node)? {
            Found::Value(value) => {
                out.insert(field.name.into(), value);
            }
            Found::Null => {
                out.remove(field.name);
            }
            Found::Nothing => {}
        }
        Ok(())
    }

    fn value(&mut self, shape: Shape, node: &Node<'_>) -> Result<Found, String> {
        let found = match (shape, &node.value) {
            (Shape::Time, _) => match time::read(node.raw)? {
                Some(text) => Found::Value(text.into()),
                None => Found::Null,
            },
            (Shape::Choice(choice), _) => Found::Value(
                choose(choice, node).ok_or_else(|| self.choice_error(choice, node))?.into(),
            ),
            (Shape::Record(_) | Shape::List(..) | Shape::Map | Shape::Counts, Value::Null) => {
                Found::Null
            }
            (_, Value::Null) => Found::Nothing,
            (Shape::Bool, Value::Bool(value)) => Found::Value((*value).into()),
            (Shape::String, Value::String(text)) => Found::Value(text.as_str().into()),
            (Shape::Int(name, max), Value::Number) => self.integer(node, name, max),
            (Shape::Uint, Value::Number) => {
                self.number(node, "uint64", |text| text.parse::<u64>().ok())
            }
            (Shape::List(_, element), Value::Array(items)) => self.list(*element, items)?,
            (Shape::Map | Shape::Counts, Value::Object(members)) => self.map(shape, members)?,
            (Shape::Record(record) | Shape::Embedded(record), Value::Object(_)) => {
                let mut members = Map::new();
                self.record(record, node, &mut members)?;
                Found::Value(Json::Object(members))
            }
            _ => {
                self.wrong_type(node, &type_name(shape));
                Found::Nothing
            }
        };
        Ok(found)
    }

    /// Returns the error of a type that decodes itself. One of its own decoder gets the place.
    fn choice_error(&self, choice: &Choice, node: &Node<'_>) -> String {
        (choice.error)(node.raw).replacen("Go value", &format!("Go {}", self.place()), 1)
    }

    fn place(&self) -> String {
        if self.path.is_empty() {
            "value".to_owned()
        } else {
            format!("struct field {}.{}", self.context, self.path.join("."))
        }
    }

    fn integer(&mut self, node: &Node<'_>, name: &str, max: i64) -> Found {
        let range = -max - 1..=max;
        self.number(node, name, |text| text.parse::<i64>().ok().filter(|n| range.contains(n)))
    }

    fn number<N: Into<Json>>(
        &mut self,
        node: &Node<'_>,
        name: &str,
        parse: impl FnOnce(&str) -> Option<N>,
    ) -> Found {
        let text = String::from_utf8_lossy(node.raw);
        if let Some(number) = parse(&text) {
            return Found::Value(number.into());
        }
        self.cannot_unmarshal(&format!("number {text}"), name);
        Found::Nothing
    }

    fn list(&mut self, element: Shape, items: &[Node<'_>]) -> Result<Found, String> {
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(match self.value(element, item)? {
                Found::Value(value) => value,
                Found::Null | Found::Nothing => zero(element),
            });
        }
        Ok(Found::Value(list.into()))
    }

    fn map(&mut self, shape: Shape, members: &[(String, Node<'_>)]) -> Result<Found, String> {
        let element = if matches!(shape, Shape::Map) { Shape::String } else { Shape::Uint };
        let mut map = Map::new();
        for (name, member) in members {
            let value = match self.value(element, member)? {
                Found::Value(value) => value,
                Found::Null | Found::Nothing => zero(element),
            };
            map.insert(name.clone(), value);
        }
        Ok(Found::Value(Json::Object(map)))
    }

    fn wrong_type(&mut self, node: &Node<'_>, name: &str) {
        let kind = match node.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.cannot_unmarshal(kind, name);
    }

    fn cannot_unmarshal(&mut self, what: &str, name: &str) {
        let place = self.place();
        self.save(format!("json: cannot unmarshal {what} into Go {place} of type {name}"));
    }

    fn save(&mut self, error: String) {
        self.first_error.get_or_insert(error);
    }
}

enum Found {
    Value(Json),
    /// The member is as if it had not been there.
    Null,
    /// The member stays as it was.
    Nothing,
}

/// Finds a member; `way` gets the names of the embedded structs that it is in.
fn find(record: &Record, name: &str, way: &mut Vec<&'static str>) -> Option<&'static Field> {
    let exact = |field: &Field| field.name == name;
    let folded = |field: &Field| field.name.eq_ignore_ascii_case(name);
    find_by(record, &exact, way).or_else(|| find_by(record, &folded, way))
}

fn find_by(
    record: &Record,
    is_wanted: &dyn Fn(&Field) -> bool,
    way: &mut Vec<&'static str>,
) -> Option<&'static Field> {
    for field in record.fields {
        if let Shape::Embedded(inner) = field.shape {
            way.push(inner.name);
            let found = find_by(inner, is_wanted, way);
            if found.is_some() {
                return found;
            }
            way.pop();
        } else if is_wanted(field) {
            return Some(field);
        }
    }
    None
}

fn choose(choice: &Choice, node: &Node<'_>) -> Option<&'static str> {
    let text = node.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_it = |option: &str| {
        option.as_bytes() == text
            || choice.ignores_case && option.as_bytes().eq_ignore_ascii_case(text)
    };
    choice.texts.iter().find(|(option, _)| is_it(option)).map(|(_, value)| *value)
}

fn type_name(shape: Shape) -> String {
    match shape {
        Shape::Bool => "bool".into(),
        Shape::String => "string".into(),
        Shape::Int(name, _) | Shape::List(name, _) => name.into(),
        Shape::Uint => "uint64".into(),
        Shape::Time => "time.Time".into(),
        Shape::Choice(_) => String::new(),
        Shape::Map => "map[string]string".into(),
        Shape::Counts => "map[string]uint64".into(),
        Shape::Record(record) | Shape::Embedded(record) => format!("server.{}", record.name),
    }
}

/// Returns the value that null stands for in an array.
fn zero(shape: Shape) -> Json {
    match shape {
        Shape::Bool => false.into(),
        Shape::Int(..) | Shape::Uint => 0.into(),
        Shape::Record(_) | Shape::Embedded(_) | Shape::Map | Shape::Counts => {
            Json::Object(Map::new())
        }
        Shape::List(..) => Json::Array(Vec::new()),
        Shape::String | Shape::Time | Shape::Choice(_) => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static INNER: Record =
        Record { name: "Inner", fields: &[Field { name: "n", shape: Shape::INT32 }] };
    static OUTER: Record = Record {
        name: "Outer",
        fields: &[
            Field { name: "text", shape: Shape::String },
            Field { name: "list", shape: Shape::List("[]server.Inner", &Shape::Record(&INNER)) },
            Field { name: "inner", shape: Shape::Record(&INNER) },
            Field { name: "time", shape: Shape::Time },
            Field { name: "counts", shape: Shape::Counts },
        ],
    };

    fn read_json(text: &[u8], mode: Mode) -> Result<Json, String> {
        read(text, &OUTER, mode)
    }

    #[test]
    fn members_are_read_with_their_own_names() {
        let text = br#"{"TEXT":"a","list":[{"N":1},null],"inner":null,"counts":{"x":2}}"#;
        let expected = serde_json::json!({"text": "a", "list": [{"n": 1}, {}], "counts": {"x": 2}});
        assert_eq!(read_json(text, Mode::Strict), Ok(expected));
    }

    #[test]
    fn the_place_of_a_wrong_type_is_named() {
        for (text, expected) in [
            (
                r#"{"inner":{"n":3000000000}}"#,
                "json: cannot unmarshal number 3000000000 into Go struct field Inner.inner.n of type int32",
            ),
            (
                r#"{"list":[{"n":"x"}],"text":1}"#,
                "json: cannot unmarshal string into Go struct field Inner.list.n of type int32",
            ),
            (r#"{"text":1,"time":1}"#, "Time.UnmarshalJSON: input is not a JSON string"),
        ] {
            assert_eq!(read_json(text.as_bytes(), Mode::One), Err(expected.to_owned()));
        }
    }

    #[test]
    fn several_values_are_read_into_one() {
        let text = br#"{"text":"a"} {"text":"b"}"#;
        assert_eq!(read_json(text, Mode::Strict), Ok(serde_json::json!({"text": "b"})));
        assert_eq!(read_json(text, Mode::Lenient), Ok(serde_json::json!({"text": "b"})));
        let expected = "invalid character '{' after top-level value";
        assert_eq!(read_json(text, Mode::One), Err(expected.to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_decoder_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            for mode in [Mode::Strict, Mode::Lenient, Mode::One] {
                let _ = read_json(&text, mode);
            }
        }

        #[test]
        fn what_serde_reads_is_valid_here(text in "[{}\\[\\]\":,a-n0-9.eE+ -]{0,24}") {
            let is_valid = serde_json::from_str::<Json>(&text).is_ok();
            let is_syntax = |error: &str| {
                error.starts_with("invalid character") || error.starts_with("unexpected end")
            };
            let refused = read_json(text.as_bytes(), Mode::One).is_err_and(|error| is_syntax(&error));
            // serde refuses numbers that are too large, which are valid JSON.
            prop_assert!(!is_valid || !refused, "{text}");
        }
    }
}
