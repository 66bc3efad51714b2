use broker_bin::Daemon;
use broker_bin::options::{Request, load_text};
use serde_json::json;

use crate::common::{Client, get, json, keys, start};

#[tokio::test]
async fn subscriptions_are_counted_and_listed_on_request() {
    let daemon = start().await;
    let mut a = Client::connect(&daemon, "").await;
    let mut b = Client::connect(&daemon, "").await;
    a.say("SUB a.b 1\r\nSUB a.* q 2\r\n").await;
    b.say("SUB > 1\r\nSUB x 2\r\nUNSUB 2\r\nPUB a.b 1\r\n1\r\nPUB c 0\r\n\r\n").await;
    for path in ["/subsz", "/subscriptionsz"] {
        let answer = get(&daemon, path).await;
        let expected = "server_id now num_subscriptions num_cache num_inserts num_removes num_matches \
            cache_hit_rate max_fanout avg_fanout total offset limit";
        assert_eq!(keys(&answer.body), expected.split_whitespace().collect::<Vec<_>>());
        let subsz = answer.json();
        let count = |key: &str| subsz[key].as_u64().unwrap();
        assert_eq!((count("num_subscriptions"), count("total")), (3, 0));
        assert_eq!((count("num_inserts"), count("num_removes")), (4, 1));
        assert_eq!((count("num_matches"), count("num_cache"), count("max_fanout")), (2, 2, 3));
        assert_eq!(
            (subsz["cache_hit_rate"].as_f64(), subsz["avg_fanout"].as_f64()),
            (Some(0.0), Some(2.0))
        );
    }
    let subsz = json(&daemon, "/subsz?subs=1").await;
    assert_eq!(
        subsz["subscriptions_list"],
        json!([
            {"account": "$G", "account_tag": "$G", "subject": "a.b", "sid": "1", "msgs": 1, "cid": a.cid},
            {"account": "$G", "account_tag": "$G", "subject": "a.*", "qgroup": "q", "sid": "2", "msgs": 1, "cid": a.cid},
            {"account": "$G", "account_tag": "$G", "subject": ">", "sid": "1", "msgs": 2, "cid": b.cid},
        ])
    );
}

#[tokio::test]
async fn imported_services_are_listed_like_subscriptions() {
    let config = r#"
        listen: "127.0.0.1:-1", http: "127.0.0.1:-1", no_system_account: true, no_auth_user: b
        accounts {
            A { exports: [ { service: "svc.>" } ] }
            B {
                users: [ { user: b, password: b } ]
                imports: [
                    { service: { account: A, subject: svc.a }, to: local.a }
                    { service: { account: A, subject: svc.b } }
                ]
            }
        }
    "#;
    let loaded = load_text(config, "test", &Request::default()).unwrap();
    let daemon = Daemon::start_loaded(loaded).await.unwrap();
    let mut client = Client::connect(&daemon, "").await;
    client.say("SUB svc.b 1\r\n").await;
    let listed = async |query: &str| json(&daemon, &format!("/subsz?subs=1{query}")).await;
    let all = listed("").await;
    assert_eq!((&all["num_subscriptions"], &all["total"]), (&json!(3), &json!(3)));
    let service = |subject: &str, sid: &str| json!({"account": "B", "account_tag": "B", "subject": subject, "sid": sid, "msgs": 0, "cid": 0});
    assert_eq!(all["subscriptions_list"][1], service("local.a", "1"));
    assert_eq!(
        listed("&test=local.a").await["subscriptions_list"],
        json!([service("local.a", "1")])
    );
    assert_eq!(listed("&test=svc.b").await["total"], 2);
    assert_eq!(listed("&acc=A").await["total"], 0);
    let page = listed("&offset=2&limit=5").await;
    assert_eq!(
        (&page["total"], &page["subscriptions_list"]),
        (&json!(3), &json!([service("svc.b", "2")]))
    );
}

#[tokio::test]
async fn subscriptions_can_be_selected_by_subject_page_and_account() {
    let daemon = start().await;
    let mut a = Client::connect(&daemon, "").await;
    a.say("SUB a.b 1\r\nSUB a.* 2\r\nSUB b.> 3\r\nSUB > 4\r\n").await;
    let listed = async |query: &str| {
        let subsz = json(&daemon, &format!("/subsz?subs=1&{query}")).await;
        let list = subsz["subscriptions_list"].as_array().cloned().unwrap_or_default();
        let subjects: Vec<String> =
            list.iter().map(|one| one["subject"].as_str().unwrap().to_owned()).collect();
        (subsz["total"].as_u64().unwrap(), subjects.join(" "))
    };
    assert_eq!(listed("test=a.b").await, (3, "a.b a.* >".into()));
    assert_eq!(listed("test=b.c.d").await, (2, "b.> >".into()));
    assert_eq!(listed("test=b").await, (1, ">".into()));
    assert_eq!(listed("limit=2").await, (4, "a.b a.*".into()));
    assert_eq!(listed("offset=2").await, (4, "b.> >".into()));
    assert_eq!(listed("offset=-3&limit=9223372036854775807").await.0, 4);
    assert_eq!(listed("offset=9223372036854775807").await, (4, String::new()));
    assert_eq!(listed("acc=$G").await.0, 4);
    assert_eq!(listed("acc=other").await, (0, String::new()));
    let refused = get(&daemon, "/subsz?test=a.*").await;
    let text = "invalid test subject, must be valid publish subject: a.*";
    assert_eq!((refused.status, &*refused.body), (400, text));
}
