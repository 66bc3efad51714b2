use proptest::prelude::*;

use super::*;

const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// Returns the valid request with one line replaced or added.
fn with(line: &str) -> String {
    let name = line.split(':').next().unwrap();
    let mut lines: Vec<&str> = GOOD.trim_end().split("\r\n").collect();
    lines.retain(|good| !good.starts_with(name) || !good.contains(':'));
    lines.push(line);
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

fn without(name: &str) -> String {
    let lines: Vec<&str> =
        GOOD.trim_end().split("\r\n").filter(|line| !line.starts_with(name)).collect();
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

fn asked(request: &str, rules: &Rules) -> Result<Client, Refusal> {
    parse(request.as_bytes(), rules).map(|parsed| parsed.unwrap().client)
}

fn refusal(request: &str) -> Refusal {
    asked(request, &Rules::default()).unwrap_err()
}

#[test]
fn a_valid_request_is_accepted() {
    let parsed = parse(GOOD.as_bytes(), &Rules::default()).unwrap().unwrap();
    assert_eq!(parsed.used, GOOD.len());
    assert_eq!(parsed.client.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!parsed.client.is_compressed && !parsed.client.is_browser && !parsed.client.is_bare);
}

#[test]
fn paths_and_queries_do_not_matter() {
    let request = GOOD.replace("GET /", "GET /any/path?query=1");
    assert!(asked(&request, &Rules::default()).is_ok());
    assert_eq!(refusal(&GOOD.replace("GET /", "GET /mqtt")), Refusal::NoSuchPath);
    assert_eq!(refusal(&GOOD.replace("GET /", "GET /leafnode?x")), Refusal::NoSuchPath);
}

#[test]
fn an_incomplete_set_of_headers_is_refused() {
    for (request, expected) in [
        (GOOD.replace("GET", "POST"), Refusal::Method),
        (without("Host"), Refusal::NoHost),
        (with("Host:"), Refusal::NoHost),
        (without("Upgrade"), Refusal::Upgrade),
        (with("Upgrade: h2c"), Refusal::Upgrade),
        (without("Connection"), Refusal::Connection),
        (with("Connection: close"), Refusal::Connection),
        (without("Sec-WebSocket-Key"), Refusal::NoKey),
        (with("Sec-WebSocket-Key: c2hvcnQ="), Refusal::Key),
        (with("Sec-WebSocket-Key: no base64!"), Refusal::Key),
        (without("Sec-WebSocket-Version"), Refusal::Version),
        (with("Sec-WebSocket-Version: 8"), Refusal::Version),
        (String::from("CONNECT {}\r\n\r\n"), Refusal::Malformed),
        (String::from("\x16\x03\x01\0\r\n\r\n"), Refusal::Malformed),
    ] {
        assert_eq!(refusal(&request), expected, "{request}");
        assert!(expected.status().is_some());
    }
}

#[test]
fn tokens_are_found_among_others_and_in_any_case() {
    for line in ["Upgrade: h2c, WebSocket", "upgrade: websocket", "Connection: UPGRADE"] {
        assert!(asked(&with(line), &Rules::default()).is_ok(), "{line}");
    }
    assert_eq!(refusal(&with("Upgrade: websockets")), Refusal::Upgrade);
}

#[test]
fn a_request_may_be_8_kib_and_no_more() {
    let field = "X: ";
    let room = HEAD_BYTES - GOOD.len() - field.len() - 2;
    let fits = with(&format!("{field}{}", "x".repeat(room)));
    assert_eq!(fits.len(), HEAD_BYTES);
    assert!(asked(&fits, &Rules::default()).is_ok());
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEAD_BYTES));
    assert_eq!(
        parse(&endless.as_bytes()[..HEAD_BYTES - 1], &Rules::default()).unwrap().map(|_| ()),
        None
    );
    assert_eq!(refusal(&endless[..HEAD_BYTES]), Refusal::TooLarge);
    let lines = "a:\r\n".repeat((HEAD_BYTES - GOOD.len()) / "a:\r\n".len());
    let many = GOOD.replacen("\r\n", &format!("\r\n{lines}"), 1);
    assert!(asked(&many, &Rules::default()).is_ok(), "bytes are bounded, not lines");
}

