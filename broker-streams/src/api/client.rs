//! The client that advisories name.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::host::ApiRequest;

/// The description of a client in advisories, in the reference's order: all but its credentials.
// NATS 2.14: events.go ClientInfo, forAdvisory.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ClientInfo<'a> {
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    start: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    host: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_zero")]
    id: u64,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    acc: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    svc: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    user: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    name: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    lang: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    ver: Cow<'a, str>,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    rtt: u64,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    server: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    cluster: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    issuer_key: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    name_tag: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    kind: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    client_type: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    client_id: Cow<'a, str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> ClientInfo<'a> {
    /// Returns the client of a request to `server`. Of one that is not known at least the account is named.
    pub(super) fn of(request: &ApiRequest<'a>, server: &'a str) -> Self {
        let mut client: Self = serde_json::from_slice(request.client).unwrap_or_default();
        if client.acc.is_empty() {
            client.acc = request.account.into();
        } else if client.acc != request.account {
            // NATS 2.14: client.go processServiceImport: the account of the streams imports the API once more.
            client.svc = request.account.into();
            if client.server.is_empty() {
                client.server = server.into();
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use broker_core::go_json;

    use super::*;

    fn shown(client: &str) -> String {
        let request =
            ApiRequest { client: client.as_bytes(), account: "A", ..ApiRequest::default() };
        String::from_utf8(go_json::compact(&ClientInfo::of(&request, "S")).unwrap()).unwrap()
    }

    #[test]
    fn a_client_is_named_without_its_credentials() {
        for (known, expected) in [
            ("", r#"{"acc":"A"}"#),
            ("junk", r#"{"acc":"A"}"#),
            (r#"{"acc":"A","rtt":5}"#, r#"{"acc":"A","rtt":5}"#),
            (r#"{"acc":"B","rtt":5}"#, r#"{"acc":"B","svc":"A","rtt":5,"server":"S"}"#),
            (
                r#"{"start":"T","host":"::1","id":7,"acc":"A","user":"u","name":"n","lang":"go","ver":"1","server":"S","jwt":"secret","issuer_key":"I","name_tag":"N","tags":["t"],"nonce":"x","alts":["a"],"kind":"Client","client_type":"nats"}"#,
                r#"{"start":"T","host":"::1","id":7,"acc":"A","user":"u","name":"n","lang":"go","ver":"1","server":"S","issuer_key":"I","name_tag":"N","tags":["t"],"kind":"Client","client_type":"nats"}"#,
            ),
            (r#"{"acc":"A","name":"a\nb"}"#, r#"{"acc":"A","name":"a\nb"}"#),
        ] {
            assert_eq!(shown(known), expected, "{known}");
        }
    }
}
