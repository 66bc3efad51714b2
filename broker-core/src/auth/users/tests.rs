//! Tests of lists of users.

use super::*;

fn shows(user: &str, password: &str) -> Credentials {
    Credentials { user: user.into(), password: password.into(), ..Credentials::default() }
}

fn log_in(users: &Users, user: &str, password: &str) -> Result<Grant, Denied> {
    users.authenticate(&shows(user, password)).resolve()
}

#[test]
fn only_the_right_password_is_accepted() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    for stored in ["pw", &hash] {
        let users = Users::builder().user(User::new("u", stored)).build().unwrap();
        assert!(users.is_required());
        assert_eq!(log_in(&users, "u", "pw").unwrap(), Grant::user("u"));
        for (user, password) in
            [("u", ""), ("u", "pW"), ("u", &hash), ("U", "pw"), ("", "pw"), ("", ""), ("x", "")]
        {
            assert_eq!(log_in(&users, user, password), Err(Denied::Credentials), "{user}");
        }
    }
}

#[test]
fn a_token_is_not_a_user() {
    let users = Users::builder().user(User::new("u", "pw")).build().unwrap();
    let credentials = Credentials { token: "pw".into(), ..Credentials::default() };
    assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::Credentials));
}

#[test]
fn an_empty_list_accepts_no_client() {
    let users = Users::builder().build().unwrap();
    assert!(users.is_required());
    assert!(users.authenticate(&Credentials::default()).resolve().is_err());
}

#[test]
fn every_failure_computes_a_hash_if_one_is_on_the_list() {
    let users = Users::builder()
        .user(User::new("plain", "pw"))
        .user(User::new("hashed", bcrypt::hash("pw", 4).unwrap()))
        .build()
        .unwrap();
    for (user, password) in [("nobody", "pw"), ("plain", "guess"), ("hashed", "guess")] {
        let decision = users.authenticate(&shows(user, password));
        assert!(matches!(decision, Decision::Compute(_)), "{user}");
        assert_eq!(decision.resolve(), Err(Denied::Credentials), "{user}");
    }
    assert!(log_in(&users, "plain", "pw").is_ok());
}

/// The decoy is the hash of one user: its password must not authenticate another user.
#[test]
fn the_password_of_the_decoy_authenticates_no_other_user() {
    let users = Users::builder()
        .user(User::new("plain", "other"))
        .user(User::new("hashed", bcrypt::hash("pw", 4).unwrap()))
        .build()
        .unwrap();
    assert!(log_in(&users, "hashed", "pw").is_ok());
    assert_eq!(log_in(&users, "nobody", "pw"), Err(Denied::Credentials));
    assert_eq!(log_in(&users, "plain", "pw"), Err(Denied::Credentials));
}

#[test]
fn the_decoy_is_the_most_expensive_hash() {
    let hash = |cost| bcrypt::hash("pw", cost).unwrap();
    let users = Users::builder()
        .users([User::new("a", hash(4)), User::new("b", hash(6)), User::new("c", hash(5))])
        .build()
        .unwrap();
    assert_eq!(users.decoy.unwrap().cost(), "06");
}

#[test]
fn a_client_without_credentials_is_the_no_auth_user() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    let users = Users::builder()
        .users([User::new("guest", hash), User::new("u", "pw")])
        .no_auth_user("guest")
        .build()
        .unwrap();
    assert!(!users.is_required());
    let decision = users.authenticate(&Credentials::default());
    assert!(matches!(decision, Decision::Grant(_)), "no need to compute");
    assert_eq!(decision.resolve().unwrap().user.as_deref(), Some("guest"));
    assert_eq!(log_in(&users, "u", "pw").unwrap().user.as_deref(), Some("u"));
    for (user, password) in [("guest", ""), ("guest", "x"), ("", "pw"), ("nobody", "")] {
        assert_eq!(log_in(&users, user, password), Err(Denied::Credentials), "{user}");
    }
    let credentials = Credentials { token: "x".into(), ..Credentials::default() };
    assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::Credentials));
}

