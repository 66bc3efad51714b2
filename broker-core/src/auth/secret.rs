//! Secret text.

use std::fmt;

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A password, a token or a key: text that cannot be printed by accident.
///
/// Its `Debug` is `[redacted]`; it has no `Display`, and can be deserialized but not serialized. The time of a
/// comparison shows at most whether two secrets are equally long. The text is wiped when the secret is dropped
/// (copies made before it became a secret are not).
///
/// ```
/// use broker_core::auth::Secret;
///
/// let secret = Secret::from("hunter2");
/// assert_eq!(format!("{secret:?}"), "[redacted]");
/// assert!(secret == Secret::from("hunter2"));
/// assert_eq!(secret.expose(), "hunter2");
/// ```
///
/// ```compile_fail
/// println!("{}", broker_core::auth::Secret::from("hunter2"));
/// ```
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Returns the text, for checks. Do not print, log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns true for empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_if_their_text_is() {
        assert!(Secret::from("abc") == Secret::from("abc".to_owned()));
        assert!(Secret::default() == Secret::from(""));
        for other in ["", "ab", "abd", "abcd", "ABC"] {
            assert!(Secret::from("abc") != Secret::from(other), "{other}");
        }
    }

    #[test]
    fn a_secret_is_read_as_text() {
        let secret: Secret = serde_json::from_str(r#""abc""#).unwrap();
        assert!(secret == Secret::from("abc"));
        assert!(serde_json::from_str::<Secret>("1").is_err());
    }

    #[test]
    fn no_format_shows_a_secret() {
        let secret = Some(vec![Secret::from("marker")]);
        for shown in [format!("{secret:?}"), format!("{secret:#?}"), format!("{secret:40x?}")] {
            assert!(!shown.contains("marker"), "{shown}");
        }
    }
}
