//! Names of a client's certificate.

use std::fmt;

/// The names in a client's certificate, by which [`Users`](super::Users) finds the user.
///
/// Made only from a certificate that the transport has verified.
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
    /// Returns the texts that name a user, in the order of the look-up. The [parsed](DistinguishedName::parse)
    /// subject is looked up before the last two.
    // NATS 2.14: auth.go checkClientTLSCertSubject.
    pub(super) fn alternative_names(&self) -> impl Iterator<Item = &str> {
        self.emails.iter().chain(&self.dns_names).chain(&self.uris).map(String::as_str)
    }

    /// Returns true if it has this name, as far as names without structure can be compared.
    // NATS 2.14: auth.go checkClientTLSCertSubject, isRouterAuthorized.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.alternative_names().any(|other| other == name)
            || self.subject_texts().any(|other| other == name)
    }

    /// Returns true if one of its DNS names, which may begin with a wildcard, is that of a host.
    // NATS 2.14: auth.go dnsAltNameMatches.
    pub(crate) fn is_for<'h>(&self, mut hosts: impl Iterator<Item = &'h str>) -> bool {
        hosts.any(|host| self.dns_names.iter().any(|name| is_name_of(name, host)))
    }

    /// Returns the subject as text: with the domain components, if there are any, and without.
    pub(super) fn subject_texts(&self) -> impl Iterator<Item = String> {
        let text = self.subject.standard_text();
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

/// Returns true if a DNS name of a certificate is that of a host. A wildcard stands for the first label only.
fn is_name_of(name: &str, host: &str) -> bool {
    let (mut name, mut host) = (name.split('.'), host.split('.'));
    let mut is_first = true;
    loop {
        let is_equal = match (name.next(), host.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) if is_first => true,
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        };
        if !is_equal {
            return false;
        }
        is_first = false;
    }
}

/// A distinguished name: `CN=www,OU=ops+L=here,O=acme`, as in RFC 4514: the last relative name of the
/// certificate comes first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DistinguishedName {
    /// The relative names in the order of the certificate; each may have several attributes.
    rdns: Vec<Vec<Attribute>>,
}

/// One attribute of a [`DistinguishedName`].
#[derive(Clone, Debug, Eq, PartialEq)]
struct Attribute {
    /// A short name (`CN`) or a dotted object identifier.
    kind: String,
    value: String,
}

impl Attribute {
    fn matches(&self, other: &Self) -> bool {
        self.kind.eq_ignore_ascii_case(&other.kind) && self.value == other.value
    }
}

/// The comparable attributes, by object identifier.
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

/// The standard attributes in the order of the text; several of a kind are adjacent.
// Go: crypto/x509/pkix, Name.ToRDNSequence, which RDNSequence.String prints from its end.
const SHOWN: [&str; 9] = ["SERIALNUMBER", "CN", "OU", "O", "POSTALCODE", "STREET", "L", "ST", "C"];

/// The attributes that a name has once: the last in the certificate counts, and an empty one is left out.
// Go: crypto/x509/pkix, Name.FillFromRDNSequence.
const SINGLE: [&str; 2] = ["SERIALNUMBER", "CN"];

impl DistinguishedName {
    /// Builds a name from the attributes of each relative name (dotted object identifier and value), in the
    /// order of the certificate.
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

    /// Parses the text form of RFC 4514; returns `None` if it is invalid.
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

    /// Returns the standard attributes in a fixed order: the text that can name a user.
    // Go: crypto/x509/pkix, Name.ToRDNSequence().String().
    fn standard_text(&self) -> String {
        let mut parts = Vec::new();
        for kind in SHOWN {
            let of_kind = self.rdns.iter().flatten().filter(|attribute| attribute.kind == kind);
            let mut texts =
                of_kind.map(|attribute| format!("{kind}={}", Escaped(&attribute.value)));
            let texts: Vec<String> = if SINGLE.contains(&kind) {
                let last = texts.next_back().filter(|text| text.len() > kind.len() + 1);
                last.into_iter().collect()
            } else {
                texts.collect()
            };
            if !texts.is_empty() {
                parts.push(texts.join("+"));
            }
        }
        parts.join(",")
    }

