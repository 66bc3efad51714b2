//! Answers about consumers that depend on the order of events.

use super::host::Account;

#[test]
fn the_answer_to_a_creation_states_what_waits_before_the_first_delivery() {
    let mut account = Account::with_audience();
    account.request("STREAM.CREATE.S", r#"{"name":"S"}"#, b"");
    account.publish("S", "text");
    account.publish("S", "text");
    let config = r#"{"durable_name":"C","deliver_subject":"push","ack_policy":"explicit"}"#;
    let request = format!(r#"{{"stream_name":"S","config":{config}}}"#);
    let sent = account.messages("CONSUMER.CREATE.S.C", &request, b"");
    let mut answers =
        sent.iter().map(|(_, text)| text).filter(|text| text.contains("\"num_pending\""));
    let answer: serde_json::Value = serde_json::from_str(answers.next().unwrap()).unwrap();
    // Clients of buckets take it for the number of messages to come.
    assert_eq!(answer["num_pending"], 2);
    assert_eq!(answer["delivered"]["consumer_seq"], 0);
    assert_eq!(answer["push_bound"], true);
}