#[test]
fn a_user_may_use_the_allowed_kinds_of_connections() {
    let user = User::new("u", "pw").connection_kinds([ConnectionKind::Websocket]);
    let users = Users::builder().user(user).no_auth_user("u").build().unwrap();
    for mut credentials in [shows("u", "pw"), Credentials::default()] {
        let denied = users.authenticate(&credentials).resolve();
        assert_eq!(denied, Err(Denied::ConnectionKind));
        credentials.kind = ConnectionKind::Websocket;
        assert!(users.authenticate(&credentials).resolve().is_ok());
    }
    assert_eq!(
        log_in(&users, "u", "guess"),
        Err(Denied::Credentials),
        "the reason is shown only with the right password"
    );
}

#[test]
fn a_user_gets_its_account_and_permissions_or_the_default() {
    let permissions =
        |subject: &str| Arc::new(Permissions::builder().publish_allow([subject]).build().unwrap());
    let users = Users::builder()
        .user(User::new("a", "pw"))
        .user(User::new("b", "pw").account("B").permissions(permissions("own")))
        .default_permissions(permissions("default"))
        .build()
        .unwrap();
    let a = log_in(&users, "a", "pw").unwrap();
    assert_eq!(a, Grant::user("a").with_permissions(permissions("default")));
    let b = log_in(&users, "b", "pw").unwrap();
    assert_eq!(b, Grant::user("b").with_account("B").with_permissions(permissions("own")));
}

#[test]
fn invalid_lists_are_refused() {
    let twice = Users::builder().user(User::new("u", "a")).user(User::new("u", "b"));
    assert_eq!(twice.build().unwrap_err(), UsersError::Duplicate("u".into()));
    let nameless = Users::builder().user(User::new("", "a"));
    assert_eq!(nameless.build().unwrap_err(), UsersError::Nameless);
    let unknown = Users::builder().user(User::new("u", "a")).no_auth_user("v");
    assert_eq!(unknown.build().unwrap_err(), UsersError::UnknownNoAuthUser("v".into()));
}

#[test]
fn printed_users_show_no_password() {
    let hash = bcrypt::hash("marker", 4).unwrap();
    let users = [User::new("a", "marker"), User::new("b", &*hash)];
    let users = Users::builder().users(users).no_auth_user("a").build().unwrap();
    let decision = users.authenticate(&shows("b", "marker"));
    for shown in [format!("{users:?}"), format!("{decision:?}")] {
        assert!(!shown.contains("marker") && !shown.contains(&hash[7..]), "{shown}");
    }
}

/// Reviews a session with the grant `held`, whose password has been forgotten.
fn review(users: &Users, held: &Grant, user: &str) -> Result<Grant, Denied> {
    let credentials = Credentials { user: user.into(), ..Credentials::default() };
    users.review(held, &credentials).resolve()
}

#[test]
fn a_user_still_on_the_list_with_the_same_password_stays() {
    let list = |users: &[(&str, &str)]| {
        let users = users.iter().map(|(name, password)| User::new(*name, *password));
        Users::builder().users(users).build().unwrap()
    };
    let held = log_in(&list(&[("a", "pw"), ("b", "pw")]), "a", "pw").unwrap();
    assert_eq!(review(&list(&[("a", "pw"), ("c", "x")]), &held, "a"), Ok(Grant::user("a")));
    assert_eq!(review(&list(&[("a", "pW")]), &held, "a"), Err(Denied::Credentials));
    assert_eq!(review(&list(&[("b", "pw")]), &held, "a"), Err(Denied::Unknown));
    assert_eq!(review(&list(&[]), &held, "a"), Err(Denied::Unknown));
}

#[test]
fn a_user_that_stays_gets_the_grant_of_the_new_list() {
    let permissions = Permissions::builder().publish_deny(["x"]).build().unwrap();
    let user = User::new("a", "pw").permissions(permissions.clone()).account("A");
    let before = Users::builder().user(User::new("a", "pw")).build().unwrap();
    let after = Users::builder().user(user).build().unwrap();
    let held = log_in(&before, "a", "pw").unwrap();
    let expected = Grant::user("a").with_account("A").with_permissions(permissions);
    assert_eq!(review(&after, &held, "a"), Ok(expected));
}

#[test]
fn a_client_without_credentials_becomes_the_new_no_auth_user() {
    let list = |no_auth_user: Option<&str>| {
        let users = [User::new("a", "pw"), User::new("b", "pw")];
        let users = Users::builder().users(users);
        match no_auth_user {
            Some(name) => users.no_auth_user(name).build().unwrap(),
            None => users.build().unwrap(),
        }
    };
    let held = list(Some("a")).authenticate(&Credentials::default()).resolve().unwrap();
    assert_eq!(review(&list(Some("b")), &held, ""), Ok(Grant::user("b")));
    assert_eq!(review(&list(None), &held, ""), Err(Denied::Credentials));
}

