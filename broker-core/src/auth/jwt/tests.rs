//! Tokens made by the Go library jwt 2.8.2, and what is made of them.

use super::*;
use crate::auth::nkey::KeyPair;

const OPERATOR: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJNU1NUMk1TQ01JN0xOVkFTTUFFTzJHNjVLWVJTSklYR1A3TUhPTlpTVllSR0NZVEZWTFhRIiwiaWF0IjoxNzk1OTExMjg3LCJpc3MiOiJPQ0FUUzVZT1ZCNlJPWDJXVU5LR05RMk1QM0dNWERNS1NHMk80TjVDTFgzQTZXNFBaR1paSTVXWCIsIm5hbWUiOiJPUCIsInN1YiI6Ik9DQVRTNVlPVkI2Uk9YMldVTktHTlEyTVAzR01YRE1LU0cyTzRONUNMWDNBNlc0UFpHWlpJNVdYIiwibmF0cyI6eyJzaWduaW5nX2tleXMiOlsiT0JYSFVIRzVGR1lMUEQ2UkhMMk1LV01QNTcyTzZLVVhDWlhEWkpYUzRUNTdaVE1BS0JON0RXNE8iXSwic3lzdGVtX2FjY291bnQiOiJBRFdVU0tHR0ZESTRGUlhLNUVCVFJFQ1pTVlFTU1dKSEhKT0dINkpXRzNBVU1GRk1RNDM1RDZIRCIsImFzc2VydF9zZXJ2ZXJfdmVyc2lvbiI6IjIuMC4wIiwidGFncyI6WyJ0MSJdLCJ0eXBlIjoib3BlcmF0b3IiLCJ2ZXJzaW9uIjoyfX0.BYB0jigNdTWHS1Z3GcUYgnpl2f7XozMqxmtv-YadYKs7ioaei93hgZZ1r8RNGXqnmEGIDLLCSpRoBSUZSI7HBw";
const ACCOUNT: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJDNUlRUjNZUEdaMzY2RFFZQlVFUjQySkY0NVgzNEVUTk81UlpRTUxETklNTjVLRUYyRExRIiwiaWF0IjoxNzk1OTExMjg3LCJpc3MiOiJPQ0FUUzVZT1ZCNlJPWDJXVU5LR05RMk1QM0dNWERNS1NHMk80TjVDTFgzQTZXNFBaR1paSTVXWCIsIm5hbWUiOiJBIiwic3ViIjoiQURXVVNLR0dGREk0RlJYSzVFQlRSRUNaU1ZRU1NXSkhISk9HSDZKV0czQVVNRkZNUTQzNUQ2SEQiLCJuYXRzIjp7ImltcG9ydHMiOlt7InN1YmplY3QiOiJzLioiLCJhY2NvdW50IjoiQURGSkhMQVhBVU1IQTRPV1BPQjRQN1lPNzJBUVIySE1JVVlGT1hMWEUyRFpHTTYzM0s3SFpWWEsiLCJsb2NhbF9zdWJqZWN0IjoibC4kMSIsInR5cGUiOiJzdHJlYW0ifV0sImV4cG9ydHMiOlt7InN1YmplY3QiOiJzdmMiLCJ0eXBlIjoic2VydmljZSIsInRva2VuX3JlcSI6dHJ1ZSwicmVzcG9uc2VfdHlwZSI6IlN0cmVhbSIsInJlc3BvbnNlX3RocmVzaG9sZCI6MTAwMDAwMDAwMCwic2VydmljZV9sYXRlbmN5Ijp7InNhbXBsaW5nIjoiaGVhZGVycyIsInJlc3VsdHMiOiJsYXQifX1dLCJsaW1pdHMiOnsic3VicyI6LTEsImRhdGEiOi0xLCJwYXlsb2FkIjotMSwiaW1wb3J0cyI6LTEsImV4cG9ydHMiOi0xLCJ3aWxkY2FyZHMiOnRydWUsImNvbm4iOjcsImxlYWYiOi0xfSwic2lnbmluZ19rZXlzIjpbIkFDRklPWDc3RDJaWUlVS1hQTEdWVjdYRUFWQ1dLMkc1UFNFNkJFRUdISUNWUFBEMjZTUFJQWlNFIix7ImtpbmQiOiJ1c2VyX3Njb3BlIiwia2V5IjoiQURGSkhMQVhBVU1IQTRPV1BPQjRQN1lPNzJBUVIySE1JVVlGT1hMWEUyRFpHTTYzM0s3SFpWWEsiLCJyb2xlIjoiciIsInRlbXBsYXRlIjp7InB1YiI6eyJhbGxvdyI6WyJ7e25hbWUoKX19Llx1MDAzZSJdfSwic3ViIjp7fSwicmVzcCI6eyJtYXgiOjIsInR0bCI6MTAwMDAwMDAwMH0sInN1YnMiOi0xLCJkYXRhIjotMSwicGF5bG9hZCI6LTF9LCJkZXNjcmlwdGlvbiI6IiJ9XSwicmV2b2NhdGlvbnMiOnsiVUNGSVJZNjVPUUU3REZQNUtMTlMyUEYyTFZaTVVaWUpYNE9aSUVRMzZOMklRQU5VQjVYVlo0NUwiOjV9LCJkZWZhdWx0X3Blcm1pc3Npb25zIjp7InB1YiI6e30sInN1YiI6e319LCJtYXBwaW5ncyI6eyJhIjpbeyJzdWJqZWN0IjoiYiIsIndlaWdodCI6MzB9XX0sImF1dGhvcml6YXRpb24iOnt9LCJ0eXBlIjoiYWNjb3VudCIsInZlcnNpb24iOjJ9fQ.bGGlN84ZkVtVdwSBcfANLOPcvY4Ghn6YdRjCncXX_ft2GhoxLkYcWOqqdD7K7iZyvnnA-On3MxPcNGfEh1K0Cw";
const USER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiI0N0VTTVFHQVBESUxEUUVUQ01NNFRVT0JXSDNONzc3R040U1o1MldDNUM2S1VaUlpRRUVRIiwiaWF0IjoxNzk1OTExMjg3LCJpc3MiOiJBQ0ZJT1g3N0QyWllJVUtYUExHVlY3WEVBVkNXSzJHNVBTRTZCRUVHSElDVlBQRDI2U1BSUFpTRSIsIm5hbWUiOiJqb2UiLCJzdWIiOiJVQ0ZJUlk2NU9RRTdERlA1S0xOUzJQRjJMVlpNVVpZSlg0T1pJRVEzNk4ySVFBTlVCNVhWWjQ1TCIsIm5hdHMiOnsicHViIjp7fSwic3ViIjp7ImRlbnkiOlsieiBxIl19LCJzcmMiOlsiMTAuMC4wLjAvOCJdLCJ0aW1lcyI6W3sic3RhcnQiOiIwMTowMDowMCIsImVuZCI6IjAyOjAwOjAwIn1dLCJ0aW1lc19sb2NhdGlvbiI6IkV1cm9wZS9CZXJsaW4iLCJzdWJzIjozLCJkYXRhIjotMSwicGF5bG9hZCI6LTEsImJlYXJlcl90b2tlbiI6dHJ1ZSwiYWxsb3dlZF9jb25uZWN0aW9uX3R5cGVzIjpbIlNUQU5EQVJEIl0sImlzc3Vlcl9hY2NvdW50IjoiQURXVVNLR0dGREk0RlJYSzVFQlRSRUNaU1ZRU1NXSkhISk9HSDZKV0czQVVNRkZNUTQzNUQ2SEQiLCJ0YWdzIjpbIng6MSJdLCJ0eXBlIjoidXNlciIsInZlcnNpb24iOjJ9fQ.2n87a9JTokuTXKI0pp8rT-kunKRtVmy7tscMRlRRRPF0LRXhy5hmgnzYWYyftGWQlrg_RvnhxcjTyTToDAawCw";
const ACTIVATION: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJleHAiOjEwMCwianRpIjoiTDZPU0JGVkgzV1hYUE1WM0JFSkNQWTZPQ1Y0QkZWVkVMU0lXU0gyVkkzWFZXS1FUNFRNUSIsImlhdCI6MTc5NTkxMTI4NywiaXNzIjoiQURGSkhMQVhBVU1IQTRPV1BPQjRQN1lPNzJBUVIySE1JVVlGT1hMWEUyRFpHTTYzM0s3SFpWWEsiLCJzdWIiOiJBRFdVU0tHR0ZESTRGUlhLNUVCVFJFQ1pTVlFTU1dKSEhKT0dINkpXRzNBVU1GRk1RNDM1RDZIRCIsIm5hdHMiOnsic3ViamVjdCI6InN2YyIsImtpbmQiOiJzZXJ2aWNlIiwidHlwZSI6ImFjdGl2YXRpb24iLCJ2ZXJzaW9uIjoyfX0.UrZ7sZbDhUs1-_Wed5Mmar5s47piTUkcdYK5AfiZN69WUGL3Jk0PyqNctJv1gbJwO9lEZHlH_r6bK4osj7i1DQ";

