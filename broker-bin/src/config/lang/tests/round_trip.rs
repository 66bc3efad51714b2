//! Random values, printed in one of several notations, are read back unchanged; and no text makes
//! the parser panic.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// A value without a place.
#[derive(Clone, Debug)]
enum Plain {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Time(i64),
    Array(Vec<Plain>),
    Map(Vec<(String, Plain)>),
}

/// No key can contain both kinds of quotes, or a zero byte.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z_.]{1,8}", "[^\"\0]{0,8}"]
}

fn plain() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Plain::Bool),
        any::<i64>().prop_map(Plain::Integer),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Plain::Float),
        any::<String>().prop_map(Plain::String),
        "[a-z/.>*_]{1,12}".prop_map(Plain::String),
        // The years 0 to 9999.
        (-62_167_219_200_i64..253_402_207_200).prop_map(Plain::Time),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Plain::Array),
            map(inner).prop_map(Plain::Map),
        ]
    })
}

fn map(value: impl Strategy<Value = Plain>) -> impl Strategy<Value = Vec<(String, Plain)>> {
    btree_map(key(), value, 0..6).prop_map(|map| map.into_iter().collect())
}

/// Prints values, choosing a notation by a sequence of numbers.
struct Printer {
    style: Vec<u8>,
    at: usize,
    text: String,
}

impl Printer {
    fn choose(&mut self, among: &[&str]) {
        self.at += 1;
        let choice = usize::from(self.style[self.at % self.style.len()]);
        self.text += among[choice % among.len()];
    }

    fn entries(&mut self, entries: &[(String, Plain)], ends: &[&str]) {
        for (key, value) in entries {
            self.choose(&["", "", "# } ]\n", "// \"'\n"]);
            let is_word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic());
            if is_word && !key.eq_ignore_ascii_case("include") && !self.at.is_multiple_of(3) {
                self.text += key;
            } else {
                self.text += &format!("\"{key}\"");
            }
            self.choose(&[" = ", ": ", "=", " ", "\t:"]);
            self.value(value);
            self.choose(ends);
        }
    }

    fn value(&mut self, value: &Plain) {
        match value {
            Plain::Bool(true) => self.choose(&["true", "Yes", "ON"]),
            Plain::Bool(false) => self.choose(&["False", "no", "oFF"]),
            Plain::Integer(value) => self.text += &value.to_string(),
            Plain::Float(value) => {
                let digits = value.to_string();
                self.text += &digits;
                if !digits.contains('.') {
                    self.text += ".0";
                }
            }
            Plain::String(value) => self.string(value),
            Plain::Time(seconds) => {
                self.text += &jiff::Timestamp::from_second(*seconds).unwrap().to_string();
            }
            Plain::Array(values) => {
                self.choose(&["[", "[ ", "[\n", "[ # ]\n"]);
                for value in values {
                    self.value(value);
                    self.choose(&[" , ", ",", "\n", ",\n\n", " // ,\n"]);
                }
                self.text += "]";
            }
            Plain::Map(entries) => {
                self.choose(&["{", "{ ", "{\n"]);
                self.entries(entries, &[",", ";", "\n", " , ", " # }\n"]);
                self.text += "}";
            }
        }
    }

    fn string(&mut self, value: &str) {
        let is_bare = value.chars().all(|c| matches!(c, 'a'..='z' | '.' | '>' | '*' | '/'))
            && !value.starts_with(['.', '/'])
            && !matches!(value, "" | "on" | "off" | "yes" | "no" | "true" | "false");
        if is_bare {
            self.text += value;
        } else if !value.contains(['\'', '\0']) && self.at.is_multiple_of(2) {
            self.text += &format!("'{value}'");
        } else {
            self.text.push('"');
            for c in value.chars() {
                match c {
                    '"' => self.text += "\\\"",
                    '\\' => self.text += "\\\\",
                    '\n' => self.choose(&["\n", "\\n"]),
                    '\0'..='\x1f' => self.text += &format!("\\x{:02X}", u32::from(c)),
                    _ => self.text.push(c),
                }
            }
            self.text.push('"');
        }
    }
}

fn assert_same(found: &Value, expected: &Plain) {
    match (found, expected) {
        (Value::Bool(found), Plain::Bool(expected)) => assert_eq!(found, expected),
        (Value::Integer(found), Plain::Integer(expected)) => assert_eq!(found, expected),
        (Value::Float(found), Plain::Float(expected)) => {
            assert_eq!(found.to_bits(), expected.to_bits());
        }
        (Value::String(found), Plain::String(expected)) => assert_eq!(found, expected),
        (Value::Time(found), Plain::Time(expected)) => assert_eq!(found.as_second(), *expected),
        (Value::Array(found), Plain::Array(expected)) => {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert_same(&found.value, expected);
            }
        }
        (Value::Map(found), Plain::Map(expected)) => {
            assert_eq!(found.entries.len(), expected.len());
            for (found, (key, expected)) in found.entries.iter().zip(expected) {
                assert_eq!(&found.key, key);
                assert_same(&found.node.value, expected);
            }
        }
        _ => panic!("{found:?} instead of {expected:?}"),
    }
}

proptest! {
    #[test]
    fn printed_values_are_read_back_unchanged(
        entries in map(plain()),
        style in vec(any::<u8>(), 1..40),
        in_braces in any::<bool>(),
    ) {
        let mut printer = Printer { style, at: 0, text: String::new() };
        if in_braces {
            printer.text.push('{');
        }
        printer.entries(&entries, &["\n", ",", ";", " # x\n", "\r\n"]);
        if in_braces {
            printer.text.push('}');
        }
        let document = World::default().parse(&printer.text);
        let document = document.unwrap_or_else(|error| panic!("{error}\n{}", printer.text));
        assert_same(&Value::Map(document.root), &Plain::Map(entries));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        end_well(&bytes);
    }

    #[test]
    fn any_sequence_of_words_is_read_or_refused(words in vec(word(), 0..30)) {
        end_well(words.concat().as_bytes());
    }
}

/// Elements of the language.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b",
        "include",
        "=",
        ":",
        " ",
        " ",
        "\n",
        "\n",
        ",",
        ";",
        "{",
        "}",
        "[",
        "]",
        "(",
        "\n)\n",
        "'",
        "\"",
        "\\",
        "\\x4",
        "#",
        "/",
        "//",
        "$",
        "$a",
        "$V",
        "1",
        "-",
        ".",
        "1k",
        "2Mb",
        "1.5",
        "127.0.0.1:-1",
        "2026-11-20T12:00:00Z",
        "true",
        "\t",
        "\r\n",
        "$2a$",
        "é",
        "a = 1\n",
        "b {",
    ])
}

fn end_well(text: &[u8]) {
    let env = |name: &str| (name == "V").then(|| "[1 , $a]".to_owned());
    let open = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let surroundings = Surroundings { env: &env, open: &open };
    match parse_with(text, "main.conf", &surroundings) {
        Ok(document) => {
            let json = to_json(&document.root);
            serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON");
        }
        Err(error) => assert!(error.to_string().starts_with("main.conf:"), "{error}"),
    }
    let _ = parse_value(text, "main.conf", &env);
}