    /// Returns true if it can be compared with a name from [`Self::parse`].
    fn is_comparable(&self) -> bool {
        let is_known =
            |attribute: &Attribute| KNOWN.iter().any(|(_, kind)| *kind == attribute.kind);
        !self.rdns.is_empty() && self.rdns.iter().flatten().all(is_known)
    }

    /// Returns true if both have the same relative names in the same order.
    // NATS 2.14: internal/ldap, Equal.
    pub(super) fn equals(&self, certificate: &Self) -> bool {
        certificate.is_comparable()
            && self.rdns.len() == certificate.rdns.len()
            && self.rdns.iter().zip(&certificate.rdns).all(|(one, other)| matches(one, other))
    }

    /// Returns true if both have the same relative names in any order.
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

/// Parses a value, and returns its end too.
fn value(text: &str) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    // Unescaped blanks around a value are not part of it.
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

/// Prints the subject as Go and NATS's monitoring do: the standard attributes in a fixed order, then the
/// others by object identifier with their values in hexadecimal DER, the last first.
// Go: crypto/x509/pkix, Name.String.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standard = self.standard_text();
        f.write_str(&standard)?;
        let mut separator = if standard.is_empty() { "" } else { "," };
        let all = self.rdns.iter().rev().flat_map(|rdn| rdn.iter().rev());
        for attribute in all.filter(|attribute| !SHOWN.contains(&&*attribute.kind)) {
            let known = KNOWN.iter().find(|(_, kind)| *kind == attribute.kind);
            let oid = known.map_or(&*attribute.kind, |(oid, _)| oid);
            write!(f, "{separator}{oid}=#{}", Der(&attribute.value))?;
            separator = ",";
        }
        Ok(())
    }
}

/// A string in DER, in hexadecimal: a `PrintableString` if it can be one, else a `UTF8String`.
// Go: encoding/asn1, Marshal of a string.
struct Der<'a>(&'a str);