fn pair(kind: KeyKind, byte: u8) -> KeyPair {
    KeyPair::from_random(kind, [byte; 32])
}

fn public(kind: KeyKind, byte: u8) -> String {
    pair(kind, byte).public().to_string()
}

fn account(byte: u8) -> String {
    public(KeyKind::Account, byte)
}

#[test]
fn an_operator_of_the_reference_is_read() {
    let claims = decode_operator(OPERATOR).unwrap();
    let key = public(KeyKind::Operator, 2);
    assert_eq!((&claims.name, &claims.subject, &claims.issuer), (&"OP".to_owned(), &key, &key));
    assert_eq!(claims.nats.signing_keys, [public(KeyKind::Operator, 5)]);
    assert_eq!(claims.nats.system_account, account(3));
    assert_eq!(claims.nats.assert_server_version, "2.0.0");
    assert_eq!(claims.nats.generic.tags, ["t1"]);
    assert!(claims.is_self_signed() && claims.issues(0).is_empty());
    assert!(claims.may_sign(&key) && claims.may_sign(&public(KeyKind::Operator, 5)));
    assert!(!claims.may_sign(&account(3)));
}

#[test]
fn an_account_of_the_reference_is_read() {
    let claims = decode_account(ACCOUNT).unwrap();
    let nats = &claims.nats;
    assert_eq!(claims.issuer, public(KeyKind::Operator, 2));
    assert_eq!((nats.limits.conn, nats.limits.subs, nats.limits.wildcards), (7, -1, true));
    let scope = nats.signing_keys.scope(&account(4)).unwrap();
    assert_eq!((&*scope.role, scope.template.subs), ("r", -1));
    assert_eq!(scope.template.permissions.publish.allow, ["{{name()}}.>"]);
    let responses = scope.template.permissions.responses.unwrap();
    assert_eq!((responses.max, responses.ttl), (2, 1_000_000_000));
    assert!(nats.signing_keys.contains(&account(6)));
    assert!(nats.signing_keys.scope(&account(6)).is_none());
    let export = &nats.exports[0];
    assert_eq!((export.kind, export.token_req), (ExportType::Service, true));
    assert_eq!((&*export.response_type, export.response_threshold), ("Stream", 1_000_000_000));
    assert_eq!(export.latency.as_ref().unwrap().sampling, Sampling::Headers);
    let import = &nats.imports[0];
    assert_eq!((import.kind, &*import.local_subject), (ExportType::Stream, "l.$1"));
    assert_eq!(nats.mappings["a"][0].percent(), 30);
    assert_eq!(nats.revocations.0[&public(KeyKind::User, 1)], 5);
    assert_eq!(claims.issues(0), []);
}

