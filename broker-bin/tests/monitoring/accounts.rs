use broker_bin::options::{Account, MapDestination, Request, Resolver, load_text};
use broker_bin::{Daemon, Options};
use broker_core::auth::jwt::{AccountClaims, Claims, encode};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use serde_json::json;

use crate::common::{Client, get, json, keys, options, start};

#[tokio::test]
async fn accounts_are_listed_and_described_individually() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB a 1\r\n").await;
    let all = json(&daemon, "/accountz").await;
    assert_eq!(
        (&all["accounts"], &all["system_account"]),
        (&json!(["$G", "$SYS"]), &"$SYS".into())
    );
    let one = json(&daemon, "/accountz?acc=$G").await["account_detail"].take();
    assert_eq!((&one["account_name"], &one["name_tag"]), (&"$G".into(), &"$G".into()));
    assert_eq!((&one["client_connections"], &one["subscriptions"]), (&1.into(), &1.into()));
    assert_eq!(one["sublist_stats"]["num_inserts"], 1);
    assert_eq!(one.get("is_system"), None);
    assert_eq!(json(&daemon, "/accountz?acc=$SYS").await["account_detail"]["is_system"], true);
    let refused = get(&daemon, "/accountz?acc=x").await;
    assert_eq!((refused.status, &*refused.body), (400, "Account x does not exist"));
}

