//! Advisories about requests and changes.

use super::host::Account;

/// Returns the advisories that a request causes: subject and text, without the time.
fn advisories(account: &mut Account, subject: &str, payload: &str) -> Vec<(String, String)> {
    let sent = account.messages(subject, payload, b"");
    let mut advisories = Vec::new();
    for (to, text) in sent {
        let Some(subject) = String::from_utf8(to).ok().filter(|to| to.starts_with("$JS.EVENT."))
        else {
            continue;
        };
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let members = json.as_object_mut().unwrap();
        assert_eq!(members["id"].as_str().unwrap().len(), 22);
        members.remove("id");
        members.remove("timestamp");
        advisories.push((subject, json.to_string()));
    }
    advisories
}

fn stream_action(token: &str, action: &str) -> (String, String) {
    let kind = "io.nats.jetstream.advisory.v1.stream_action";
    let text = format!(r#"{{"action":"{action}","stream":"S","type":"{kind}"}}"#);
    (format!("$JS.EVENT.ADVISORY.STREAM.{token}.S"), text)
}

#[test]
fn each_change_of_a_stream_is_told() {
    let mut account = Account::with_audience();
    for (request, payload, token, action) in [
        ("STREAM.CREATE.S", r#"{"name":"S"}"#, "CREATED", "create"),
        ("STREAM.UPDATE.S", r#"{"name":"S","description":"d"}"#, "UPDATED", "modify"),
        ("STREAM.DELETE.S", "", "DELETED", "delete"),
    ] {
        let told = advisories(&mut account, request, payload);
        assert!(told.contains(&stream_action(token, action)), "{told:?}");
    }
}

#[test]
fn what_changes_nothing_is_not_told() {
    let mut account = Account::with_audience();
    account.request("STREAM.CREATE.S", r#"{"name":"S"}"#, b"");
    for (request, payload) in [
        ("STREAM.CREATE.S", r#"{"name":"S"}"#),
        ("STREAM.CREATE.S", r#"{"name":"S","description":"d"}"#),
        ("STREAM.UPDATE.S", r#"{"name":"S","storage":"memory"}"#),
        ("STREAM.DELETE.T", ""),
    ] {
        let told = advisories(&mut account, request, payload);
        let subjects: Vec<_> = told.iter().map(|(subject, _)| subject.as_str()).collect();
        assert_eq!(subjects, ["$JS.EVENT.ADVISORY.API"], "{request}");
    }
}

#[test]
fn each_request_is_audited_without_credentials() {
    let mut account = Account::with_audience();
    let told = advisories(&mut account, "STREAM.INFO.S", "");
    let answer = r#"{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"},\"total\":0,\"offset\":0,\"limit\":0}"#;
    let kind = "io.nats.jetstream.advisory.v1.api_audit";
    let audit = format!(
        r#"{{"client":{{"acc":"A","user":"u"}},"response":"{answer}","server":"SERVER","subject":"$JS.API.STREAM.INFO.S","type":"{kind}"}}"#
    );
    assert_eq!(told, [("$JS.EVENT.ADVISORY.API".to_owned(), audit)]);
    let told = advisories(&mut account, "STREAM.INFO.S", "{}");
    assert!(told[0].1.contains(r#""request":"{}""#), "{told:?}");
}

#[test]
fn a_message_that_is_read_is_not_audited() {
    let mut account = Account::with_audience();
    account.request("STREAM.CREATE.S", r#"{"name":"S"}"#, b"");
    account.publish("S", "text");
    assert_eq!(advisories(&mut account, "STREAM.MSG.GET.S", r#"{"seq":1}"#), []);
    assert_eq!(advisories(&mut account, "STREAM.MSG.GET.S", r#"{"seq":2}"#).len(), 1);
}