#[test]
fn the_origin_of_a_page_must_be_allowed() {
    let same = Rules { same_origin: true, ..Rules::default() };
    let mut listed = Rules::default();
    listed.allowed_origins.add("https://example.com").unwrap();
    listed.allowed_origins.add("http://example.com:8080").unwrap();
    let both = Rules { same_origin: true, ..listed.clone() };
    let tls = Rules { is_tls: true, ..same.clone() };
    let not_same = Err(Refusal::Origin("not same origin"));
    let not_listed = Err(Refusal::Origin("not in the allowed list"));
    for (rules, line, expected) in [
        (&Rules::default(), "Origin: http://evil.org", Ok(())),
        (&same, "X: no origin at all", Ok(())),
        (&same, "Origin: http://localhost:8080", Ok(())),
        (&same, "Sec-WebSocket-Origin: http://LOCALHOST:8080", Ok(())),
        (&same, "Origin: http://localhost", not_same.clone()),
        (&same, "Origin: https://localhost:8080", not_same.clone()),
        (&same, "Origin: null", Err(Refusal::Origin("invalid URI for request"))),
        (&tls, "Origin: https://localhost:8080", Ok(())),
        (&listed, "Origin: https://example.com", Ok(())),
        (&listed, "Origin: http://example.com:8080", Ok(())),
        (&listed, "Origin: http://example.com", not_listed.clone()),
        (&both, "Origin: https://example.com", not_same),
        (&both, "Origin: http://localhost:8080", not_listed),
    ] {
        assert_eq!(asked(&with(line), rules).map(|_| ()), expected, "{line}");
    }
}

#[test]
fn compression_needs_offer_and_configuration() {
    let rules = Rules { compression: true, ..Rules::default() };
    let offer = |value: &str| with(&format!("Sec-WebSocket-Extensions: {value}"));
    for (value, window) in [
        ("permessage-deflate", Some(15)),
        ("x-webkit, permessage-deflate; client_max_window_bits", Some(15)),
        ("permessage-deflate; server_max_window_bits=9", Some(9)),
        ("permessage-deflate; server_max_window_bits=7, permessage-deflate", Some(15)),
        ("permessage-bzip2", None),
    ] {
        let client = asked(&offer(value), &rules).unwrap();
        assert_eq!(client.is_compressed.then_some(client.window_bits), window, "{value}");
        assert!(!asked(&offer(value), &Rules::default()).unwrap().is_compressed);
    }
}

#[test]
fn only_clients_other_than_browsers_may_omit_the_mask() {
    let bare = with("Nats-No-Masking: true");
    assert!(asked(&bare, &Rules::default()).unwrap().is_bare);
    assert!(!asked(&with("Nats-No-Masking: yes"), &Rules::default()).unwrap().is_bare);
    let browser = bare.replace("Upgrade:", "User-Agent: Mozilla/5.0\r\nUpgrade:");
    let client = asked(&browser, &Rules::default()).unwrap();
    assert!(client.is_browser && !client.is_bare);
}

#[test]
fn safari_is_distinguished_from_browsers_that_claim_to_be() {
    let agent = |agent: &str| {
        asked(&with(&format!("User-Agent: {agent}")), &Rules::default()).unwrap().is_safari
    };
    assert!(agent("Mozilla/5.0 (Macintosh) AppleWebKit/605 Version/17.0 Safari/605"));
    assert!(!agent("Mozilla/5.0 (Macintosh) AppleWebKit/537 Chrome/120 Safari/537"));
}

#[test]
fn configured_cookies_supply_credentials() {
    let cookies = CookieNames { jwt: "j".into(), user: "u".into(), ..CookieNames::default() };
    let rules = Rules { cookies, ..Rules::default() };
    let line = r#"Cookie: j="a.b.c"; u=derek; p=secret; =x; u2=y; z"#;
    let cookies = asked(&with(line), &rules).unwrap().cookies;
    assert_eq!(cookies.jwt, "a.b.c".into());
    assert_eq!(cookies.user, "derek");
    assert!(cookies.password.is_empty() && cookies.token.is_empty());
    assert!(!format!("{cookies:?}").contains("a.b.c"));
}

#[test]
fn a_forwarded_address_must_be_valid() {
    let forwarded = |value: &str| {
        let line = format!("X-Forwarded-For: {value}");
        asked(&with(&line), &Rules::default()).unwrap().forwarded_for
    };
    assert_eq!(forwarded("1.2.3.4"), Some("1.2.3.4".parse().unwrap()));
    assert_eq!(forwarded("::1"), Some("::1".parse().unwrap()));
    assert_eq!(forwarded("1.2.3.4, 5.6.7.8"), None);
    assert_eq!(forwarded("evil\" - cid:1"), None);
}

proptest! {
    #[test]
    fn an_incomplete_request_is_awaited(end in 0..GOOD.len()) {
        prop_assert!(parse(&GOOD.as_bytes()[..end], &Rules::default()).unwrap().is_none());
    }

    #[test]
    fn no_input_causes_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, &Rules::default());
        let mut request = GOOD.as_bytes()[..GOOD.len() - 2].to_vec();
        request.extend_from_slice(&bytes);
        let _ = parse(&request, &Rules { same_origin: true, ..Rules::default() });
    }
}
