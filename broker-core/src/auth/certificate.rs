//! Who a client's certificate says it is.

use std::fmt;

/// The names in a client's certificate, for [`Users`](super::Users) to find the user by.
///
/// Only ever made of a certificate that the carrier has verified.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// Subject alternative names of the kind e-mail address.
    pub emails: Vec<String>,
    /// Subject alternative names of the kind DNS name.
    pub dns_names: Vec<String>,
    /// Subject alternative names of the kind URI.
    pub uris: Vec<String>,
    /// The subject.
    pub subject: DistinguishedName,
}

impl Certificate {
    /// The texts that name a user, in the order in which they are looked up; before the last two comes
    /// the subject [as such](DistinguishedName::parse).
    // NATS 2.14: auth.go checkClientTLSCertSubject.
    pub(super) fn alternative_names(&self) -> impl Iterator<Item = &str> {
        self.emails.iter().chain(&self.dns_names).chain(&self.uris).map(String::as_str)
    }

    /// The subject as text, with the domain components, if there are any, and without.
    pub(super) fn subject_texts(&self) -> impl Iterator<Item = String> {
        let text = self.subject.to_string();
        let domain: Vec<String> = self
            .subject
            .rdns
            .iter()
            .flatten()
            .filter(|attribute| attribute.kind == "DC")
            .map(|attribute| format!("DC={}", attribute.value))
            .collect();
        let with_domain = (!domain.is_empty()).then(|| format!("{text},{}", domain.join(",")));
        with_domain.into_iter().chain([text])
    }
}

/// A distinguished name: `CN=www,OU=ops+L=here,O=acme`, as RFC 4514 writes it: what stands last in the
/// certificate comes first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DistinguishedName {
    /// In the order of the certificate; each may have several attributes.
    rdns: Vec<Vec<Attribute>>,
}

/// One attribute of a [`DistinguishedName`].
#[derive(Clone, Debug, Eq, PartialEq)]
struct Attribute {
    /// A short name (`CN`), or an object identifier in dots.
    kind: String,
    value: String,
}

impl Attribute {
    fn matches(&self, other: &Self) -> bool {
        self.kind.eq_ignore_ascii_case(&other.kind) && self.value == other.value
    }
}

/// The attributes that can be compared, by object identifier.
// NATS 2.14: internal/ldap.
const KNOWN: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.17", "POSTALCODE"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The attributes that the text shows, in its order: several of a kind stand together.
// Go: crypto/x509/pkix, ToRDNSequence, the other way round.
const SHOWN: [&str; 9] = ["SERIALNUMBER", "CN", "POSTALCODE", "STREET", "ST", "L", "OU", "O", "C"];

impl DistinguishedName {
    /// From the attributes of each relative name, in the order of the certificate: object identifier in
    /// dots, and value.
    pub fn from_attributes<R, K, V>(rdns: impl IntoIterator<Item = R>) -> Self
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: Into<String>,
    {
        let attribute = |(oid, value): (K, V)| {
            let oid = oid.as_ref();
            let known = KNOWN.iter().find(|(known, _)| *known == oid);
            let kind = known.map_or(oid, |(_, kind)| kind);
            Attribute { kind: kind.to_owned(), value: value.into() }
        };
        let rdns = rdns.into_iter().map(|rdn| rdn.into_iter().map(attribute).collect());
        Self { rdns: rdns.collect() }
    }

    /// Reads what RFC 4514 writes; `None` if it is no name.
    ///
    /// Values in hexadecimal BER (`CN=#04…`) are not read.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rdns = vec![Vec::new()];
        let mut rest = text;
        loop {
            let (kind, after) = rest.split_once('=')?;
            let kind = kind.trim_matches(' ');
            if kind.is_empty() || kind.contains([',', '+', '\\']) || after.starts_with('#') {
                return None;
            }
            let (value, end) = value(after)?;
            let attribute = Attribute { kind: kind.to_owned(), value };
            if let Some(rdn) = rdns.last_mut() {
                rdn.push(attribute);
            }
            let mut behind = after[end..].chars();
            match behind.next() {
                None => break,
                Some('+') => {}
                _ => rdns.push(Vec::new()),
            }
            rest = behind.as_str();
        }
        rdns.reverse();
        Some(Self { rdns })
    }

    /// Can it be compared with what [`Self::parse`] has read?
    fn is_comparable(&self) -> bool {
        let is_known =
            |attribute: &Attribute| KNOWN.iter().any(|(_, kind)| *kind == attribute.kind);
        !self.rdns.is_empty() && self.rdns.iter().flatten().all(is_known)
    }

    /// The same relative names, in the same order.
    // NATS 2.14: internal/ldap, Equal.
    pub(super) fn equals(&self, certificate: &Self) -> bool {
        certificate.is_comparable()
            && self.rdns.len() == certificate.rdns.len()
            && self.rdns.iter().zip(&certificate.rdns).all(|(one, other)| matches(one, other))
    }

    /// The same relative names, in any order.
    // NATS 2.14: internal/ldap, RDNsMatch.
    pub(super) fn equals_in_any_order(&self, certificate: &Self) -> bool {
        if !certificate.is_comparable() || self.rdns.len() != certificate.rdns.len() {
            return false;
        }
        let mut left: Vec<&[Attribute]> = certificate.rdns.iter().map(Vec::as_slice).collect();
        self.rdns.iter().all(|rdn| {
            let at = left.iter().position(|other| matches(rdn, other));
            at.map(|at| left.swap_remove(at)).is_some()
        })
    }
}