impl fmt::Display for Der<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_printable = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?')
        };
        let tag = if self.0.bytes().all(is_printable) { 0x13 } else { 0x0c };
        write!(f, "{tag:02x}")?;
        let len = self.0.len();
        if len < 0x80 {
            write!(f, "{len:02x}")?;
        } else {
            let bytes = len.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            write!(f, "{:02x}", 0x80 + bytes.len())?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        self.0.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
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
    const C: &str = "2.5.4.6";
    const L: &str = "2.5.4.7";
    const ST: &str = "2.5.4.8";
    const STREET: &str = "2.5.4.9";
    const POSTAL_CODE: &str = "2.5.4.17";
    const SERIAL_NUMBER: &str = "2.5.4.5";
    const DC: &str = "0.9.2342.19200300.100.1.25";

    fn name(rdns: &[&[(&str, &str)]]) -> DistinguishedName {
        DistinguishedName::from_attributes(rdns.iter().map(|rdn| rdn.iter().copied()))
    }

    #[test]
    fn a_certificate_is_for_hosts_by_dns_names_and_of_a_user_by_any_name() {
        let dns_names = ["a.example", "*.b.example"].map(String::from).to_vec();
        let emails = vec![String::from("c.example")];
        let subject = name(&[&[(O, "acme")], &[(CN, "www")]]);
        let certificate = Certificate { dns_names, emails, subject, ..Certificate::default() };
        for (host, expected) in [
            ("A.example", true),
            ("x.b.example", true),
            ("x.y.b.example", false),
            ("b.example", false),
            ("example", false),
            ("c.example", false),
            ("www", false),
        ] {
            assert_eq!(certificate.is_for(["z", host].into_iter()), expected, "{host}");
        }
        for (user, expected) in
            [("c.example", true), ("a.example", true), ("CN=www,O=acme", true), ("www", false)]
        {
            assert_eq!(certificate.is_of(user), expected, "{user}");
        }
    }

    #[test]
    fn a_name_prints_as_the_reference_prints_it() {
        for (rdns, text) in [
            (&[&[(O, "acme")][..], &[(OU, "ops")], &[(CN, "www")]][..], "CN=www,OU=ops,O=acme"),
            (&[&[(CN, "www")], &[(O, "acme")]], "CN=www,O=acme"),
            (&[&[(OU, "a")], &[(CN, "x")], &[(OU, "b")]], "CN=x,OU=a+OU=b"),
            (&[&[(CN, "x"), (OU, "y")]], "CN=x,OU=y"),
            (&[&[(CN, " #a,b+c\"d\\e<f>g;h= ")]], "CN=\\ #a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=\\ "),
            (&[&[(CN, "#a")]], "CN=\\#a"),
            (&[], ""),
        ] {
            assert_eq!(name(rdns).standard_text(), text);
            assert_eq!(name(rdns).to_string(), text);
        }
    }

    /// The output of crypto/x509/pkix of Go 1.26 for certificates made by OpenSSL.
    #[test]
    fn attributes_print_in_the_order_of_the_reference() {
        let person = [
            (C, "US"),
            (ST, "CA"),
            (L, "LA"),
            (O, "Acme"),
            (OU, "Ops"),
            (CN, "app"),
            ("1.2.840.113549.1.9.1", "a@b.c"),
        ];
        let all = [
            (SERIAL_NUMBER, "7"),
            (POSTAL_CODE, "1"),
            (STREET, "s t"),
            (C, "DE"),
            (ST, "B"),
            (L, "M"),
            (O, "o1"),
            (O, "o2"),
            (CN, "first"),
            (CN, "second"),
            ("2.5.4.12", "Dr"),
        ];
        let domain = [(DC, "org"), (DC, "acme"), (CN, "x")];
        let others = [(CN, ""), ("2.5.4.42", "ab*c&d"), ("2.5.4.12", "größe")];
        let person_text = "CN=app,OU=Ops,O=Acme,L=LA,ST=CA,C=US";
        let all_text = "SERIALNUMBER=7,CN=second,O=o1+O=o2,POSTALCODE=1,STREET=s t,L=M,ST=B,C=DE";
        for (attributes, standard, others) in [
            (&person[..], person_text, ",1.2.840.113549.1.9.1=#0c056140622e63"),
            (&all, all_text, ",2.5.4.12=#13024472"),
            (
                &domain,
                "CN=x",
                ",0.9.2342.19200300.100.1.25=#130461636d65,0.9.2342.19200300.100.1.25=#13036f7267",
            ),
            (&others, "", "2.5.4.12=#0c076772c3b6c39f65,2.5.4.42=#0c0661622a632664"),
        ] {
            let name = DistinguishedName::from_attributes(attributes.iter().map(|one| [*one]));
            assert_eq!(name.standard_text(), standard);
            assert_eq!(name.to_string(), format!("{standard}{others}"));
        }
        let long = "x".repeat(200);
        let name = name(&[&[("2.5.4.12", &long)]]).to_string();
        assert!(name.starts_with("2.5.4.12=#1381c878"), "{name}");
    }

    #[test]
    fn printed_names_parse_again() {
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
    fn invalid_names_are_not_parsed() {
        for text in ["", "derek", "=x", "CN=a,", "CN=a,b", "CN=#0403", "CN=a\\", "CN=\\x", "a,CN=b"]
        {
            assert_eq!(DistinguishedName::parse(text), None, "{text}");
        }
    }

    /// As in the reference, an unknown attribute cannot be compared, and is only printed.
    #[test]
    fn a_name_with_an_unknown_attribute_equals_none() {
        let certificate = name(&[&[("1.2.840.113549.1.9.1", "a@b")], &[(CN, "x")]]);
        let read = DistinguishedName::parse("CN=x,1.2.840.113549.1.9.1=a@b").unwrap();
        assert!(!read.equals(&certificate) && !read.equals_in_any_order(&certificate));
        assert_eq!(certificate.standard_text(), "CN=x");
        assert!(!DistinguishedName::default().equals(&DistinguishedName::default()));
    }
}
