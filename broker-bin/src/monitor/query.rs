//! Query parameters, parsed and refused as in the reference.

use broker_core::error::Quoted;

/// The number of entries in an answer if the request has no limit.
// NATS 2.14: DefaultConnListSize, DefaultSubListSize.
pub(super) const DEFAULT_LIMIT: usize = 1024;

/// The parameters after the `?`. Of several values with one name, the first counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// An invalid parameter, or a request for something that does not exist. The text is the response
/// body.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub(crate) String);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        // Go: pairs with a semicolon or an invalid escape are ignored.
        let pairs = text.split('&').filter(|pair| !pair.contains(';') && escapes_are_whole(pair));
        let pairs = pairs.flat_map(|pair| form_urlencoded::parse(pair.as_bytes()).into_owned());
        Self { pairs: pairs.collect() }
    }

    /// Returns the value of that name; empty if absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        let pair = self.pairs.iter().find(|(other, _)| other == name);
        pair.map_or("", |(_, value)| value)
    }

    pub(crate) fn switch(&self, name: &str) -> Result<bool, BadRequest> {
        match self.text(name) {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            other => Err(refuse("boolean", name, "ParseBool", other, SYNTAX)),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Result<i64, BadRequest> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number = text.parse();
        number.map_err(|_| refuse("int", name, "Atoi", text, complaint(digits)))
    }

    pub(crate) fn uint(&self, name: &str) -> Result<u64, BadRequest> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        // Go accepts no sign here.
        let number = if text.starts_with('+') { None } else { text.parse().ok() };
        number.ok_or_else(|| refuse("uint64", name, "ParseUint", text, complaint(text)))
    }

    /// Returns whether subscriptions are requested, and whether in detail.
    pub(crate) fn subscriptions(&self) -> Result<(bool, bool), BadRequest> {
        if self.text("subs").eq_ignore_ascii_case("detail") {
            return Ok((false, true));
        }
        Ok((self.switch("subs")?, false))
    }
}

const SYNTAX: &str = "invalid syntax";

fn complaint(digits: &str) -> &'static str {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { "value out of range" } else { SYNTAX }
}

// NATS 2.14: monitor.go decodeBool and its like, with the errors of Go's strconv.
fn refuse(kind: &str, name: &str, function: &str, text: &str, why: &str) -> BadRequest {
    let quoted = Quoted::from(text);
    BadRequest(format!(
        "Error decoding {kind} for '{name}': strconv.{function}: parsing {quoted}: {why}"
    ))
}

/// Returns true if each `%` is followed by two hexadecimal digits.
pub(super) fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns the number, or 0 if it is negative.
pub(super) fn at_least_0(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(text: &str) -> Result<i64, String> {
        Query::parse(&format!("limit={text}")).int("limit").map_err(|error| error.to_string())
    }

    fn uint(text: &str) -> Result<u64, String> {
        Query::parse(&format!("cid={text}")).uint("cid").map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_and_refused_as_go_does() {
        assert_eq!(int(""), Ok(0));
        assert_eq!(int("-3"), Ok(-3));
        assert_eq!(int("%2B3"), Ok(3));
        let message = |what: &str, why: &str| {
            Err(format!("Error decoding int for 'limit': strconv.Atoi: parsing \"{what}\": {why}"))
        };
        assert_eq!(int("x"), message("x", "invalid syntax"));
        assert_eq!(int("1.5"), message("1.5", "invalid syntax"));
        assert_eq!(int("-"), message("-", "invalid syntax"));
        assert_eq!(
            int("99999999999999999999"),
            message("99999999999999999999", "value out of range")
        );
        assert_eq!(uint("18446744073709551615"), Ok(u64::MAX));
        assert!(uint("-1").unwrap_err().ends_with("ParseUint: parsing \"-1\": invalid syntax"));
        assert!(uint("%2B1").unwrap_err().ends_with("parsing \"+1\": invalid syntax"));
        assert!(uint("18446744073709551616").unwrap_err().ends_with("value out of range"));
    }

    #[test]
    fn switches_are_read_and_refused_as_go_does() {
        let query = Query::parse("a=t&b=False&c=yes");
        assert_eq!(
            (query.switch("a"), query.switch("b"), query.switch("z")),
            (Ok(true), Ok(false), Ok(false))
        );
        assert_eq!(
            query.switch("c").unwrap_err().to_string(),
            "Error decoding boolean for 'c': strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
        let subs = |text| Query::parse(text).subscriptions().unwrap();
        assert_eq!(subs("subs=DETAIL"), (false, true));
        assert_eq!(subs("subs=1"), (true, false));
        assert_eq!(subs(""), (false, false));
    }

    #[test]
    fn pairs_are_split_as_in_go() {
        let query = Query::parse("a=1&a=2&b=x%20y+z&c=%zz&d=1;e=2&f&%67=h");
        assert_eq!(query.text("a"), "1");
        assert_eq!(query.text("b"), "x y z");
        assert_eq!([query.text("c"), query.text("d"), query.text("f")], ["", "", ""]);
        assert_eq!(query.text("g"), "h");
        assert_eq!(query.text(""), "");
    }
}
