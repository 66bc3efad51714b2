//! Requests of operators.

use std::io::Read as _;

use async_nats::Event;
use serde_json::json;

use crate::common::{Server, ask, ask_with_encoding, names, next, subscribe};

#[tokio::test]
async fn each_kind_of_data_is_given_under_both_subjects() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let id = server.id();
    let idz = ask(&operator, "$SYS.REQ.SERVER.PING.IDZ", "").await;
    assert_eq!(idz, json!({"name": "one", "host": "127.0.0.1", "id": id}));
    for name in [
        "VARZ",
        "SUBSZ",
        "CONNZ",
        "ROUTEZ",
        "GATEWAYZ",
        "LEAFZ",
        "ACCOUNTZ",
        "JSZ",
        "HEALTHZ",
        "PROFILEZ",
        "EXPVARZ",
        "IPQUEUESZ",
        "RAFTZ",
    ] {
        for of in ["PING", &id] {
            let subject = format!("$SYS.REQ.SERVER.{of}.{name}");
            let answer = operator.request(subject.clone(), "".into()).await.unwrap();
            assert_eq!(names(&answer.payload), ["server", "data"], "{subject}");
        }
    }
    for subject in ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.STATSZ"] {
        let answer = operator.request(subject, "".into()).await.unwrap();
        assert_eq!(names(&answer.payload), ["server", "statsz"]);
    }
    let unknown = operator.request("$SYS.REQ.SERVER.PING.NOPE", "".into()).await;
    assert!(unknown.unwrap_err().to_string().contains("no responders"));
    server.daemon.stop().await;
}