#[test]
fn a_client_with_a_token_is_not_a_user() {
    let credentials = Credentials { token: "t".into(), ..Credentials::default() };
    let held = crate::auth::Token::new("t").authenticate(&credentials).resolve().unwrap();
    let users = Users::builder().user(User::new("a", "pw")).no_auth_user("a").build().unwrap();
    assert_eq!(review(&users, &held, ""), Err(Denied::Credentials));
}

#[test]
fn a_client_accepted_without_a_check_is_authenticated() {
    let users = Users::builder().user(User::new("a", "pw")).build().unwrap();
    let held = Grant::user("a");
    for (password, expected) in [("pw", Ok(Grant::user("a"))), ("", Err(Denied::Credentials))] {
        assert_eq!(users.review(&held, &shows("a", password)).resolve(), expected);
    }
}

#[test]
fn users_stay_when_authentication_is_switched_off_and_on_again() {
    let users = Users::builder().user(User::new("a", "pw")).build().unwrap();
    let held = log_in(&users, "a", "pw").unwrap();
    let credentials = Credentials { user: "a".into(), ..Credentials::default() };
    let between = crate::auth::NoAuth.review(&held, &credentials).resolve().unwrap();
    assert_eq!(between, Grant::user("a"));
    assert_eq!(review(&users, &between, "a"), Ok(Grant::user("a")));
}

#[test]
fn a_password_that_is_hashed_now_keeps_its_user() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    let list = |password: &str| Users::builder().user(User::new("a", password)).build().unwrap();
    let before = list("pw");
    let held = log_in(&before, "a", "pw").unwrap();
    let hashed = list(&hash).succeeding(&before);
    let held = review(&hashed, &held, "a").unwrap();
    let again = list(&hash).succeeding(&hashed);
    assert_eq!(review(&again, &held, "a"), Ok(Grant::user("a")));
    assert_eq!(review(&list("pW").succeeding(&hashed), &held, "a"), Err(Denied::Credentials));
}

fn certificate(change: impl FnOnce(&mut Certificate)) -> Credentials {
    let mut certificate = Certificate::default();
    change(&mut certificate);
    Credentials {
        certificate: Some(Arc::new(certificate)),
        is_mapped: true,
        ..Credentials::default()
    }
}

fn subject(rdns: &[(&str, &str)]) -> DistinguishedName {
    DistinguishedName::from_attributes(rdns.iter().map(|rdn| [*rdn]))
}

#[test]
fn a_certificate_names_its_user_by_mail_host_uri_and_subject_in_this_order() {
    let names = ["a@b", "host", "urn:x", "CN=x,O=acme"];
    let full = |certificate: &mut Certificate| {
        certificate.emails = vec!["other@b".into(), "a@b".into()];
        certificate.dns_names = vec!["host".into()];
        certificate.uris = vec!["urn:x".into()];
        certificate.subject = subject(&[("2.5.4.10", "acme"), ("2.5.4.3", "x")]);
    };
    for (at, name) in names.iter().enumerate() {
        let users = names[at..].iter().map(|name| User::new(*name, ""));
        let users = Users::builder().users(users).build().unwrap();
        let grant = users.authenticate(&certificate(full)).resolve().unwrap();
        assert_eq!(grant.user.as_deref(), Some(*name));
    }
    let users = Users::builder().user(User::new("x", "")).build().unwrap();
    assert_eq!(users.authenticate(&certificate(full)).resolve(), Err(Denied::Credentials));
}

