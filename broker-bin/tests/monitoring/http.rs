use broker_bin::{Daemon, Options};

use crate::common::{Client, ask, get, json, options, start};

#[tokio::test]
async fn responses_allow_pages_of_other_origins() {
    let daemon = start().await;
    for path in ["/varz", "/connz", "/healthz"] {
        let answer = get(&daemon, path).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body_and_any_other_method_like_get() {
    let daemon = start().await;
    let request =
        |method: &str| format!("{method} /connz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let head = ask(&daemon, &request("HEAD")).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert!(head.header("content-length").unwrap().parse::<u32>().unwrap() > 100);
    for method in ["POST", "PUT", "OPTIONS"] {
        assert!(ask(&daemon, &request(method)).await.json()["connections"].is_array(), "{method}");
    }
}

#[tokio::test]
async fn unclean_paths_are_redirected_to_clean_ones() {
    let daemon = start().await;
    let answer = get(&daemon, "//varz?a=1").await;
    assert_eq!((answer.status, answer.header("location")), (307, Some("/varz?a=1")));
    assert_eq!(answer.body, "<a href=\"/varz?a=1\">Temporary Redirect</a>.\n\n");
    for path in ["/nope", "/varz/", "/VARZ", "/varz/x", "/debug/vars"] {
        let answer = get(&daemon, path).await;
        assert_eq!((answer.status, &*answer.body), (404, "404 page not found\n"), "{path}");
    }
}

/// Verified against nats-server 2.14.5.
#[tokio::test]
async fn targets_are_parsed_as_in_go() {
    let daemon = start().await;
    for (target, status) in [
        ("/%76arz", 200),
        ("/v%61%72z?a=1", 200),
        ("/connz?acc=$G&filter_subject=foo.>", 200),
        ("/connz?a=\"<>{`|}\\^[]", 200),
        ("/varz?\u{e9}=\u{e9}", 200),
        ("/varz?a#x", 200),
        ("/connz?limit=%zz", 200),
        ("/varz#x", 404),
        ("/#/varz", 404),
        ("/a%2Fvarz", 404),
        ("/%2Fvarz", 404),
        ("/%2e/varz", 404),
        ("/va\"rz", 404),
        ("/\u{e9}", 404),
        ("/%zz", 400),
        ("/varz%", 400),
        ("/va\u{1}rz", 400),
        ("varz", 400),
    ] {
        let answer = get(&daemon, target).await;
        assert_eq!(answer.status, status, "{target} {answer:?}");
    }
}

#[tokio::test]
async fn an_unescaped_query_value_equals_its_escaped_form() {
    let daemon = start().await;
    let client = Client::connect(&daemon, "\"name\":\"<a>#1\"").await;
    let _other = Client::connect(&daemon, "\"name\":\"<a>\"").await;
    for name in ["<a>#1", "%3Ca%3e%231"] {
        let found = json(&daemon, &format!("/connz?search={name}")).await;
        assert_eq!(found["num_connections"], 1, "{name}");
        assert_eq!(found["connections"][0]["cid"], client.cid);
    }
}

#[tokio::test]
async fn targets_are_parsed_alike_on_a_persistent_connection() {
    let daemon = start().await;
    let first = "GET /connz?a=<> HTTP/1.1\r\nHost: x\r\n\r\n";
    let with_body = "POST /connz?a=<> HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n<>";
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(&daemon, &[first, first, with_body, last].concat()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.matches("HTTP/1.1 200 OK").count(), 3, "{}", answer.body);
}

#[tokio::test]
async fn the_index_page_links_to_all_endpoints() {
    let daemon = start().await;
    let page = get(&daemon, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let links: Vec<&str> =
        page.body.split("href=\"./").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for path in ["varz", "connz", "subsz", "accountz", "accstatz", "routez", "healthz", "metrics"] {
        assert!(links.contains(&path), "{path}");
    }
    for link in links {
        assert_eq!(get(&daemon, &format!("/{link}")).await.status, 200, "{link}");
    }
}

#[tokio::test]
async fn a_base_path_prefixes_all_paths() {
    let options = Options { http_base_path: Some("nats/".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    assert_eq!(json(&daemon, "/nats/varz").await["http_base_path"], "nats/");
    let page = get(&daemon, "/nats").await;
    assert!(page.status == 200 && page.body.contains("href=\"./nats/varz\""), "{page:?}");
    for path in ["/varz", "/", "/natsx/varz", "/nats/"] {
        assert_eq!(get(&daemon, path).await.status, 404, "{path}");
    }
    assert_eq!(get(&daemon, "/nats//varz").await.header("location"), Some("/nats/varz"));
}

#[tokio::test]
async fn the_name_of_a_server_cannot_be_markup() {
    let options = Options { server_name: Some("<script>".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    assert!(!get(&daemon, "/").await.body.contains("<script>"));
    assert!(!get(&daemon, "/varz").await.body.contains("<script>"));
}