#[tokio::test]
async fn options_select_data_and_wrong_ones_are_named() {
    let server = Server::start().await;
    let (operator, _a) = (server.operator().await, server.connect("a", "a").await);
    let connz = "$SYS.REQ.SERVER.PING.CONNZ";
    let found = ask(&operator, connz, r#"{"acc": "A", "auth": true}"#).await;
    assert_eq!(found["data"]["num_connections"], 1);
    assert_eq!(found["data"]["connections"][0]["authorized_user"], "a");
    let found = ask(&operator, connz, r#"{"acc": "$SYS", "filter_subject": "_INBOX.>"}"#).await;
    assert_eq!(found["data"]["num_connections"], 1);
    let found = ask(&operator, connz, r#"{"acc": "A", "filter_subject": "none"}"#).await;
    assert_eq!(found["data"]["num_connections"], 0);
    for (options, code, description) in [
        ("{", 400, "unexpected end of JSON input"),
        (r#"{"sort": "zzz"}"#, 500, "invalid sorting option: zzz"),
        (r#"{"filter_subject": "x"}"#, 500, "filter by subject only valid with account filtering"),
    ] {
        let refused = ask(&operator, connz, options).await;
        assert_eq!(refused["error"], json!({"code": code, "description": description}));
        assert_eq!(refused.get("data").is_some(), code == 500, "as in the reference");
    }
    let long = format!("{{\"user\": \"{}\"}}", "x".repeat(20_000));
    assert_eq!(ask(&operator, connz, &long).await["error"]["code"], 400);
    server.daemon.stop().await;
}

#[tokio::test]
async fn a_request_for_other_servers_has_no_answer() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut answers = subscribe(&operator, "answers").await;
    for (filter, is_meant) in [
        (r#"{"server_name": "on"}"#, true),
        (r#"{"server_name": "on", "exact_match": true}"#, false),
        (r#"{"server_name": "one", "exact_match": true}"#, true),
        (r#"{"tags": ["EU"]}"#, true),
        (r#"{"tags": ["eu", "us"]}"#, false),
        (r#"{"cluster": "c"}"#, false),
        (r#"{"host": "127"}"#, true),
        (r#"{"domain": "d"}"#, false),
    ] {
        let subject = "$SYS.REQ.SERVER.PING.VARZ";
        operator.publish_with_reply(subject, "answers", filter.into()).await.unwrap();
        // Answered in the order of the requests.
        operator
            .publish_with_reply("$SYS.REQ.SERVER.PING.LEAFZ", "answers", "".into())
            .await
            .unwrap();
        let first = next(&mut answers).await;
        let is_varz = first.payload.windows(9).any(|part| part == b"max_paylo");
        assert_eq!(is_varz, is_meant, "{filter}");
        if is_meant {
            next(&mut answers).await;
        }
    }
    server.daemon.stop().await;
}

#[tokio::test]
async fn accounts_are_described_one_by_one() {
    let server = Server::start().await;
    let (operator, a) = (server.operator().await, server.connect("a", "a").await);
    let _jobs = subscribe(&a, "jobs.*").await;
    let about = |name: &str| format!("$SYS.REQ.ACCOUNT.A.{name}");
    assert_eq!(ask(&operator, &about("CONNZ"), "").await["data"]["num_connections"], 1);
    let subsz = ask(&operator, &about("SUBSZ"), "").await;
    let listed = subsz["data"]["subscriptions_list"].as_array().unwrap();
    assert!(listed.iter().any(|one| one["subject"] == "jobs.*"));
    assert_eq!(ask(&operator, &about("INFO"), "").await["data"]["account_name"], "A");
    assert_eq!(ask(&operator, &about("CONNS"), "").await["conns"], 1);
    let statz = ask(&operator, &about("STATZ"), "").await;
    assert_eq!(statz["data"]["account_statz"][0]["acc"], "A");
    assert_eq!(
        ask(&operator, &about("JSZ"), "").await["error"]["description"],
        "jetstream not enabled"
    );
    assert_eq!(ask(&operator, &about("LEAFZ"), "").await["data"]["leafnodes"], 0);
    let missing = ask(&operator, "$SYS.REQ.ACCOUNT.NONE.INFO", "").await;
    assert_eq!(missing["error"]["description"], "Account NONE does not exist");
    let all = ask(&operator, "$SYS.REQ.ACCOUNT.PING.STATZ", r#"{"include_unused": true}"#).await;
    let all = all["data"]["account_statz"].as_array().unwrap();
    assert!(all.iter().any(|one| one["acc"] == "$G" && one["conns"] == 0));
    let used = ask(&operator, "$SYS.REQ.ACCOUNT.PING.STATZ", "").await;
    assert_eq!(used["data"]["account_statz"].as_array().unwrap().len(), 2);

    let count =
        ask(&operator, "$SYS.REQ.ACCOUNT.NSUBS", r#"{"acc": "A", "subject": "jobs.x"}"#).await;
    assert_eq!(count, 1);
    let _events = subscribe(&operator, "seen").await;
    assert_eq!(ask(&operator, "$SYS.DEBUG.SUBSCRIBERS", "seen").await, 1);
    server.daemon.stop().await;
}

#[tokio::test]
async fn answers_are_compressed_if_the_request_asks_for_it() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let subject = "$SYS.REQ.SERVER.PING.VARZ";
    for (asked, given) in [("gzip", "gzip"), ("Snappy", "snappy"), ("br", "identity")] {
        let answer = ask_with_encoding(&operator, subject, asked).await;
        let headers = answer.headers.unwrap();
        assert_eq!(headers.get("Content-Encoding").unwrap().as_str(), given);
        let mut json = Vec::new();
        match given {
            "gzip" => {
                let mut decoder = flate2::read::GzDecoder::new(&answer.payload[..]);
                decoder.read_to_end(&mut json).unwrap();
            }
            "snappy" => {
                let mut decoder = snap::read::FrameDecoder::new(&answer.payload[..]);
                decoder.read_to_end(&mut json).unwrap();
            }
            _ => json = answer.payload.to_vec(),
        }
        assert_eq!(names(&json), ["server", "data"]);
    }
    server.daemon.stop().await;
}

#[tokio::test]
async fn a_client_is_sent_away_or_closed() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
    let options = options.event_callback(move |event| {
        let tell = tell.clone();
        async move { tell.send(event).unwrap() }
    });
    let client = options.connect(format!("nats://{}", server.daemon.local_addr())).await.unwrap();
    client.flush().await.unwrap();
    let id = server.id();
    let of = |cid: u64| format!("{{\"cid\": {cid}}}");
    let cid = client.server_info().client_id;

    let about = |what: &str| format!("$SYS.REQ.SERVER.{id}.{what}");
    for (what, why) in [("KICK", "no such client or leafnode id"), ("LDM", "no such client id")] {
        let refused = ask(&operator, &about(what), &of(999)).await;
        assert_eq!(refused["error"], json!({"code": 500, "description": why}));
    }
    let done = ask(&operator, &about("LDM"), &of(cid)).await;
    assert_eq!(done.get("error"), None);
    while !matches!(told.recv().await.unwrap(), Event::LameDuckMode) {}
    let done = ask(&operator, &about("KICK"), &of(cid)).await;
    assert_eq!(done.get("error"), None);
    while !matches!(told.recv().await.unwrap(), Event::Disconnected) {}
    server.daemon.stop().await;
}

#[tokio::test]
async fn the_configuration_is_reloaded_and_a_refusal_is_told() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let reload = format!("$SYS.REQ.SERVER.{}.RELOAD", server.id());
    let asking = async {
        server.write_config(|text| format!("{text}\nmax_payload: 2KB"));
        let done = ask(&operator, &reload, "").await;
        assert_eq!((done.get("error"), done.get("data")), (None, None));
        assert_eq!(server.daemon.options().max_payload, 2048);
        server.write_config(|text| format!("{text}\nmax_payload: none"));
        let refused = ask(&operator, &reload, "").await;
        assert_eq!(refused["error"]["code"], 500);
        assert!(refused["error"]["description"].as_str().unwrap().contains("max_payload"));
    };
    tokio::select! {
        () = asking => {}
        () = server.daemon.serve_requests() => unreachable!("the system account exists"),
    }
    server.daemon.stop().await;
}

#[tokio::test]
async fn the_server_lends_nobody_its_rights_by_a_reply_subject() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let mut all = subscribe(&operator, "$SYS.SERVER.>").await;
    let forged = format!("$SYS.SERVER.{}.SHUTDOWN", server.id());
    operator
        .publish_with_reply("$SYS.REQ.SERVER.PING.IDZ", forged.clone(), "".into())
        .await
        .unwrap();
    // The answer to a later request shows that the first one was dropped.
    ask(&operator, "$SYS.REQ.SERVER.PING.IDZ", "").await;
    operator.publish("$SYS.REQ.SERVER.PING", "".into()).await.unwrap();
    let message = next(&mut all).await;
    assert!(message.subject.ends_with(".STATSZ"), "{}", message.subject);
    server.daemon.stop().await;
}

#[tokio::test]
async fn types_of_options_are_checked_for_each_kind_of_request() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let one = |name: &str| format!("$SYS.REQ.SERVER.{}.{name}", server.id());
    let wrong = |field: &str, expected: &str| {
        json!({"code": 400, "description": format!(
            "json: cannot unmarshal number into Go struct field {field} of type {expected}"
        )})
    };
    for (subject, option, field, expected) in [
        (one("LEAFZ"), "account", "LeafzEventOptions.LeafzOptions.account", "string"),
        (one("RAFTZ"), "group", "RaftzEventOptions.RaftzOptions.group", "string"),
        (one("GATEWAYZ"), "accounts", "GatewayzEventOptions.GatewayzOptions.accounts", "bool"),
        (one("IPQUEUESZ"), "all", "IpqueueszEventOptions.IpqueueszOptions.all", "bool"),
        (one("RELOAD"), "host", "EventFilterOptions.host", "string"),
        (one("KICK"), "host", "EventFilterOptions.host", "string"),
        (
            "$SYS.REQ.ACCOUNT.A.STATZ".into(),
            "accounts",
            "AccountStatzEventOptions.AccountStatzOptions.accounts",
            "[]string",
        ),
    ] {
        let answer = ask(&operator, &subject, &format!("{{\"{option}\": 5}}")).await;
        assert_eq!(answer["error"], wrong(field, expected), "{subject}");
    }
    server.daemon.stop().await;
}

// NATS 2.14: events.go accountClaimUpdate.
#[tokio::test]
async fn updates_of_accounts_are_answered_without_operators() {
    let server = Server::start().await;
    let operator = server.operator().await;
    for subject in ["$SYS.REQ.ACCOUNT.A.CLAIMS.UPDATE", "$SYS.ACCOUNT.A.CLAIMS.UPDATE"] {
        for (payload, description) in [
            ("", "jwt update error - request body is empty"),
            ("x", "jwt update resulted in error - expected 3 chunks"),
        ] {
            let answer = ask(&operator, subject, payload).await;
            let expected = json!({"account": "A", "code": 500, "description": description});
            assert_eq!((&answer["error"], &answer["server"]["name"]), (&expected, &json!("one")));
        }
    }
    for subject in ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.PACK"] {
        let unknown = operator.request(subject, "".into()).await;
        assert!(unknown.unwrap_err().to_string().contains("no responders"), "{subject}");
    }
    server.daemon.stop().await;
}

// NATS 2.14: events.go addSystemAccountExports, registerSystemImports.
#[tokio::test]
async fn services_that_need_no_configuration_are_shown_with_the_accounts() {
    let server = Server::start().await;
    let operator = server.operator().await;
    let about = async |account: &str| {
        let subject = format!("$SYS.REQ.ACCOUNT.{account}.INFO");
        ask(&operator, &subject, "").await["data"].take()
    };
    let subjects = |list: &serde_json::Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().into()).collect()
    };
    let a = about("A").await;
    assert_eq!(a.get("exports"), None);
    assert_eq!(
        subjects(&a["imports"], "local_subject"),
        [
            "$SYS.REQ.USER.INFO",
            "$SYS.REQ.ACCOUNT.PING.CONNZ",
            "$SYS.REQ.SERVER.PING.CONNZ",
            "$SYS.REQ.ACCOUNT.PING.STATZ"
        ]
    );
    assert_eq!(
        a["imports"][1],
        json!({
            "subject": "$SYS.REQ.ACCOUNT.A.CONNZ", "account": "$SYS", "to": "$SYS.REQ.ACCOUNT.PING.CONNZ",
            "local_subject": "$SYS.REQ.ACCOUNT.PING.CONNZ", "type": "service",
            "invalid": false, "share": false, "tracking": false
        })
    );
    assert_eq!(a["imports"][0]["share"], true);
    let system = about("$SYS").await;
    assert_eq!(subjects(&system["imports"], "subject"), ["$SYS.REQ.USER.$SYS.INFO"]);
    assert_eq!(
        subjects(&system["exports"], "subject"),
        [
            "$SYS.DEBUG.SUBSCRIBERS",
            "$SYS.REQ.ACCOUNT.*.CONNZ",
            "$SYS.REQ.ACCOUNT.*.STATZ",
            "$SYS.REQ.USER.*.INFO"
        ]
    );
    server.daemon.stop().await;
}
