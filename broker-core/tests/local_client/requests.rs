//! Requests and their answers.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use broker_core::auth::Permissions;
use broker_core::limits::LOCAL_REQUESTS;
use broker_core::{CloseReason, HeaderMap, Limits, Options, RequestError, SubscribeError};
use bytes::Bytes;
use futures_executor::block_on;

use crate::common::World;
use crate::{broker, client_who};

#[test]
fn a_request_is_answered() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    let mut request = pin!(client.request("ask", "what".into()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    let asked = responder.read();
    let reply = asked.split(' ').nth(3).unwrap();
    assert!(reply.starts_with("_INBOX."), "{asked}");
    world.send(&mut responder, format!("PUB {reply} 4\r\nthat\r\n"));
    let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
    assert_eq!(answer.payload, "that");
    assert_eq!(world.broker.stats().subscriptions, 2, "one inbox for all requests");
}

#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    {
        let mut request = pin!(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let _second = pin!(client.request("ask", Bytes::new()));
        assert_eq!(world.broker.stats().subscriptions, 2);
    }
    // Late replies reach no later request.
    let late = responder.read();
    let mut request = pin!(client.request("ask", Bytes::new()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    for (asked, answer) in [(late, "late"), (responder.read(), "good")] {
        if let Some(reply) = asked.split(' ').nth(3) {
            world.send(&mut responder, format!("PUB {reply} 4\r\n{answer}\r\n"));
        }
    }
    let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
    assert_eq!(answer.payload, "good");
    assert_eq!(world.broker.stats().subscriptions, 2, "one inbox for all requests");
}

#[test]
fn an_inbox_ends_with_its_client() {
    let broker = broker();
    let client = broker.client();
    assert_eq!(block_on(client.request("ask", Bytes::new())), Err(RequestError::NoResponders));
    assert_eq!(broker.stats().subscriptions, 1);
    drop(client);
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn many_concurrent_requests_each_get_their_first_reply() {
    let broker = broker();
    let (client, service) = (broker.client(), broker.client());
    let mut asked = block_on(service.subscribe("ask")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut requests: Vec<_> = (0..500)
        .map(|number: u32| Box::pin(client.request("ask", number.to_string().into())))
        .collect();
    for request in &mut requests {
        assert!(request.as_mut().poll(&mut cx).is_pending());
    }
    let mut questions: Vec<_> = std::iter::from_fn(|| asked.try_next()).collect();
    questions.reverse();
    for question in questions {
        let reply = question.reply.unwrap();
        block_on(service.publish(reply.clone(), question.payload)).unwrap();
        block_on(service.publish(reply, "another".into())).unwrap();
    }
    for (number, request) in requests.iter_mut().enumerate() {
        let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
        assert_eq!(answer.payload, number.to_string());
    }
    assert_eq!(broker.stats().subscriptions, 2);
}

#[test]
fn the_number_of_pending_requests_is_limited() {
    let broker = broker();
    let client = broker.client();
    let _asked = block_on(broker.client().subscribe("ask")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting = Vec::new();
    for _ in 0..LOCAL_REQUESTS {
        let mut request = Box::pin(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut cx).is_pending());
        waiting.push(request);
    }
    let one_more = block_on(client.request("ask", Bytes::new()));
    assert_eq!(one_more, Err(RequestError::TooManyRequests));
    waiting.pop();
    assert!(Box::pin(client.request("ask", Bytes::new())).as_mut().poll(&mut cx).is_pending());
}

#[test]
fn a_client_without_permission_for_a_wildcard_inbox_has_one_per_request() {
    let broker = broker();
    let mut asked = block_on(broker.client().subscribe("ask")).unwrap();
    let permissions = Permissions::builder().subscribe_allow(["_INBOX.*"]).build().unwrap();
    let client = client_who(&broker, permissions);
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut request = pin!(client.request("ask", Bytes::new()));
        assert!(request.as_mut().poll(&mut cx).is_pending());
        assert_eq!(broker.stats().subscriptions, 2);
        let reply = asked.try_next().unwrap().reply.unwrap();
        assert_eq!(reply.split('.').count(), 2, "{reply}");
        block_on(broker.client().publish(reply, "yes".into())).unwrap();
        let Poll::Ready(Ok(answer)) = request.as_mut().poll(&mut cx) else { panic!("no answer") };
        assert_eq!(answer.payload, "yes");
    }
    assert_eq!(broker.stats().subscriptions, 1);
    let nowhere = block_on(client.request("nowhere", Bytes::new()));
    assert_eq!(nowhere, Err(RequestError::NoResponders));
    let denied = Permissions::builder().subscribe_deny(["_INBOX.>"]).build().unwrap();
    let asked = block_on(client_who(&broker, denied).request("ask", Bytes::new()));
    assert!(matches!(asked, Err(RequestError::Subscribe(SubscribeError::Denied(_)))), "{asked:?}");
    let limits = Limits { max_subscription_tokens: Some(2), ..Limits::default() };
    broker.apply(Options { limits, ..Options::default() }, None);
    let nowhere = block_on(broker.client().request("nowhere", Bytes::new()));
    assert_eq!(nowhere, Err(RequestError::NoResponders));
}

#[test]
fn a_request_without_responders_fails_at_once() {
    let client = broker().client();
    assert_eq!(block_on(client.request("ask", Bytes::new())), Err(RequestError::NoResponders));
    let headers: HeaderMap = [("A", "b")].into_iter().collect();
    let asked = block_on(client.request_with_headers("ask", headers, Bytes::new()));
    assert_eq!(asked, Err(RequestError::NoResponders));
}

#[test]
fn a_request_ends_when_the_broker_does() {
    let mut world = World::new();
    let client = world.broker.client();
    let mut responder = world.join();
    world.send(&mut responder, "SUB ask 1\r\n");
    let mut request = pin!(client.request("ask", Bytes::new()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(request.as_mut().poll(&mut cx).is_pending());
    world.broker.finish_all(CloseReason::ServerShutdown);
    assert_eq!(request.as_mut().poll(&mut cx), Poll::Ready(Err(RequestError::Closed)));
}

/// Answers to one client are all matched by one search, unless a subscription tells them apart.
#[test]
fn observers_get_the_answers_that_match_their_subscriptions() {
    let mut world = World::new();
    let (requester, service) = (world.broker.client(), world.broker.client());
    let mut wire = world.join();
    block_on(async {
        let mut requests = service.subscribe("ask").await.unwrap();
        let mut seen = world.broker.client().subscribe("_INBOX.>").await.unwrap();
        for round in 0..12 {
            let mut asking = pin!(requester.request("ask", "?".into()));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(asking.as_mut().poll(cx).is_pending());
            let reply = requests.try_next().unwrap().reply.unwrap();
            let client = reply.rsplit_once('.').unwrap().0.to_owned();
            // No observer, one of all answers, one of this answer, one of another one, one of all answers to the client.
            let filter = match round % 5 {
                0 => None,
                1 => Some(String::from("*.*.*")),
                2 => Some(reply.to_string()),
                3 => Some(format!("{client}.other")),
                _ => Some(format!("{client}.*")),
            };
            if let Some(filter) = &filter {
                world.send(&mut wire, format!("SUB {filter} {round}\r\n"));
            }
            service.publish(reply.clone(), "!".into()).await.unwrap();
            let Poll::Ready(answer) = asking.as_mut().poll(cx) else { panic!("no answer") };
            let answer = answer.unwrap();
            assert_eq!((answer.subject, answer.payload), (reply.clone(), Bytes::from("!")));
            assert_eq!(seen.try_next().unwrap().subject, reply, "{filter:?}");
            let expected = match round % 5 {
                0 | 3 => String::new(),
                _ => format!("MSG {reply} {round} 1\r\n!\r\n"),
            };
            assert_eq!(wire.read(), expected, "{filter:?}");
            world.send(&mut wire, format!("UNSUB {round}\r\n"));
        }
        assert!(seen.try_next().is_none() && requests.try_next().is_none());
    });
}
