//! The URLs of other servers.

use broker_core::auth::Secret;
use broker_core::cluster::RouteAddress;

/// Parses `nats://user:password@host:port`.
///
/// # Errors
///
/// Returns what is wrong, without the URL.
// NATS 2.14: opts.go parseURL; net/url Parse. It accepts URLs without a host or port, to which no connection can be
// made.
pub(super) fn parse(url: &str) -> Result<RouteAddress, &'static str> {
    const EXPECTED: &str = "expected an address with a port, such as \"nats://host:6222\"";
    let (scheme, rest) = url.trim().split_once("://").ok_or(EXPECTED)?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(is_letter) {
        return Err(EXPECTED);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    let (host, port) = address.rsplit_once(':').ok_or(EXPECTED)?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').ok_or(EXPECTED)?,
        None if host.contains(':') => return Err(EXPECTED),
        None => host,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| *port > 0 && is_number).ok_or(EXPECTED)?;
    if host.is_empty() {
        return Err(EXPECTED);
    }
    let credentials = user.map(credentials).transpose()?;
    Ok(RouteAddress { host: host.to_owned(), port, credentials })
}

fn credentials(user_info: &str) -> Result<(String, Secret), &'static str> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let wrong = "an escape in its user or password is wrong";
    let user = unescape(user).ok_or(wrong)?;
    let password = unescape(password).ok_or(wrong)?;
    Ok((user, password.into()))
}

/// Decodes `%40`; `None` if an escape is wrong or the text is not UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let mut byte = *first;
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let value = digit(digits[0])? << 4 | digit(digits[1])?;
            byte = u8::try_from(value).ok()?;
            rest = behind;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_credentials() {
        let of = |user: &str, password: &str| Some((user.to_owned(), password.into()));
        for (url, host, port, credentials) in [
            ("nats://a:1", "a", 1, None),
            (" nats-route://a.b:6222/x?y ", "a.b", 6222, None),
            ("tls://[::1]:1", "::1", 1, None),
            ("nats://u:p@a:1", "a", 1, of("u", "p")),
            ("nats://u:p%40:%2f@a:1", "a", 1, of("u", "p@:/")),
            ("nats://u@a:1", "a", 1, of("u", "")),
            ("nats://@a:1", "a", 1, of("", "")),
        ] {
            let expected = RouteAddress { host: host.to_owned(), port, credentials };
            assert_eq!(parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn addresses_without_a_connection_are_refused() {
        for url in [
            "",
            "a",
            "a:1",
            "nats://",
            "nats://a",
            "nats://:1",
            "nats://a:",
            "nats://a:0",
            "nats://a:+1",
            "nats://a:65536",
            "nats://::1:1",
            "nats://[::1:1",
            "://a:1",
            "nats://%zz:p@a:1",
            "nats://u:%f@a:1",
            "n ts://a:1",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
