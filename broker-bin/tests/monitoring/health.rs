use std::time::Duration;

use broker_bin::monitor::{Health, HealthzOptions};

use crate::common::{Client, get, start, until};

#[tokio::test]
async fn a_server_that_accepts_clients_is_healthy() {
    let daemon = start().await;
    for path in ["/healthz", "/healthz?js-server-only=true", "/healthz?js-enabled-only=1&details=1"]
    {
        let answer = get(&daemon, path).await;
        assert_eq!((answer.status, &*answer.body), (200, "{\"status\":\"ok\"}"), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn invalid_health_checks_are_refused() {
    let daemon = start().await;
    for (query, body) in [
        (
            "stream=a",
            r#"{"status":"error","error":"\"account\" must not be empty when checking stream health"}"#,
        ),
        (
            "consumer=a",
            r#"{"status":"error","error":"\"stream\" must not be empty when checking consumer health"}"#,
        ),
        (
            "consumer=a&details=1",
            r#"{"status":"error","errors":[{"type":"BAD_REQUEST","error":"\"stream\" must not be empty when checking consumer health"}]}"#,
        ),
        (
            "details=x",
            "Error decoding boolean for 'details': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        let answer = get(&daemon, &format!("/healthz?{query}")).await;
        assert_eq!((answer.status, &*answer.body), (400, body), "{query}");
    }
}

#[tokio::test]
async fn a_lame_duck_is_unhealthy_while_clients_are_still_connected() {
    let daemon = start().await;
    let observer = daemon.observer().clone();
    let client = Client::connect(&daemon, "").await;
    assert_eq!(observer.healthz(&HealthzOptions::default()).health, Health::Ok);
    let stopping = tokio::spawn(daemon.stop());
    until(|| observer.healthz(&HealthzOptions::default()).health == Health::NotReady).await;
    let seen = observer.healthz(&HealthzOptions::default());
    assert_eq!(seen.error.as_deref(), Some("failed to be ready for connections after 1ms: server"));
    drop(client);
    tokio::time::timeout(Duration::from_secs(20), stopping).await.unwrap().unwrap();
}
