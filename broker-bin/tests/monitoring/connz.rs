use broker_bin::{Daemon, Options};
use serde_json::Value;

use crate::common::{Client, get, json, options, start};

fn cids(connz: &Value) -> Vec<u64> {
    let connections = connz["connections"].as_array().unwrap();
    connections.iter().map(|one| one["cid"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_connection_has_the_fields_of_the_reference() {
    let daemon = start().await;
    let more = "\"name\":\"<n>\",\"lang\":\"rust\",\"version\":\"1\"";
    let mut client = Client::connect(&daemon, more).await;
    client.say("SUB a.* 1\r\nPUB a.x 3\r\nabc\r\n").await;
    let answer = get(&daemon, "/connz").await;
    assert!(answer.body.contains(r#""name": "\u003cn\u003e""#), "{}", answer.body);
    let connz = answer.json();
    assert_eq!((&connz["num_connections"], &connz["total"]), (&1.into(), &1.into()));
    assert_eq!((&connz["offset"], &connz["limit"]), (&0.into(), &1024.into()));
    let one = &connz["connections"][0];
    let expected = "cid kind type ip port start last_activity rtt uptime idle pending_bytes in_msgs out_msgs \
        in_bytes out_bytes subscriptions name lang version";
    let keys: Vec<&str> = answer
        .body
        .lines()
        .filter(|line| line.starts_with("      \""))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!((&one["kind"], &one["type"]), (&"Client".into(), &"nats".into()));
    assert_eq!((&one["ip"], &one["port"]), (&"127.0.0.1".into(), &client.port.into()));
    assert_eq!((&one["in_msgs"], &one["in_bytes"]), (&1.into(), &3.into()));
    assert_eq!((&one["out_msgs"], &one["out_bytes"]), (&1.into(), &3.into()));
    assert_eq!(one["subscriptions"], 1);
    assert!(one["start"].as_str() <= one["last_activity"].as_str());
    assert!(one["rtt"].as_str().unwrap().ends_with('s'));
}

#[tokio::test]
async fn subscriptions_are_listed_on_request() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB a 1\r\nSUB b q 22\r\nUNSUB 22 5\r\nPUB a 1\r\nx\r\n").await;
    let one = json(&daemon, "/connz?subs=1").await["connections"][0].take();
    assert_eq!(one["subscriptions_list"], serde_json::json!(["a", "b"]));
    let one = json(&daemon, "/connz?subs=detail").await["connections"][0].take();
    assert_eq!(
        one["subscriptions_list_detail"],
        serde_json::json!([
            {"subject": "a", "sid": "1", "msgs": 1, "cid": client.cid},
            {"subject": "b", "qgroup": "q", "sid": "22", "msgs": 0, "max": 5, "cid": client.cid},
        ])
    );
}

#[tokio::test]
async fn any_page_can_be_selected() {
    let daemon = start().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(Client::connect(&daemon, "").await);
    }
    let expected: Vec<u64> = all.iter().map(|client| client.cid).collect();
    for (query, from, to) in [
        ("", 0, 5),
        ("?limit=2", 0, 2),
        ("?offset=1&limit=3", 1, 4),
        ("?offset=4", 4, 5),
        ("?offset=5", 5, 5),
        ("?offset=-1&limit=-1", 0, 5),
        ("?offset=9223372036854775807&limit=9223372036854775807", 5, 5),
        ("?offset=2&limit=9223372036854775807", 2, 5),
    ] {
        let connz = json(&daemon, &format!("/connz{query}")).await;
        assert_eq!(cids(&connz), expected[from..to], "{query}");
        assert_eq!(connz["num_connections"], to - from, "{query}");
        assert_eq!(connz["total"], 5, "{query}");
    }
}

#[tokio::test]
async fn connections_are_sorted_as_requested() {
    let daemon = start().await;
    let mut a = Client::connect(&daemon, "").await;
    let mut b = Client::connect(&daemon, "").await;
    let mut c = Client::connect(&daemon, "").await;
    b.say("SUB x 1\r\nSUB y 2\r\n").await;
    a.say("SUB z 1\r\n").await;
    c.say("PUB x 10\r\n0123456789\r\nPUB x 1\r\n1\r\nPUB z 5\r\nhello\r\n").await;
    b.say("PUB z 1\r\n1\r\n").await;
    let (a, b, c) = (a.cid, b.cid, c.cid);
    for (sort, expected) in [
        ("cid", [a, b, c]),
        ("start", [a, b, c]),
        ("subs", [b, a, c]),
        ("msgs_to", [a, b, c]),
        ("msgs_from", [c, b, a]),
        ("bytes_to", [b, a, c]),
        ("bytes_from", [c, b, a]),
        ("uptime", [c, b, a]),
        ("pending", [a, b, c]),
    ] {
        let connz = json(&daemon, &format!("/connz?sort={sort}")).await;
        assert_eq!(cids(&connz), expected, "{sort}");
    }
    // The last delivery went to a, from b, which published last.
    assert_eq!(cids(&json(&daemon, "/connz?sort=last").await)[2], c);
    assert_eq!(cids(&json(&daemon, "/connz?sort=idle").await)[0], c);
    for sort in ["rtt", "last", "idle"] {
        assert_eq!(cids(&json(&daemon, &format!("/connz?sort={sort}")).await).len(), 3);
    }
}

#[tokio::test]
async fn invalid_requests_are_refused_in_the_words_of_the_reference() {
    let daemon = start().await;
    for (query, text) in [
        ("sort=zzz", "invalid sorting option: zzz"),
        ("sort=stop", "sort by stop only valid on closed connections"),
        ("sort=reason&state=all", "sort by reason only valid on closed connections"),
        ("state=zzz", "Error decoding state for zzz"),
        ("limit=x", "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax"),
        (
            "cid=-1",
            "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            "subs=x",
            "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "auth=2&sort=zzz",
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"2\": invalid syntax",
        ),
    ] {
        let answer = get(&daemon, &format!("/connz?{query}")).await;
        assert_eq!((answer.status, &*answer.body), (400, text), "{query}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn closed_connections_have_a_reason_and_an_end() {
    let daemon = start().await;
    let mut leaver = Client::connect(&daemon, "\"name\":\"leaver\"").await;
    leaver.say("SUB a 1\r\n").await;
    let mut offender = Client::connect(&daemon, "").await;
    let stayer = Client::connect(&daemon, "").await;
    let (left, cut) = (leaver.cid, offender.cid);
    leaver.leave(&daemon).await;
    offender.send("NONSENSE\r\n").await;
    crate::common::until(|| daemon.broker().connection(cut).is_none()).await;

    let closed = json(&daemon, "/connz?state=closed").await;
    assert_eq!(cids(&closed), [left, cut]);
    let one = &closed["connections"][0];
    assert_eq!((&one["reason"], &one["name"]), (&"Client Closed".into(), &"leaver".into()));
    assert_eq!(one["subscriptions"], 1, "their number is kept");
    assert!(one["start"].as_str() <= one["stop"].as_str());
    assert_eq!(closed["connections"][1]["reason"], "Protocol Violation");
    let detail = json(&daemon, &format!("/connz?state=closed&subs=detail&cid={left}")).await;
    assert_eq!(detail["connections"][0]["subscriptions_list_detail"][0]["subject"], "a");

    assert_eq!(cids(&json(&daemon, "/connz?state=any").await), [left, cut, stayer.cid]);
    assert_eq!(cids(&json(&daemon, "/connz?state=ALL&sort=cid").await).len(), 3);
    assert_eq!(cids(&json(&daemon, "/connz?state=open").await), [stayer.cid]);
    assert_eq!(cids(&json(&daemon, "/connz?state=closed&sort=stop").await), [cut, left]);
    assert_eq!(cids(&json(&daemon, "/connz?state=closed&sort=reason").await), [left, cut]);
}

#[tokio::test]
async fn a_connection_can_be_selected_by_its_id() {
    let daemon = start().await;
    let a = Client::connect(&daemon, "").await;
    let b = Client::connect(&daemon, "").await;
    let connz = json(&daemon, &format!("/connz?cid={}", b.cid)).await;
    assert_eq!(cids(&connz), [b.cid]);
    assert_eq!((&connz["limit"], &connz["total"]), (&1.into(), &2.into()));
    assert!(cids(&json(&daemon, "/connz?cid=18446744073709551615").await).is_empty());
    let gone = a.cid;
    a.leave(&daemon).await;
    assert!(cids(&json(&daemon, &format!("/connz?cid={gone}")).await).is_empty());
    assert_eq!(cids(&json(&daemon, &format!("/connz?cid={gone}&state=all")).await), [gone]);
}

fn two_accounts() -> Options {
    let accounts = ["A", "B"].map(|name| {
        let user = broker_bin::options::User {
            user: Some(name.to_lowercase()),
            password: "pw".into(),
            ..Default::default()
        };
        let account = broker_bin::options::Account { users: vec![user], ..Default::default() };
        (name.to_owned(), account)
    });
    Options { accounts: accounts.into(), ..options() }
}

#[tokio::test]
async fn users_and_accounts_are_included_on_request_and_can_be_selected() {
    let daemon = Daemon::start(two_accounts()).await.unwrap();
    let a = Client::connect(&daemon, "\"user\":\"a\",\"pass\":\"pw\"").await;
    let b = Client::connect(&daemon, "\"user\":\"b\",\"pass\":\"pw\"").await;
    let plain = json(&daemon, "/connz").await;
    assert!(plain["connections"][0].get("authorized_user").is_none());
    assert!(plain["connections"][0].get("account").is_none());
    let with_auth = json(&daemon, "/connz?auth=1").await;
    let one = &with_auth["connections"][0];
    assert_eq!((&one["authorized_user"], &one["account"]), (&"a".into(), &"A".into()));
    assert_eq!(one["name_tag"], "A");
    assert!(!with_auth.to_string().contains("pw"));

    assert_eq!(cids(&json(&daemon, "/connz?user=b").await), [b.cid]);
    assert_eq!(cids(&json(&daemon, "/connz?acc=A").await), [a.cid]);
    assert!(cids(&json(&daemon, "/connz?acc=A&user=b").await).is_empty());
    assert!(cids(&json(&daemon, "/connz?acc=none").await).is_empty());
    assert!(cids(&json(&daemon, "/connz?mqtt_client=x").await).is_empty());
    let gone = a.cid;
    a.leave(&daemon).await;
    assert_eq!(cids(&json(&daemon, "/connz?state=closed&acc=A&user=a").await), [gone]);
    assert!(cids(&json(&daemon, "/connz?state=closed&acc=B").await).is_empty());
}

#[tokio::test]
async fn a_rejected_client_is_remembered() {
    let daemon = Daemon::start(two_accounts()).await.unwrap();
    let mut client = Client::arrive(&daemon).await;
    let cid = client.cid;
    client.send("CONNECT {\"user\":\"a\",\"pass\":\"s3cr3t\",\"name\":\"x\"}\r\n").await;
    crate::common::until(|| daemon.broker().connection(cid).is_none()).await;
    let answer = get(&daemon, "/connz?state=closed&auth=1&subs=detail").await;
    let one = &answer.json()["connections"][0];
    assert_eq!(one["reason"], "Authentication Failure");
    assert_eq!((&one["authorized_user"], &one["name"]), (&"a".into(), &"x".into()));
    assert!(one.get("account").is_none(), "it had no account");
    assert!(!answer.body.contains("s3cr3t"));
}