#[test]
fn a_user_of_the_reference_is_read() {
    let claims = decode_user(USER).unwrap();
    let limits = &claims.nats.limits;
    assert_eq!((&*claims.name, limits.subs, limits.payload), ("joe", 3, -1));
    assert_eq!(limits.src, ["10.0.0.0/8"]);
    assert_eq!((&*limits.times[0].start, &*limits.locale), ("01:00:00", "Europe/Berlin"));
    assert_eq!(limits.permissions.subscribe.deny, ["z q"]);
    assert!(limits.bearer_token && !limits.is_empty());
    assert_eq!(limits.allowed_connection_types, ["STANDARD"]);
    assert_eq!(claims.nats.generic.tags, ["x:1"]);
    let owner = decode_account(ACCOUNT).unwrap();
    assert!(owner.may_sign(&claims.issuer, &claims.nats.issuer_account));
    assert!(!owner.has_revoked(&claims));
    let early = UserClaims { issued_at: 5, ..claims };
    assert!(owner.has_revoked(&early));
}

#[test]
fn an_activation_of_the_reference_is_read() {
    let claims = decode_activation(ACTIVATION).unwrap();
    assert_eq!(claims.nats.import_type, ExportType::Service);
    assert_eq!((&*claims.nats.import_subject, claims.expires), ("svc", 100));
    assert_eq!(claims.issues(100), []);
    assert_eq!(claims.issues(101)[0].severity, Severity::Time);
}

