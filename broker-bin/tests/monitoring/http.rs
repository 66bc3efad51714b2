use broker_bin::{Daemon, Options};

use crate::common::{ask, get, json, options, start};

#[tokio::test]
async fn answers_can_be_read_by_pages_from_elsewhere() {
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
async fn paths_that_are_not_clean_lead_to_those_that_are() {
    let daemon = start().await;
    let answer = get(&daemon, "//varz?a=1").await;
    assert_eq!((answer.status, answer.header("location")), (307, Some("/varz?a=1")));
    assert_eq!(answer.body, "<a href=\"/varz?a=1\">Temporary Redirect</a>.\n\n");
    for path in ["/nope", "/varz/", "/VARZ", "/varz/x", "/debug/vars"] {
        let answer = get(&daemon, path).await;
        assert_eq!((answer.status, &*answer.body), (404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn the_front_page_links_to_all_that_there_is() {
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
async fn a_base_path_stands_before_all_others() {
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
