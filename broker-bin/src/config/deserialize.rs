//! Deserialization of validated values into sections of options.
//!
//! Figment's own deserializer takes 0.3 MB more of the program: it reads each section from a list as well as from a map, in two
//! instances, and attaches the place to each error. Validated values have one form, and no error.

use figment::value::Value;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::check::Unusable;
use super::settle::number;

/// Deserializes a validated value.
pub(crate) fn deserialize<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, Unusable> {
    T::deserialize(Validated(value))
}

impl de::Error for Unusable {
    fn custom<T>(_: T) -> Self {
        Self
    }
}

#[derive(Clone, Copy)]
struct Validated<'v>(&'v Value);

impl<'v> IntoDeserializer<'v, Unusable> for Validated<'v> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Validated<'de> {
    type Error = Unusable;

    /// Deserializes a value without parts: no option has values of several forms.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        match self.0 {
            Value::String(_, text) => visitor.visit_str(text),
            Value::Char(_, one) => visitor.visit_char(*one),
            Value::Bool(_, value) => visitor.visit_bool(*value),
            Value::Num(..) => deserialize_number(self.0, visitor),
            Value::Empty(..) | Value::Dict(..) | Value::Array(..) => Err(Unusable),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        match self.0 {
            Value::Empty(..) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unusable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        let Value::Array(_, items) = self.0 else { return Err(Unusable) };
        visitor.visit_seq(SeqDeserializer::new(items.iter().map(Validated)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        let Value::Dict(_, entries) = self.0 else { return Err(Unusable) };
        let entries = entries.iter().map(|(name, value)| (name.as_str(), Validated(value)));
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unusable> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unusable> {
        let Value::String(_, text) = self.0 else { return Err(Unusable) };
        visitor.visit_enum(text.as_str().into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

fn deserialize_number<'v, V: Visitor<'v>>(value: &Value, visitor: V) -> Result<V::Value, Unusable> {
    if let Some(number) = value.to_f64() {
        return visitor.visit_f64(number);
    }
    let number = number(value).ok_or(Unusable)?;
    match i64::try_from(number) {
        Ok(number) => visitor.visit_i64(number),
        Err(_) => visitor.visit_u64(u64::try_from(number).map_err(|_| Unusable)?),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use figment::value::{Dict, Empty};

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        #[default]
        One,
        Two,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Section {
        text: String,
        on: bool,
        small: u16,
        negative: i64,
        large: u64,
        share: f64,
        time: Duration,
        some: Option<Box<Section>>,
        none: Option<u32>,
        choice: Choice,
        list: Vec<String>,
        named: BTreeMap<String, Choice>,
    }

    fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
        entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Dict>().into()
    }

    #[test]
    fn a_section_is_read_from_values_of_all_forms() {
        let value = dict([
            ("text", "some".into()),
            ("on", true.into()),
            ("small", 7_i64.into()),
            ("negative", (-7_i32).into()),
            ("large", u64::MAX.into()),
            ("share", 0.5.into()),
            ("time", dict([("secs", 3_u64.into()), ("nanos", 5_u32.into())])),
            ("some", dict([("small", 8_u8.into())])),
            ("none", Empty::None.into()),
            ("choice", "two".into()),
            ("list", vec!["a", "b"].into()),
            ("named", dict([("x", "two".into())])),
            ("unknown", dict([("list", vec![1].into())])),
        ]);
        let read: Section = deserialize(&value).unwrap();
        let expected = Section {
            text: "some".to_owned(),
            on: true,
            small: 7,
            negative: -7,
            large: u64::MAX,
            share: 0.5,
            time: Duration::new(3, 5),
            some: Some(Box::new(Section { small: 8, ..Section::default() })),
            none: None,
            choice: Choice::Two,
            list: vec!["a".to_owned(), "b".to_owned()],
            named: BTreeMap::from([("x".to_owned(), Choice::Two)]),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn values_that_do_not_fit_are_errors() {
        for (name, value) in [
            ("text", Value::from(1)),
            ("on", "true".into()),
            ("small", 65_536.into()),
            ("large", (-1).into()),
            ("some", vec![1].into()),
            ("choice", "three".into()),
            ("list", dict([])),
            ("named", vec![1].into()),
        ] {
            assert!(deserialize::<Section>(&dict([(name, value)])).is_err(), "{name}");
        }
    }
}
