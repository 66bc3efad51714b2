use broker_bin::{Daemon, Options};

use crate::common::{Answer, Client, ask, get, json, options, start};

/// Total size of the files that a browser loads. Raised only deliberately.
const BUNDLE_BYTES: usize = 92 << 10;

async fn get_with(daemon: &Daemon, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n");
    ask(daemon, &request).await
}

/// Returns the files that the page refers to, transitively.
async fn files(daemon: &Daemon) -> Vec<(String, Answer)> {
    let page = get(daemon, "/").await;
    let named = |text: &str, before: &str| -> Vec<String> {
        let parts = text.split(before).skip(1);
        parts.filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect()
    };
    let mut wanted = named(&page.body, "\"./page/");
    let mut found: Vec<(String, Answer)> = Vec::new();
    while let Some(name) = wanted.pop() {
        if found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let answer = get(daemon, &format!("/page/{name}")).await;
        wanted.extend(named(&answer.body, " from \"./"));
        found.push((name, answer));
    }
    found.push(("".into(), page));
    found
}

#[tokio::test]
async fn the_page_is_small_and_refers_to_no_other_site() {
    let daemon = start().await;
    let files = files(&daemon).await;
    assert!(files.len() >= 10, "{files:?}");
    let mut bytes = 0;
    for (name, answer) in &files {
        assert_eq!(answer.status, 200, "{name}");
        bytes += answer.body.len();
        // SVG namespaces are not addresses.
        let text = answer.body.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in ["http:", "https:", "src=\"//", "href=\"//", "@import", "url("] {
            assert!(!text.contains(elsewhere), "{name}: {elsewhere}");
        }
    }
    assert!(bytes <= BUNDLE_BYTES, "{bytes} bytes");
}

#[tokio::test]
async fn each_file_has_its_content_type_and_security_policy() {
    let daemon = start().await;
    for (name, answer) in files(&daemon).await {
        let kind = match name.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{name}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{name}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{name}");
        let policy = answer.header("content-security-policy").unwrap();
        let mut directives: Vec<&str> = policy.split("; ").collect();
        directives.sort_unstable();
        let expected = [
            "base-uri 'none'",
            "connect-src 'self'",
            "default-src 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "img-src 'self'",
            "require-trusted-types-for 'script'",
            "script-src 'self'",
            "style-src 'self'",
            "trusted-types 'none'",
        ];
        assert_eq!(directives, expected, "{name}");
    }
}

#[tokio::test]
async fn cached_files_are_not_sent_again() {
    let daemon = start().await;
    for path in ["/", "/page/app.js"] {
        let answer = get(&daemon, path).await;
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "revalidated each time");
        let tag = answer.header("etag").unwrap().to_owned();
        for known in [&*tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
            let answer = get_with(&daemon, path, &format!("If-None-Match: {known}\r\n")).await;
            assert_eq!((answer.status, &*answer.body), (304, ""), "{known}");
            assert_eq!(answer.header("etag"), Some(&*tag));
        }
        let answer = get_with(&daemon, path, "If-None-Match: \"other\"\r\n").await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn head_returns_the_headers_of_get() {
    let daemon = start().await;
    for path in ["/", "/page/style.css"] {
        let whole = get(&daemon, path).await;
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let head = ask(&daemon, &request).await;
        assert_eq!((head.status, &*head.body), (200, ""));
        for name in ["content-type", "content-length", "etag", "content-security-policy"] {
            assert!(head.header(name).is_some(), "{name}");
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn there_are_no_other_files() {
    let daemon = start().await;
    for path in ["/page", "/page/", "/page/nope.js", "/page/index.html", "/page/mod.rs", "/app.js"]
    {
        let answer = get(&daemon, path).await;
        assert_eq!((answer.status, &*answer.body), (404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn the_page_finds_its_files_below_a_base_path() {
    let options = Options { http_base_path: Some("/a/nats".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    // Links as resolved from /a/nats.
    let page = get(&daemon, "/a/nats").await.body;
    assert!(page.contains("src=\"./nats/page/app.js\""), "{page}");
    assert!(page.contains("href=\"./nats/varz\""), "{page}");
    assert_eq!(get(&daemon, "/a/nats/page/app.js").await.status, 200);
    assert_eq!(get(&daemon, "/page/app.js").await.status, 404);
}

#[tokio::test]
async fn the_page_requires_the_same_credentials_as_the_endpoints() {
    let options = Options { http_token: Some("t0k".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    for path in ["/", "/page/app.js", "/page/style.css"] {
        assert_eq!(get(&daemon, path).await.status, 401, "{path}");
        let bearer = get_with(&daemon, path, "Authorization: Bearer t0k\r\n").await;
        assert_eq!(bearer.status, 200, "{path}");
        // x:t0k, the form in which a browser sends a token.
        let basic = get_with(&daemon, path, "Authorization: Basic eDp0MGs=\r\n").await;
        assert_eq!(basic.status, 200, "{path}");
    }
    let browser = get_with(&daemon, "/", "Accept: text/html,*/*;q=0.8\r\n").await;
    assert_eq!(browser.status, 401);
    assert_eq!(
        browser.headers("www-authenticate"),
        ["bearer realm=\"natsd\"", "basic realm=\"natsd\", charset=\"utf-8\""],
        "browsers prompt for a password"
    );
}

#[tokio::test]
async fn connections_are_searched_in_all_displayed_fields() {
    let daemon = start().await;
    let a = Client::connect(&daemon, r#""name":"Orders-1","lang":"go","version":"1.2.3""#).await;
    let b = Client::connect(&daemon, r#""name":"billing","lang":"rust""#).await;
    let gone = Client::connect(&daemon, r#""name":"orders-gone""#).await;
    gone.leave(&daemon).await;
    let found = async |query: &str| -> (u64, Vec<u64>) {
        let connz = json(&daemon, &format!("/connz?{query}")).await;
        let cids = connz["connections"].as_array().unwrap().iter();
        (connz["total"].as_u64().unwrap(), cids.map(|one| one["cid"].as_u64().unwrap()).collect())
    };
    assert_eq!(found("search=ORDERS").await, (1, vec![a.cid]), "case is ignored");
    assert_eq!(found("search=orders&state=any").await.0, 2);
    assert_eq!(found("search=rust").await, (1, vec![b.cid]));
    assert_eq!(found("search=1.2").await, (1, vec![a.cid]));
    assert_eq!(found(&format!("search=:{}", b.port)).await, (1, vec![b.cid]));
    assert!(found(&format!("search={}", b.cid)).await.1.contains(&b.cid));
    assert_eq!(found("search=client+closed&state=closed").await.0, 1, "reasons are searched");
    assert_eq!(found("search=nobody").await, (0, vec![]));
    assert_eq!(
        found("search=127.0.0.1&limit=1&offset=1").await,
        (2, vec![b.cid]),
        "the page is selected"
    );
    assert_eq!(found("search=$G").await.0, 0, "accounts are not searched");
    assert_eq!(found("search=$G&auth=1").await.0, 2, "accounts are searched on request");
}