#[test]
fn what_is_written_is_read_again() {
    let read = decode_account(ACCOUNT).unwrap();
    let again = encode(&read, &pair(KeyKind::Operator, 2)).unwrap();
    let again = decode_account(again.expose()).unwrap();
    assert_eq!(AccountClaims { id: read.id.clone(), ..again }, read);
    let read = decode_user(USER).unwrap();
    let again = encode(&read, &pair(KeyKind::Account, 6)).unwrap();
    let again = decode_user(again.expose()).unwrap();
    assert_eq!(UserClaims { id: read.id.clone(), ..again }, read);
}

/// Signs claims as version 1 does.
fn version_1(claims: &str, issuer: &KeyPair) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let header = BASE64.encode(r#"{"typ":"jwt","alg":"ed25519"}"#);
    let claims = BASE64.encode(claims);
    let signature = BASE64.encode(issuer.sign(claims.as_bytes()));
    format!("{header}.{claims}.{signature}")
}

#[test]
fn claims_of_version_1_are_migrated() {
    let issuer = pair(KeyKind::Account, 6);
    let claims = format!(
        r#"{{"iss":"{}","sub":"{}","type":"user","tags":["a"],"issuer_account":"{}","iat":1,
            "nats":{{"src":"1.2.3.0/24, ::1/128","max":5,"pub":{{"allow":["x"]}},"tags":["b"]}}}}"#,
        issuer.public(),
        public(KeyKind::User, 1),
        account(3)
    );
    let user = decode_user(&version_1(&claims, &issuer)).unwrap().nats;
    assert_eq!((user.limits.subs, user.limits.payload, user.generic.version), (-1, -1, 1));
    assert_eq!(user.limits.src, ["1.2.3.0/24", "::1/128"]);
    assert_eq!(user.generic.tags, ["a"]);
    assert_eq!(user.issuer_account, account(3));
    let claims = format!(
        r#"{{"iss":"{0}","sub":"{0}","type":"activation","nats":{{"subject":"s","type":"stream"}}}}"#,
        issuer.public()
    );
    let activation = decode_activation(&version_1(&claims, &issuer)).unwrap().nats;
    assert_eq!(activation.import_type, ExportType::Stream);
    let claims = format!(
        r#"{{"iss":"{0}","sub":"{0}","type":"account","nats":{{"mappings":{{"a":[]}},
            "limits":{{"conn":3,"mem_storage":9}},"signing_keys":["{1}"]}}}}"#,
        issuer.public(),
        account(4)
    );
    let old = decode_account(&version_1(&claims, &issuer)).unwrap().nats;
    assert_eq!((old.limits.conn, old.limits.subs), (3, 0));
    assert!(old.signing_keys.contains(&account(4)));
    assert!(old.mappings.is_empty() && old.limits.other.is_empty());
}

#[test]
fn any_change_of_a_token_is_noticed() {
    for at in 0..USER.len() {
        let mut changed = USER.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last letter has bits that belong to no byte.
        assert!(decode_user(&changed).is_err() || at + 1 == USER.len(), "{at}");
        assert!(decode_user(&USER[..at]).is_err(), "{at}");
    }
    assert_eq!(decode_user(""), Err(JwtError::Chunks));
    assert_eq!(decode_user(&format!("{USER}.")), Err(JwtError::Chunks));
    assert_eq!(decode_user(ACCOUNT), Err(JwtError::Kind("user")));
    assert_eq!(decode_user(&"A".repeat(MAX_TOKEN_BYTES + 1)), Err(JwtError::TooLarge(1_048_577)));
}

