//! Comparison and display of option values, independent of their types.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_core::auth::Secret;

use super::duration;

/// The value of an option.
pub trait Field: Any {
    /// Formats the value for the log. Secrets are hidden.
    fn show(&self) -> String;

    /// Returns true if `other` has the same type and value.
    fn is_same(&self, other: &dyn Field) -> bool;
}

impl<T: Show + PartialEq + 'static> Field for T {
    fn show(&self) -> String {
        Show::show(self)
    }

    fn is_same(&self, other: &dyn Field) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
}

/// Formatting of values in nats-server's log.
pub trait Show {
    /// Formats the value as Go's `%v` does.
    fn show(&self) -> String;
}

macro_rules! shown_as_displayed {
    ($($type:ty),+) => {
        $(impl Show for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        })+
    };
}

shown_as_displayed!(bool, u8, u16, u32, u64, usize, i64, String);

impl Show for Duration {
    fn show(&self) -> String {
        duration::show(*self)
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Show for Secret {
    fn show(&self) -> String {
        String::from(if self.is_empty() { "" } else { "[redacted]" })
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map(Show::show).unwrap_or_default()
    }
}

impl<T: Show> Show for Arc<T> {
    fn show(&self) -> String {
        T::show(self)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        let items: Vec<_> = self.iter().map(Show::show).collect();
        format!("[{}]", items.join(" "))
    }
}

impl<T: Show> Show for BTreeMap<String, T> {
    fn show(&self) -> String {
        let items: Vec<_> = self.iter().map(|(k, v)| format!("{k}:{}", v.show())).collect();
        format!("map[{}]", items.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let tags = vec![String::from("a"), String::from("b")];
        let metadata = BTreeMap::from([(String::from("k"), String::from("v"))]);
        for (value, shown) in [
            (&true as &dyn Field, "true"),
            (&7_i64, "7"),
            (&Duration::from_mins(2), "2m0s"),
            (&PathBuf::from("a/b"), "a/b"),
            (&None::<String>, ""),
            (&tags, "[a b]"),
            (&metadata, "map[k:v]"),
            (&Secret::from("marker"), "[redacted]"),
            (&Some(vec![Secret::from("marker")]), "[[redacted]]"),
        ] {
            assert_eq!(value.show(), shown);
        }
    }

    #[test]
    fn values_of_one_type_are_compared() {
        let (a, b) = (Secret::from("a"), Secret::from("b"));
        assert!(a.is_same(&Secret::from("a")) && !a.is_same(&b));
        assert!(!7_i64.is_same(&7_u64), "another option");
    }
}
