//! Declares options: the macro that makes a struct and a table from one declaration, and
//! constructors for the kinds of values.

use std::time::Duration;

use super::kind::{Bare, Format, Kind};
use super::table::{Block, Key};

/// Declares a [`Section`](crate::config::table::Section): a struct with defaults that deserializes
/// from checked values, and the table of its options.
///
/// ```text
/// section! {
///     /// What it is for.
///     pub struct Name = Block::new("title");
///
///     /// What the option is for.
///     option: Type = default => key;
///
///     in other words:
///     /// An option that sets others.
///     listen => key;
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $section:ident = $block:expr;
        $( $(#[doc = $help:literal])+ $name:ident: $type:ty = $default:expr => $key:expr; )*
        $( in other words: $( $(#[doc = $more:literal])+ $word:ident => $meaning:expr; )+ )?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
        #[serde(default)]
        pub struct $section {
            $( $(#[doc = $help])+ pub $name: $type, )*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $name: $default, )* }
            }
        }

        impl $crate::config::table::Section for $section {
            fn block() -> &'static $crate::config::table::Block {
                use $crate::config::table::{Block, Key};

                static KEYS: &[Key] = &[
                    $( $key.declare(
                        stringify!($name),
                        concat!($($help),+),
                        Some(|section| {
                            let section = section.downcast_ref::<$section>()?;
                            Some(&section.$name)
                        }),
                    ), )*
                    $( $( $meaning.declare(stringify!($word), concat!($($more),+), None), )+ )?
                ];
                static BLOCK: Block = $block.declare(concat!($($about),+), KEYS);
                &BLOCK
            }
        }

        impl $crate::config::field::Show for $section {
            fn show(&self) -> String {
                String::from("{...}")
            }
        }
    };
}
pub(crate) use section;

/// An option that needs the feature `jwt`.
pub(crate) const fn with_jwt(key: Key) -> Key {
    if cfg!(feature = "jwt") { key } else { key.not_yet("nkeys and JWTs in this build") }
}

/// An option that needs the feature `streams`.
pub(crate) const fn with_streams(key: Key) -> Key {
    if cfg!(feature = "streams") { key } else { key.not_yet("JetStream in this build") }
}

pub(crate) const fn switch() -> Key {
    Key::new(Kind::Bool)
}

pub(crate) const fn integer(min: i64, max: i64) -> Key {
    Key::new(Kind::Integer { min, max })
}

/// A non-negative number of bytes.
pub(crate) const fn size(max: i64) -> Key {
    Key::new(Kind::Size { min: 0, max })
}

pub(crate) const fn port() -> Key {
    Key::new(Kind::Port)
}

/// A text such as `"2m"`; a number of seconds is accepted with a warning.
pub(crate) const fn duration() -> Key {
    Key::new(Kind::Duration { bare: Bare::Deprecated, min: Duration::ZERO })
}

/// A text such as `"2m"`, or a number of seconds.
pub(crate) const fn seconds() -> Key {
    Key::new(Kind::Duration { bare: Bare::Seconds, min: Duration::ZERO })
}

/// A text such as `"2m"` only.
pub(crate) const fn strict_duration() -> Key {
    Key::new(Kind::Duration { bare: Bare::Refused, min: Duration::ZERO })
}

pub(crate) const fn text() -> Key {
    Key::new(Kind::Text(Format::Any))
}

pub(crate) const fn formatted(format: Format) -> Key {
    Key::new(Kind::Text(format))
}

pub(crate) const fn list(format: Format) -> Key {
    Key::new(Kind::List(format))
}

pub(crate) const fn choice(words: &'static [&'static str]) -> Key {
    Key::new(Kind::Choice(words))
}

pub(crate) const fn block(block: fn() -> &'static Block) -> Key {
    Key::new(Kind::Block(block))
}

pub(crate) const fn blocks(block: fn() -> &'static Block) -> Key {
    Key::new(Kind::Blocks(block))
}

pub(crate) const fn listen(host: &'static str, port: &'static str) -> Key {
    Key::new(Kind::Listen { host, port })
}