#[test]
fn a_key_of_another_kind_signs_no_claims() {
    let user = public(KeyKind::User, 1).parse().unwrap();
    let claims = UserClaims::new(user);
    assert_eq!(encode(&claims, &pair(KeyKind::Operator, 2)).err(), Some(JwtError::Issuer));
    let issuer = pair(KeyKind::Operator, 2);
    let text = format!(r#"{{"iss":"{}","sub":"{user}","type":"user"}}"#, issuer.public());
    assert_eq!(decode_user(&version_1(&text, &issuer)), Err(JwtError::Issuer));
    let other = pair(KeyKind::Account, 9);
    assert_eq!(decode_user(&version_1(&text, &other)), Err(JwtError::Signature(1)));
    let claims = UserClaims::new(account(3).parse().unwrap());
    assert_eq!(
        encode(&claims, &pair(KeyKind::Account, 3)).err(),
        Some(JwtError::Subject(KeyKind::User))
    );
}

#[test]
fn null_is_absent_and_the_last_of_two_fields_counts() {
    let issuer = pair(KeyKind::Account, 6);
    let text = format!(
        r#"{{"iss":"{}","sub":"a","sub":"{}","type":"user","nats":{{"src":null,"pub":null,"times":null}}}}"#,
        issuer.public(),
        public(KeyKind::User, 1),
    );
    let claims = decode_user(&version_1(&text, &issuer)).unwrap();
    assert_eq!(claims.subject, public(KeyKind::User, 1));
}

#[test]
fn texts_that_are_no_claims_are_refused_without_quoting_them() {
    let issuer = pair(KeyKind::Account, 6);
    for text in
        ["", "null", "[]", "{", r#"{"type":"user","nats":7}"#, r#"{"type":"user","exp":"marker"}"#]
    {
        let error = decode_user(&version_1(text, &issuer)).unwrap_err();
        assert!(!error.to_string().contains("marker"), "{error}");
    }
    let deep = format!(r#"{{"type":"user","x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(decode_user(&version_1(&deep, &issuer)), Err(JwtError::Json(_))));
}

#[test]
fn networks_and_times_of_day_are_parsed_as_in_the_reference() {
    use validation::{Network, second_of_day};
    let contains = |network: &str, address: &str| {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    };
    assert!(contains("10.0.0.0/8", "10.255.1.2") && !contains("10.0.0.0/8", "11.0.0.0"));
    assert!(contains("10.0.0.7/32", "::ffff:10.0.0.7") && contains("0.0.0.0/0", "1.1.1.1"));
    assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "::1"));
    assert!(!contains("::/0", "10.0.0.7"), "as Go's IPNet");
    for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "a/1", "1.1.1.1/+1", "1.1.1.1/"] {
        assert!(Network::parse(text).is_none(), "{text}");
    }
    assert_eq!(second_of_day("01:02:03"), Some(3723));
    assert_eq!(second_of_day("1:02:03"), Some(3723));
    for text in
        ["", "01:02", "24:00:00", "01:60:00", "01:2:03", "a:00:00", "01:02:03:04", "+1:00:00"]
    {
        assert_eq!(second_of_day(text), None, "{text}");
    }
}

#[test]
fn claims_that_contradict_themselves_have_issues() {
    let mut claims = decode_account(ACCOUNT).unwrap();
    let nats = &mut claims.nats;
    nats.limits.imports = 0;
    nats.exports.push(Export::new(ExportType::Service, "svc"));
    nats.exports
        .push(Export { account_token_position: 2, ..Export::new(ExportType::Stream, "a.b.*") });
    nats.imports[0].local_subject = "l.$2".into();
    nats.imports[0].share = true;
    nats.mappings.insert(
        "m".into(),
        vec![WeightedMapping { subject: "b..c".into(), weight: 60, ..Default::default() }; 2],
    );
    nats.authorization.allowed_accounts.push("x".into());
    nats.signing_keys.add("bad");
    let texts: Vec<String> = claims.issues(0).into_iter().map(|issue| issue.text).collect();
    for expected in [
        "the account contains more imports than allowed by the operator",
        "service export subject \"svc\" already exports \"svc\"",
        "Account Token Position 2 matches 'b' but must match a * in: a.b.*",
        "Reference $2 in \"l.$2\" reference * in \"s.*\" that do not exist",
        "sharing information (for latency tracking) is only valid for services: \"s.*\"",
        "Mapping \"m\" exceeds 100% among all of it's weighted to mappings",
        "subject \"b..c\" cannot contain consecutive `.`",
        "External authorization cannot have accounts without users specified",
        "Account \"x\" is not a valid account public key",
        "\"bad\" is not a valid account signing key",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:#?}");
    }
}