#[tokio::test]
async fn an_account_of_an_operator_is_shown_with_its_claims() {
    let pair = |kind, byte| KeyPair::from_random(kind, [byte; 32]);
    let (operator, account) = (pair(KeyKind::Operator, 1), pair(KeyKind::Account, 2));
    let mut claims: AccountClaims = Claims::new(account.public());
    claims.name = "SYSTEM".to_owned();
    claims.issued_at = 1_700_000_000;
    claims.nats.generic.tags = vec!["eu".to_owned()];
    claims.nats.revocations.0.insert("*".to_owned(), 1_600_000_000);
    let token = encode(&claims, &operator).unwrap();
    let key = account.public().to_string();
    let options = Options {
        trusted_keys: vec![operator.public().to_string()],
        resolver: Some(Resolver::default()),
        resolver_preload: [(key.clone(), token.clone())].into(),
        system_account: Some(key.clone()),
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let one = json(&daemon, &format!("/accountz?acc={key}")).await["account_detail"].take();
    assert_eq!((&one["name_tag"], &one["expired"]), (&"SYSTEM".into(), &false.into()));
    assert_eq!(one["jwt"], token.expose());
    assert_eq!(one["issuer_key"], operator.public().to_string());
    assert_eq!(one["tags"], json!(["eu"]));
    assert_eq!(one["decoded_jwt"]["sub"], key);
    assert_eq!(one["revoked_user"], json!({"*": "2020-09-13T12:26:40Z"}));
    assert_eq!(one.get("validation_result_jwt"), None);
    let other = json(&daemon, "/accountz?acc=$G").await["account_detail"].take();
    assert_eq!((other.get("jwt"), other.get("decoded_jwt")), (None, None));
}

// NATS 2.14: the weights are sums.
#[tokio::test]
async fn mappings_are_listed_with_the_sums_of_their_weights() {
    let destination = |subject: &str, weight: &str, cluster: Option<&str>| MapDestination {
        destination: Some(subject.into()),
        weight: Some(weight.into()),
        cluster: cluster.map(Into::into),
    };
    let weighted = vec![
        destination("w1", "30", None),
        destination("w2", "20%", None),
        destination("w3", "100", Some("east")),
    ];
    let foo = vec![destination("bar", "100", None)];
    let own = Account {
        mappings: [("in.*".into(), vec![destination("out.$1", "100", None)])].into(),
        ..Account::default()
    };
    let options = Options {
        mappings: [("foo".into(), foo), ("w".into(), weighted)].into(),
        accounts: [("A".into(), own)].into(),
        ..options()
    };
    let daemon = Daemon::start(options).await.unwrap();
    let all = json(&daemon, "/accountz").await;
    assert_eq!(all["accounts"], json!(["$G", "$SYS", "A"]));
    let one = json(&daemon, "/accountz?acc=$G").await["account_detail"].take();
    let to = |subject: &str, weight: u8| json!({"subject": subject, "weight": weight});
    let east = json!({"subject": "w3", "weight": 100, "cluster": "east"});
    let weighted = json!([to("w2", 20), to("w1", 50), to("w", 100), east]);
    assert_eq!(one["mappings"], json!({"foo": [to("bar", 100)], "w": weighted}));
    let one = json(&daemon, "/accountz?acc=A").await["account_detail"].take();
    assert_eq!(one["mappings"], json!({"in.*": [to("out.$1", 100)]}));
}

#[tokio::test]
async fn what_accounts_share_is_counted_on_request() {
    let config = r#"
        listen: "127.0.0.1:-1", http: "127.0.0.1:-1", no_system_account: true
        accounts {
          A { exports: [ { stream: a }, { service: b } ], mappings: { c: d } }
          B { imports: [ { stream: { account: A, subject: a } } ] }
        }"#;
    let loaded = load_text(config, "test", &Request::default()).unwrap();
    let daemon = Daemon::start_loaded(loaded).await.unwrap();
    let all = json(&daemon, "/accstatz?unused=1&shares=1").await["account_statz"].take();
    let shares = |exports: u8, imports: u8, mappings: u8| json!({"exports": exports, "imports": imports, "mappings": mappings});
    for (name, expected) in [("A", shares(2, 0, 1)), ("B", shares(0, 1, 0))] {
        let one = all.as_array().unwrap().iter().find(|one| one["acc"] == name).unwrap();
        assert_eq!(one["shares"], expected, "{name}");
    }
    let all = json(&daemon, "/accstatz?unused=1").await["account_statz"].take();
    assert!(all.as_array().unwrap().iter().all(|one| one.get("shares").is_none()));
}

#[tokio::test]
async fn accounts_report_their_traffic() {
    let daemon = start().await;
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB a 1\r\nPUB a 3\r\nabc\r\nPUB x 2\r\nxy\r\n").await;
    let used = json(&daemon, "/accstatz").await["account_statz"].take();
    assert_eq!(used.as_array().unwrap().len(), 1);
    let nothing = json!({"msgs": 0, "bytes": 0});
    let data = |msgs: u64, bytes: u64| json!({"msgs": msgs, "bytes": bytes, "gateways": nothing, "routes": nothing, "leafs": nothing});
    assert_eq!(
        used[0],
        json!({
            "acc": "$G", "name": "$G", "conns": 1, "leafnodes": 0, "total_conns": 1, "num_subscriptions": 1,
            "sent": data(1, 3), "received": data(2, 5), "slow_consumers": 0,
        })
    );
    let all = json(&daemon, "/accstatz?unused=1").await;
    assert_eq!(all["account_statz"].as_array().unwrap().len(), 2);
    client.leave(&daemon).await;
    assert_eq!(json(&daemon, "/accstatz").await["account_statz"], json!([]));
    let all = json(&daemon, "/accstatz?unused=true").await;
    assert_eq!(all["account_statz"][0]["received"]["bytes"], 5, "counts are kept");
}

#[tokio::test]
async fn missing_parts_are_reported_as_empty() {
    let daemon = start().await;
    let routez = get(&daemon, "/routez?subs=detail").await;
    assert_eq!(keys(&routez.body), ["server_id", "server_name", "now", "num_routes", "routes"]);
    assert_eq!(routez.json()["routes"], json!([]));
    let gatewayz = get(&daemon, "/gatewayz").await;
    assert_eq!(keys(&gatewayz.body), ["server_id", "now", "outbound_gateways", "inbound_gateways"]);
    assert_eq!(gatewayz.json()["inbound_gateways"], json!({}));
    let leafz = get(&daemon, "/leafz").await;
    assert_eq!(keys(&leafz.body), ["server_id", "now", "leafnodes", "leafs"]);
    let jsz = get(&daemon, "/jsz").await;
    let expected = "memory storage reserved_memory reserved_storage accounts ha_assets api server_id now \
        disabled config streams consumers messages bytes total";
    assert_eq!(keys(&jsz.body), expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(jsz.json()["disabled"], true);
    let raftz = get(&daemon, "/raftz").await;
    assert_eq!((raftz.status, &*raftz.body), (404, "No Raft nodes registered"));
    for (path, text) in [
        ("/jsz?leader-only=1", "filtered response: not leader"),
        (
            "/jsz?accounts=x",
            "Error decoding boolean for 'accounts': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "/routez?subs=x",
            "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "/gatewayz?accs=x",
            "Error decoding boolean for 'accs': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "/leafz?subs=detail",
            "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"detail\": invalid syntax",
        ),
        (
            "/accstatz?unused=x",
            "Error decoding boolean for 'unused': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ] {
        let answer = get(&daemon, path).await;
        assert_eq!((answer.status, &*answer.body), (400, text));
    }
}
