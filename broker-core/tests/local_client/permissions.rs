//! Permissions, limits and invalid arguments.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Instant, SystemTime};

use broker_core::auth::Permissions;
use broker_core::{
    Broker, HeaderMap, Limits, Options, PublishError, RequestError, Subject, SubjectError,
    SubscribeError,
};
use bytes::Bytes;
use futures_executor::block_on;

use crate::{broker, client_who};

#[test]
fn denied_operations_are_errors() {
    let broker = broker();
    let permissions = Permissions::builder().publish_deny(["no"]).subscribe_deny(["no", "q w"]);
    let client = client_who(&broker, permissions.build().unwrap());
    block_on(async {
        let denied = client.publish("no", Bytes::new()).await.unwrap_err();
        assert!(matches!(&denied, PublishError::Denied(subject) if &**subject == "no"));
        assert_eq!(denied.to_string(), "publishing to no is not allowed");
        let denied = client.request("no", Bytes::new()).await.unwrap_err();
        assert!(matches!(denied, RequestError::Publish(PublishError::Denied(_))));
        let denied = client.subscribe("no").await.err().unwrap();
        assert_eq!(denied.to_string(), "subscribing to no is not allowed");
        assert!(client.queue_subscribe("q", "w").await.is_err());
        assert!(client.queue_subscribe("q", "v").await.is_ok());
        let mut all = client.subscribe(">").await.unwrap();
        broker.client().publish("no", Bytes::new()).await.unwrap();
        broker.client().publish("yes", Bytes::new()).await.unwrap();
        assert_eq!(&*all.next().await.unwrap().subject, "yes", "no denied message is delivered");
    });
}

#[test]
fn operations_reserved_to_servers_are_denied() {
    let client = broker().client();
    block_on(async {
        for subject in ["_GR_.x", "$NRG.x"] {
            let denied = client.publish(subject, Bytes::new()).await;
            assert!(matches!(denied, Err(PublishError::Denied(_))), "{subject}");
        }
        let denied = client.publish_with_reply("a", "_R_.x", Bytes::new()).await;
        assert!(matches!(denied, Err(PublishError::Denied(_))));
        let denied = client.queue_subscribe("a", "_sys_").await;
        assert!(matches!(denied, Err(SubscribeError::Denied(_))));
    });
}

#[test]
fn invalid_arguments_are_errors() {
    let client = broker().client();
    block_on(async {
        for (subject, expected) in [
            ("", SubjectError::Empty),
            ("a..b", SubjectError::EmptyToken),
            ("a b", SubjectError::WhiteSpace),
            ("a.*", SubjectError::Wildcard),
        ] {
            let error = client.publish(subject, Bytes::new()).await;
            assert_eq!(error, Err(PublishError::Subject(expected)), "{subject:?}");
        }
        let headers: HeaderMap = [("a:b", "c")].into_iter().collect();
        let error = client.publish_with_headers("a", headers, Bytes::new()).await;
        assert!(matches!(error, Err(PublishError::Header(_))));
        for queue in ["", "a b"] {
            assert!(client.queue_subscribe("a", queue).await.is_err(), "{queue:?}");
        }
        let error = client.subscribe("a.>.b").await.err();
        assert_eq!(error, Some(SubscribeError::Filter(SubjectError::FullNotLast)));
    });
}

#[test]
fn the_limits_apply() {
    let limits = Limits {
        max_payload_bytes: 20,
        max_subscriptions: Some(2),
        max_subscription_tokens: Some(3),
        ..Limits::default()
    };
    let client =
        Broker::new(Options { limits, ..Options::default() }, (Instant::now, SystemTime::now))
            .client();
    block_on(async {
        client.publish("a", vec![0; 20].into()).await.unwrap();
        let error = client.publish("a", vec![0; 21].into()).await;
        assert_eq!(error, Err(PublishError::MaxPayload { size: 21, limit: 20 }));
        let headers: HeaderMap = [("A", "b")].into_iter().collect();
        let error = client.publish_with_headers("a", headers, vec![0; 3].into()).await;
        assert_eq!(error, Err(PublishError::MaxPayload { size: 21, limit: 20 }));
        assert!(client.subscribe("a.b.c").await.is_ok());
        let error = client.subscribe("a.b.c.d").await.err();
        assert_eq!(error, Some(SubscribeError::TooManyTokens));
        let first = client.subscribe("a").await.unwrap();
        let _second = client.subscribe("a").await.unwrap();
        let error = client.subscribe("a").await.err();
        assert_eq!(error, Some(SubscribeError::MaxSubscriptions));
        drop(first);
        assert!(client.subscribe("a").await.is_ok(), "room again");
    });
}

#[test]
fn changed_limits_apply_to_the_next_message() {
    let broker = broker();
    let client = broker.client();
    let payload = Bytes::from_static(b"12345");
    block_on(client.publish("x", payload.clone())).unwrap();
    for (limit, fits) in [(4, false), (5, true), (4, false)] {
        let limits = Limits { max_payload_bytes: limit, ..Limits::default() };
        broker.apply(Options { limits, ..Options::default() }, None);
        assert_eq!(block_on(client.publish("x", payload.clone())).is_ok(), fits);
    }
}

#[test]
fn a_service_may_answer_only_what_its_permissions_allow() {
    let broker = broker();
    let requester = broker.client();
    let permissions = Permissions::builder().publish_deny(["_INBOX.*.denied"]).build().unwrap();
    let service = client_who(&broker, permissions);
    block_on(async {
        let mut requests = service.subscribe("ask").await.unwrap();
        for _ in 0..3 {
            let mut asking = pin!(requester.request("ask", "?".into()));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(asking.as_mut().poll(cx).is_pending());
            let reply = requests.try_next().unwrap().reply.unwrap();
            let denied = format!("{}.denied", reply.rsplit_once('.').unwrap().0);
            let refused = service.publish(denied.as_str(), "!".into()).await;
            assert_eq!(refused, Err(PublishError::Denied(Subject::parse(&denied).unwrap())));
            service.publish(reply, "!".into()).await.unwrap();
            assert!(asking.as_mut().poll(cx).is_ready());
        }
    });
}
