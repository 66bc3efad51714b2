use broker_bin::{Daemon, Options};

use crate::common::{ask, get, options};

async fn status(daemon: &Daemon, path: &str, authorization: &str) -> u16 {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    );
    ask(daemon, &request).await.status
}

#[tokio::test]
async fn a_required_token_protects_all_endpoints_but_healthz() {
    let options = Options { http_token: Some("t0k".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    for path in ["/", "/varz", "/connz", "/metrics"] {
        let answer = get(&daemon, path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("bearer realm=\"natsd\""));
        assert_eq!(status(&daemon, path, "Bearer wrong").await, 401);
        assert_eq!(status(&daemon, path, "Bearer t0k").await, 200, "{path}");
    }
    assert_eq!(get(&daemon, "/healthz").await.status, 200, "health checks need no credentials");
}

#[tokio::test]
async fn a_required_user_needs_the_right_password() {
    let options =
        Options { http_user: Some("admin".into()), http_password: Some("pw".into()), ..options() };
    let daemon = Daemon::start(options).await.unwrap();
    // admin:pw, and admin:pv.
    assert_eq!(status(&daemon, "/varz", "Basic YWRtaW46cHc=").await, 200);
    assert_eq!(status(&daemon, "/varz", "Basic YWRtaW46cHY=").await, 401);
    assert_eq!(get(&daemon, "/varz").await.status, 401);
}

#[tokio::test]
async fn a_user_without_password_is_refused_at_the_start() {
    let options = Options { http_user: Some("admin".into()), ..options() };
    let error = Daemon::start(options).await.unwrap_err();
    assert_eq!(error.to_string(), "http_user and http_password need each other");
}
