//! Passwords of a configuration.

use super::Secret;
use crate::sync::{Arc, OnceLock};

/// A password or token of the configuration, and its identity across reloads.
#[derive(Clone, Debug)]
pub(super) struct Password {
    pub(super) form: Form,
    /// Shared by all forms that are known to be the same password. Made for the second form.
    seal: OnceLock<Arc<()>>,
}

/// Text or a bcrypt hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Plain(Secret),
    Bcrypt(Bcrypt),
}

impl Password {
    pub(super) fn is_some(&self) -> bool {
        !matches!(&self.form, Form::Plain(password) if password.is_empty())
    }

    /// Returns true if it is known to be the same password as `other`.
    pub(super) fn is_known_as(&self, other: &Self) -> bool {
        self.has_seal_of(other) || self.form == other.form
    }

    fn has_seal_of(&self, other: &Self) -> bool {
        matches!((self.seal.get(), other.seal.get()), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }

    /// Checks whether it is the same password as `before`, and records it. Takes the time of one check
    /// if one is text and the other a hash; two different hashes cannot be compared.
    pub(super) fn succeed(&mut self, before: &Self) {
        let is_same = match (&self.form, &before.form) {
            (Form::Plain(plain), Form::Bcrypt(hash)) | (Form::Bcrypt(hash), Form::Plain(plain)) => {
                hash.verify(plain)
            }
            (a, b) => a == b,
        };
        if is_same && (self.form != before.form || before.seal.get().is_some()) {
            self.seal = Arc::clone(before.seal.get_or_init(Arc::default)).into();
        }
    }
}

impl From<Secret> for Password {
    fn from(text: Secret) -> Self {
        Self { form: text.into(), seal: OnceLock::new() }
    }
}

impl From<Secret> for Form {
    // NATS 2.14: auth.go isBcrypt: by the first seven bytes. An incomplete hash is only detected at
    // login, where it matches no password.
    fn from(text: Secret) -> Self {
        match text.expose().as_bytes() {
            [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', tens, ones, b'$', ..]
                if tens.is_ascii_digit() && ones.is_ascii_digit() =>
            {
                Self::Bcrypt(Bcrypt::new(&text))
            }
            _ => Self::Plain(text),
        }
    }
}

/// A bcrypt hash. A comparison takes tens to hundreds of milliseconds, by design.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bcrypt(Secret);

impl Bcrypt {
    fn new(hash: &Secret) -> Self {
        // The last character of the salt carries two bits. Some tools fill up the other four, which
        // the reference ignores and our library refuses.
        const ALPHABET: &[u8; 64] =
            b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        const LAST_OF_SALT: usize = 28;
        let mut canonical = String::with_capacity(hash.expose().len());
        for (at, char) in hash.expose().chars().enumerate() {
            let bits = ALPHABET.iter().position(|known| char::from(*known) == char);
            match bits {
                Some(bits) if at == LAST_OF_SALT => {
                    canonical.push(char::from(ALPHABET[bits & 0x30]));
                }
                _ => canonical.push(char),
            }
        }
        Self(canonical.into())
    }

    /// Returns its cost, as a power of two.
    pub(super) fn cost(&self) -> &str {
        self.0.expose().get(4..6).unwrap_or_default()
    }

    /// Compares a password. An invalid hash matches no password.
    // Only the first 72 bytes of a password count, as in the reference.
    pub(super) fn verify(&self, shown: &Secret) -> bool {
        bcrypt::verify(shown.expose(), self.0.expose()).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the hash of "password", at the lowest cost there is.
    fn hash() -> String {
        bcrypt::hash("password", 4).unwrap()
    }

    fn bcrypt(hash: String) -> Bcrypt {
        match Form::from(Secret::from(hash)) {
            Form::Bcrypt(hash) => hash,
            Form::Plain(_) => panic!("not recognised"),
        }
    }

    #[test]
    fn hashes_are_recognised_as_in_the_reference() {
        for hash in ["$2a$10$", "$2b$04$x", "$2x$99$", "$2y$11$abc"] {
            assert!(matches!(Form::from(Secret::from(hash)), Form::Bcrypt(_)), "{hash}");
        }
        for plain in ["", "$", "$2a$", "$2c$10$", "$2$10$", "2a$10$", "$2a$1$", "$2a$1x$", "$2a$10"]
        {
            assert!(matches!(Form::from(Secret::from(plain)), Form::Plain(_)), "{plain}");
        }
    }

    #[test]
    fn every_letter_of_bcrypt_means_the_same() {
        for letter in ["a", "b", "x", "y"] {
            let hash = bcrypt(hash().replacen("$2b", &format!("$2{letter}"), 1));
            assert!(hash.verify(&"password".into()), "{letter}");
            assert!(!hash.verify(&"passwore".into()), "{letter}");
            assert!(!hash.verify(&"".into()), "{letter}");
        }
    }

    /// A pair known from the tests of `crypt_blowfish`.
    #[test]
    fn a_hash_made_elsewhere_is_verified() {
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(bcrypt(hash.to_owned()).verify(&"U*U".into()));
        assert!(!bcrypt(hash.to_owned()).verify(&"U*V".into()));
        for (last_of_salt, same) in [("/", true), ("N", true), ("O", false), ("9", false)] {
            let filled = hash.replacen("C.E5", &format!("C{last_of_salt}E5"), 1);
            assert_eq!(bcrypt(filled).verify(&"U*U".into()), same, "{last_of_salt}");
        }
    }

    #[test]
    fn an_invalid_hash_matches_no_password() {
        let whole = hash();
        for broken in [&whole[..7], &whole[..59], "$2a$03$", "$2a$99$ü", &format!("{whole}x")] {
            assert!(!bcrypt(broken.to_owned()).verify(&"password".into()), "{broken}");
        }
        let too_cheap = whole.replacen("$04$", "$03$", 1);
        assert!(!bcrypt(too_cheap).verify(&"password".into()));
    }

    #[test]
    fn only_72_bytes_of_a_password_count() {
        let hash = bcrypt(bcrypt::hash("x".repeat(72), 4).unwrap());
        assert!(hash.verify(&"x".repeat(80).into()));
        assert!(!hash.verify(&"x".repeat(71).into()));
    }

    #[test]
    fn a_password_is_recognised_in_another_form() {
        let password = |text: &str| Password::from(Secret::from(text));
        let [plain, hashed, other] = ["password", &*hash(), "passwore"].map(password);
        assert!(plain.is_known_as(&password("password")), "equal text is the same password");
        for (before, after) in [(&plain, &hashed), (&hashed, &plain)] {
            assert!(!after.is_known_as(before), "the two forms have not been compared");
            let mut after = after.clone();
            after.succeed(before);
            assert!(after.is_known_as(before));
        }
        for before in [&hashed, &plain] {
            let mut after = other.clone();
            after.succeed(before);
            assert!(!after.is_known_as(before));
        }
        let mut hashed_anew = password(&hash());
        hashed_anew.succeed(&hashed);
        assert!(!hashed_anew.is_known_as(&hashed), "two different hashes cannot be compared");
    }
}