fn matches(one: &[Attribute], other: &[Attribute]) -> bool {
    let has = |all: &[Attribute], attribute: &Attribute| all.iter().any(|a| a.matches(attribute));
    one.len() == other.len()
        && one.iter().all(|attribute| has(other, attribute))
        && other.iter().all(|attribute| has(one, attribute))
}

/// Reads a value; returns where it ends as well.
fn value(text: &str) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    // Blanks around a value do not belong to it unless they are escaped.
    let mut kept = 0;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | '+' => {
                end = at;
                break;
            }
            ' ' if bytes.is_empty() => {}
            '\\' => {
                let (_, escaped) = chars.next()?;
                if matches!(escaped, ' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') {
                    bytes.push(u8::try_from(escaped).ok()?);
                } else {
                    let (_, second) = chars.next()?;
                    let high = escaped.to_digit(16)?;
                    bytes.push(u8::try_from(high * 16 + second.to_digit(16)?).ok()?);
                }
                kept = bytes.len();
            }
            c => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    Some((String::from_utf8(bytes).ok()?, end))
}

/// As Go prints the subject of a certificate: the attributes that everybody knows, in a fixed order.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in SHOWN {
            for attribute in self.rdns.iter().flatten().filter(|attribute| attribute.kind == kind) {
                write!(f, "{separator}{kind}={}", Escaped(&attribute.value))?;
                separator = "+";
            }
            if !separator.is_empty() {
                separator = ",";
            }
        }
        Ok(())
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (at, c) in self.0.chars().enumerate() {
            let must_escape = match c {
                ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
                ' ' => at == 0 || at == last,
                '#' => at == 0,
                _ => false,
            };
            if must_escape {
                f.write_str("\\")?;
            }
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CN: &str = "2.5.4.3";
    const OU: &str = "2.5.4.11";
    const O: &str = "2.5.4.10";
    const DC: &str = "0.9.2342.19200300.100.1.25";

    fn name(rdns: &[&[(&str, &str)]]) -> DistinguishedName {
        DistinguishedName::from_attributes(rdns.iter().map(|rdn| rdn.iter().copied()))
    }

    #[test]
    fn a_name_prints_as_the_reference_prints_it() {
        for (rdns, text) in [
            (&[&[(O, "acme")][..], &[(OU, "ops")], &[(CN, "www")]][..], "CN=www,OU=ops,O=acme"),
            (&[&[(CN, "www")], &[(O, "acme")]], "CN=www,O=acme"),
            (&[&[(OU, "a")], &[(CN, "x")], &[(OU, "b")]], "CN=x,OU=a+OU=b"),
            (&[&[(CN, "x"), (OU, "y")]], "CN=x,OU=y"),
            (&[&[(DC, "org")], &[(CN, "x")], &[("1.2.3", "hidden")]], "CN=x"),
            (&[&[(CN, " #a,b+c\"d\\e<f>g;h= ")]], "CN=\\ #a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=\\ "),
            (&[&[(CN, "#a")]], "CN=\\#a"),
            (&[], ""),
        ] {
            assert_eq!(name(rdns).to_string(), text);
        }
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        for value in ["plain", " blanks ", "#,+\"\\<>;=", "größe", "a b", "a\u{0}b"] {
            let name = name(&[&[(O, value)], &[(CN, value), (OU, "x")]]);
            let text = "OU=x+CN=".to_owned() + &Escaped(value).to_string();
            let text = format!("{text},O={}", Escaped(value));
            let read = DistinguishedName::parse(&text).unwrap();
            assert!(read.equals(&name), "{text}");
        }
    }

    #[test]
    fn names_equal_each_other_by_relative_names() {
        let certificate = name(&[&[(DC, "org")], &[(DC, "acme")], &[(CN, "www"), (OU, "ops")]]);
        for (text, is_equal, is_equal_in_any_order) in [
            ("CN=www+OU=ops,DC=acme,DC=org", true, true),
            ("ou=ops + cn=www, dc=acme , dc=org", true, true),
            ("DC=org,DC=acme,CN=www+OU=ops", false, true),
            ("CN=www,OU=ops,DC=acme,DC=org", false, false),
            ("CN=WWW+OU=ops,DC=acme,DC=org", false, false),
            ("CN=www+OU=ops,DC=org,DC=org", false, false),
            ("CN=www+OU=ops,DC=acme", false, false),
            ("CN=www+OU=ops,DC=acme,DC=org,O=x", false, false),
            ("CN=\\77ww+OU=ops,DC=acme,DC=org", true, true),
        ] {
            let read = DistinguishedName::parse(text).unwrap();
            assert_eq!(read.equals(&certificate), is_equal, "{text}");
            assert_eq!(read.equals_in_any_order(&certificate), is_equal_in_any_order, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_not_read() {
        for text in ["", "derek", "=x", "CN=a,", "CN=a,b", "CN=#0403", "CN=a\\", "CN=\\x", "a,CN=b"]
        {
            assert_eq!(DistinguishedName::parse(text), None, "{text}");
        }
    }

    /// As in the reference: what is not known cannot be compared, only printed without it.
    #[test]
    fn a_name_with_an_attribute_that_nobody_knows_equals_none() {
        let certificate = name(&[&[("1.2.840.113549.1.9.1", "a@b")], &[(CN, "x")]]);
        let read = DistinguishedName::parse("CN=x,1.2.840.113549.1.9.1=a@b").unwrap();
        assert!(!read.equals(&certificate) && !read.equals_in_any_order(&certificate));
        assert_eq!(certificate.to_string(), "CN=x");
        assert!(!DistinguishedName::default().equals(&DistinguishedName::default()));
    }
}