#[test]
fn a_subject_names_its_user_in_either_order_and_as_the_reference_prints_it() {
    let (cn, ou, dc) = ("2.5.4.3", "2.5.4.11", "0.9.2342.19200300.100.1.25");
    let mail = "1.2.840.113549.1.9.1";
    for (rdns, name) in [
        (&[(dc, "org"), (cn, "x")][..], "CN=x,DC=org"),
        (&[(dc, "org"), (cn, "x")], "DC=org,CN=x"),
        (&[(dc, "org"), (dc, "acme"), (cn, "x"), (mail, "m")], "CN=x,DC=org,DC=acme"),
        (&[(ou, "a"), (ou, "b"), (cn, "x"), (mail, "m")], "CN=x,OU=a+OU=b"),
        (&[(cn, "x"), (mail, "m")], "CN=x"),
    ] {
        let users = Users::builder().user(User::new(name, "")).build().unwrap();
        let shown = certificate(|certificate| certificate.subject = subject(rdns));
        assert_eq!(users.authenticate(&shown).resolve(), Ok(Grant::user(name)), "{name}");
    }
    let users = Users::builder().user(User::new("CN=x", "")).build().unwrap();
    for rdns in [&[(cn, "y")][..], &[(cn, "x"), (ou, "a")], &[(ou, "x")], &[]] {
        let shown = certificate(|certificate| certificate.subject = subject(rdns));
        assert!(users.authenticate(&shown).resolve().is_err(), "{rdns:?}");
    }
}

#[test]
fn mapped_credentials_use_only_the_certificate() {
    let users = Users::builder().user(User::new("host", "")).no_auth_user("host").build().unwrap();
    let mut without = shows("host", "");
    without.is_mapped = true;
    assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
    without.user = String::new();
    assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
    without.certificate = Some(Arc::default());
    assert_eq!(users.authenticate(&without).resolve(), Err(Denied::Credentials));
}

#[test]
fn a_user_with_a_certificate_must_send_its_password_if_it_has_one() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    for (stored, shown, is_let_in) in [
        ("", "", true),
        ("", "pw", false),
        ("pw", "", false),
        ("pw", "pw", true),
        (&hash, "pw", true),
        (&hash, "", false),
    ] {
        let users = Users::builder().user(User::new("host", stored)).build().unwrap();
        let mut credentials = certificate(|shown| shown.dns_names = vec!["host".into()]);
        credentials.password = shown.into();
        let grant = users.authenticate(&credentials).resolve();
        assert_eq!(grant.is_ok(), is_let_in, "{stored} {shown}");
    }
}

#[test]
fn a_user_without_a_password_can_be_required_to_have_a_certificate() {
    let list = || Users::builder().users([User::new("cert", ""), User::new("u", "pw")]);
    assert!(log_in(&list().build().unwrap(), "cert", "").is_ok());
    let users = list().certificates_only(ConnectionKind::Standard).build().unwrap();
    assert_eq!(log_in(&users, "cert", ""), Err(Denied::Credentials));
    assert!(log_in(&users, "u", "pw").is_ok());
    let shown = certificate(|shown| shown.dns_names = vec!["cert".into()]);
    assert!(users.authenticate(&shown).resolve().is_ok());
}

#[test]
fn a_client_with_a_certificate_stays_while_it_names_a_user() {
    let list = |names: &[(&str, &str)]| {
        let users = names.iter().map(|(name, password)| User::new(*name, *password));
        Users::builder().users(users).build().unwrap()
    };
    let shown = certificate(|shown| shown.dns_names = vec!["host".into()]);
    let held = list(&[("host", "")]).authenticate(&shown).resolve().unwrap();
    let review = |names: &[(&str, &str)]| list(names).review(&held, &shown).resolve();
    assert_eq!(review(&[("host", ""), ("more", "")]), Ok(Grant::user("host")));
    assert_eq!(review(&[("other", "")]), Err(Denied::Unknown));
    assert_eq!(review(&[("host", "pw")]), Err(Denied::Credentials));
}

#[cfg(feature = "jwt")]
mod keys {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;
    use crate::auth::nkey::{KeyKind, KeyPair};

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_random(KeyKind::User, [byte; 32])
    }

    /// Signs the nonce `n`.
    fn signs(pair: &KeyPair) -> Credentials {
        let mut credentials = Credentials { nonce: "n".into(), ..Credentials::default() };
        credentials.nkey = pair.public().to_string();
        credentials.sig = URL_SAFE_NO_PAD.encode(pair.sign(b"n")).into();
        credentials
    }

    fn list(users: impl IntoIterator<Item = User>) -> UsersBuilder {
        Users::builder().users(users)
    }

    #[test]
    fn a_key_is_accepted_with_its_signature_of_the_nonce_only() {
        let users = list([User::nkey(pair(1).public()).account("A")]).build().unwrap();
        let log_in = |credentials: &Credentials| users.authenticate(credentials).resolve();
        let grant = log_in(&signs(&pair(1))).unwrap();
        let key = pair(1).public().to_string();
        assert_eq!((grant.user.as_deref(), &*grant.account), (Some(&*key), "A"));
        let identity = grant.identity.unwrap();
        assert_eq!(
            (identity.nkey.as_deref(), identity.issuer_key.as_deref()),
            (Some(&*key), Some("A"))
        );
        let mut padded = signs(&pair(1));
        padded.sig = STANDARD.encode(pair(1).sign(b"n")).into();
        assert!(log_in(&padded).is_ok(), "standard base64");
        let changes: [fn(&mut Credentials); 8] = [
            |credentials| credentials.sig = "".into(),
            |credentials| credentials.sig = "*".into(),
            |credentials| credentials.sig = "AAAA".into(),
            |credentials| credentials.nonce = "m".into(),
            |credentials| credentials.nonce = String::new(),
            |credentials| credentials.nkey = pair(2).public().to_string(),
            |credentials| credentials.nkey = String::new(),
            |credentials| credentials.sig = URL_SAFE_NO_PAD.encode(pair(2).sign(b"n")).into(),
        ];
        for change in changes {
            let mut credentials = signs(&pair(1));
            change(&mut credentials);
            assert_eq!(log_in(&credentials), Err(Denied::Credentials), "{credentials:?}");
        }
    }

    #[test]
    fn no_signature_of_an_empty_nonce_is_accepted() {
        let users = list([User::nkey(pair(1).public())]).build().unwrap();
        let mut credentials = signs(&pair(1));
        credentials.nonce = String::new();
        credentials.sig = URL_SAFE_NO_PAD.encode(pair(1).sign(b"")).into();
        assert_eq!(users.authenticate(&credentials).resolve(), Err(Denied::Credentials));
    }

    #[test]
    fn a_client_that_names_a_key_is_no_other_user() {
        let users = list([User::nkey(pair(1).public()), User::new("u", "pw")]).build().unwrap();
        let mut both = signs(&pair(2));
        (both.user, both.password) = ("u".into(), "pw".into());
        assert_eq!(users.authenticate(&both).resolve(), Err(Denied::Credentials));
        assert!(log_in(&users, "u", "pw").is_ok());
        let without_keys = list([User::new("u", "pw")]).build().unwrap();
        assert!(without_keys.authenticate(&both).resolve().is_ok(), "the key is ignored");
        assert!(users.nonce_required() && !without_keys.nonce_required());
    }

    #[test]
    fn a_key_can_be_the_user_of_clients_without_credentials() {
        let key = pair(1).public();
        let users = list([User::nkey(key), User::new("u", "pw")]).no_auth_user(key.to_string());
        let users = users.build().unwrap();
        let guest = users.authenticate(&Credentials::default()).resolve().unwrap();
        assert_eq!(guest.user, Some(key.to_string().into()));
        assert_eq!(log_in(&users, "u", "x"), Err(Denied::Credentials));
        let named = Credentials { nkey: key.to_string(), ..Credentials::default() };
        assert!(users.authenticate(&named).resolve().is_ok(), "no signature is needed");
        let now = list([User::nkey(key)]).build().unwrap();
        let review = now.review(&guest, &Credentials::default()).resolve();
        assert_eq!(review, Err(Denied::Credentials));
    }

    #[test]
    fn a_key_stays_while_it_is_on_the_list() {
        let of = |byte: u8| User::nkey(pair(byte).public());
        let held = list([of(1)]).build().unwrap().authenticate(&signs(&pair(1))).resolve().unwrap();
        let mut credentials = signs(&pair(1));
        credentials.sig = Secret::default();
        let review = |users: Users| users.review(&held, &credentials).resolve();
        assert_eq!(review(list([of(1), of(2)]).build().unwrap()), Ok(held.clone()));
        assert_eq!(review(list([of(2)]).build().unwrap()), Err(Denied::Unknown));
        assert_eq!(review(list([User::new("u", "")]).build().unwrap()), Err(Denied::Unknown));
        let websocket = of(1).connection_kinds([ConnectionKind::Websocket]);
        assert_eq!(review(list([websocket]).build().unwrap()), Err(Denied::ConnectionKind));
    }

    #[test]
    fn two_users_cannot_have_one_key() {
        let twice = list([User::nkey(pair(1).public()), User::nkey(pair(1).public())]).build();
        let key = pair(1).public().to_string();
        assert_eq!(twice.unwrap_err(), UsersError::Duplicate(key));
    }
}
