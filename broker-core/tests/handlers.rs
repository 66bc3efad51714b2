//! Handlers: in-process functions that are called with raw messages.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Instant, SystemTime};

use broker_core::auth::{AllowResponses, Grant, Permissions};
use broker_core::endpoint::Scratch;
use broker_core::limits::{HANDLER_HOPS, HANDLER_QUEUE_MESSAGES};
use broker_core::{
    Broker, CloseReason, HandlerContext, HandlerSubscription, HeaderMap, Options, PublishError,
    RawMessage, RequestError, Subject, SubscribeError,
};
use bytes::Bytes;
use common::World;
use futures_executor::block_on;

fn broker() -> Broker {
    Broker::new(Options::default(), (Instant::now, SystemTime::now))
}

fn handle<F>(broker: &Broker, filter: &str, handler: F) -> HandlerSubscription
where
    F: FnMut(&RawMessage<'_>, &mut HandlerContext<'_>) + Send + 'static,
{
    broker.handle(Grant::anonymous(), filter, None, handler).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

/// The payloads handled so far.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, message: &RawMessage<'_>) {
        self.0.lock().unwrap().push(String::from_utf8(message.payload().to_vec()).unwrap());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn echo(request: &RawMessage<'_>, context: &mut HandlerContext<'_>) {
    context.respond(request, request.payload()).unwrap();
}

#[test]
fn a_handler_answers_requests_from_the_wire_and_from_within() {
    let mut world = World::new();
    let _echo = handle(&world.broker, "echo.*", echo);
    let mut wire = world.join();
    world.send(&mut wire, "SUB in 1\r\nPUB echo.a in 2\r\nhi\r\nPUB echo.b in 3\r\nyou\r\n");
    assert_eq!(wire.read(), "MSG in 1 2\r\nhi\r\nMSG in 1 3\r\nyou\r\n");
    let client = world.broker.client();
    let answer = block_on(client.request("echo.c", "here".into())).unwrap();
    assert_eq!((&answer.payload[..], answer.headers), (&b"here"[..], None));
}

#[test]
fn a_handler_gets_the_raw_message_and_forwards_it_unchanged() {
    let mut world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let (next, onwards) = (subject("next"), subject("onwards"));
    let _handler = handle(&world.broker, "first", move |message, context| {
        noted.lock().unwrap().push(format!("{message:?}"));
        let parts = (message.subject(), message.reply(), message.headers(), message.payload());
        let block = &b"NATS/1.0\r\nA:  b \r\n\r\n"[..];
        assert_eq!(parts, (&b"first"[..], Some(&b"r"[..]), block, &b"hi"[..]));
        assert_eq!(message.to_message().headers.unwrap().get("A"), Some("b"));
        context.publish(&message.to(&next)).unwrap();
        let other = RawMessage::new(&onwards, b"own").with_headers(b"NATS/1.0\r\nX: y\r\n\r\n");
        context.publish(&other).unwrap();
    });
    let mut wire = world.join();
    world.send(
        &mut wire,
        "SUB next 1\r\nSUB onwards 2\r\nHPUB first r 20 22\r\nNATS/1.0\r\nA:  b \r\n\r\nhi\r\n",
    );
    assert_eq!(
        wire.read(),
        "HMSG next 1 r 20 22\r\nNATS/1.0\r\nA:  b \r\n\r\nhi\r\n\
         HMSG onwards 2 18 21\r\nNATS/1.0\r\nX: y\r\n\r\nown\r\n"
    );
    let shown =
        "RawMessage { subject: \"first\", reply: \"r\", header_bytes: 20, payload_bytes: 2 }";
    assert_eq!(*seen.lock().unwrap(), [shown]);
}

#[test]
fn a_large_payload_is_shared_and_not_copied() {
    let broker = broker();
    let places = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&places);
    let _handler = handle(&broker, "large", move |message, _| {
        noted.lock().unwrap().push(message.payload_bytes().as_ptr() as usize);
    });
    for bytes in [100, 100_000] {
        let payload = Bytes::from(vec![b'x'; bytes]);
        block_on(broker.client().publish("large", payload.clone())).unwrap();
        let place = places.lock().unwrap().pop().unwrap();
        assert_eq!(place == payload.as_ptr() as usize, bytes > 16_384, "{bytes}");
    }
}

#[test]
fn messages_of_one_publisher_are_handled_in_order() {
    let mut world = World::new();
    let seen = Seen::default();
    let noted = seen.clone();
    let _handler = handle(&world.broker, "n.>", move |message, _| noted.note(message));
    let mut wire = world.join();
    let numbers: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    let chunk: String =
        numbers.iter().map(|number| format!("PUB n.x {}\r\n{number}\r\n", number.len())).collect();
    world.send(&mut wire, chunk);
    assert_eq!(seen.take(), numbers);
}

#[test]
fn messages_of_several_threads_are_all_handled_each_in_its_order() {
    const EACH: usize = 4_000;
    let broker = broker();
    let seen = Seen::default();
    let (noted, running) = (seen.clone(), AtomicUsize::new(0));
    let handler = handle(&broker, "n", move |message, _| {
        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one call at a time");
        noted.note(message);
        running.fetch_sub(1, Ordering::SeqCst);
    });
    thread::scope(|scope| {
        for thread in 0..2 {
            let client = broker.client();
            scope.spawn(move || {
                for number in 0..EACH {
                    let payload = format!("{thread} {number}");
                    block_on(client.publish("n", payload.into())).unwrap();
                }
            });
        }
    });
    assert_eq!((handler.dropped(), handler.panics()), (0, 0));
    let all = seen.take();
    for thread in 0..2 {
        let own = all.iter().filter_map(|text| text.strip_prefix(&format!("{thread} ")));
        let expected = (0..EACH).map(|number| number.to_string());
        assert!(own.map(str::to_owned).eq(expected), "in order, and none lost");
    }
}

/// The stack addresses at which a handler was called.
#[derive(Clone, Default)]
struct Depth(Arc<Mutex<(usize, usize)>>);

impl Depth {
    fn note(&self) {
        let here = 0u8;
        let here = &raw const here as usize;
        let mut range = self.0.lock().unwrap();
        *range = if range.0 == 0 { (here, here) } else { (range.0.min(here), range.1.max(here)) };
    }

    fn spread(&self) -> usize {
        let range = self.0.lock().unwrap();
        range.1 - range.0
    }
}

#[test]
fn a_message_that_a_handler_sends_itself_ends_at_the_hop_limit() {
    let mut world = World::new();
    let (seen, depth) = (Seen::default(), Depth::default());
    let (noted, here) = (seen.clone(), depth.clone());
    let again = subject("again");
    let handler = handle(&world.broker, "again", move |message, context| {
        noted.note(message);
        here.note();
        context.publish(&RawMessage::new(&again, message.payload())).unwrap();
    });
    let mut wire = world.join();
    world.send(&mut wire, "PUB again 1\r\nx\r\nPING\r\n");
    assert_eq!(wire.read(), "PONG\r\n");
    assert_eq!((seen.count(), handler.dropped()), (usize::from(HANDLER_HOPS), 1));
    assert_eq!(depth.spread(), 0, "a loop, not recursion");
}

#[test]
fn a_handler_that_publishes_through_a_client_is_limited_too() {
    let broker = broker();
    let (seen, depth) = (Seen::default(), Depth::default());
    let handlers: Vec<_> = (0..100)
        .map(|at| {
            let (noted, here, client) = (seen.clone(), depth.clone(), broker.client());
            handle(&broker, &format!("ring.{at}"), move |message, _| {
                noted.note(message);
                here.note();
                let next = format!("ring.{}", (at + 1) % 100);
                // Ready at once; an executor may not be entered twice.
                let mut published = pin!(client.publish(next, Bytes::new()));
                let mut cx = Context::from_waker(Waker::noop());
                assert_eq!(published.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
            })
        })
        .collect();
    block_on(broker.client().publish("ring.0", Bytes::new())).unwrap();
    assert_eq!(seen.count(), usize::from(HANDLER_HOPS));
    assert_eq!(handlers.iter().map(HandlerSubscription::dropped).sum::<u64>(), 1);
    assert_eq!(depth.spread(), 0, "a loop, not recursion");
}

#[test]
fn a_flood_of_handlers_that_publish_to_themselves_and_each_other_ends() {
    let mut world = World::new();
    let (ping, pong, out) = (subject("ping"), subject("pong"), subject("out"));
    let (counts, depth) = (Arc::new([const { AtomicUsize::new(0) }; 2]), Depth::default());
    let (counted, here, both) = (Arc::clone(&counts), depth.clone(), [ping.clone(), pong]);
    let one = handle(&world.broker, "ping", move |message, context| {
        counted[0].fetch_add(1, Ordering::Relaxed);
        here.note();
        for to in &both {
            for _ in 0..2 {
                context.publish(&RawMessage::new(to, message.payload())).unwrap();
            }
        }
    });
    let (counted, here) = (Arc::clone(&counts), depth.clone());
    let other = handle(&world.broker, "pong", move |message, context| {
        if counted[1].fetch_add(1, Ordering::Relaxed) % 1_000 == 0 {
            context.publish(&RawMessage::new(&out, b"beside")).unwrap();
        }
        here.note();
        context.publish(&RawMessage::new(&ping, message.payload())).unwrap();
    });
    let (mut wire, mut listener) = (world.join(), world.join());
    world.send(&mut listener, "SUB out 1\r\n");
    world.send(&mut wire, "PUB ping 1\r\nx\r\nPUB out 5\r\nafter\r\nPING\r\n");
    assert_eq!(wire.read(), "PONG\r\n", "its publisher is served");
    let most = usize::from(HANDLER_HOPS) * HANDLER_QUEUE_MESSAGES;
    for (handler, count) in [one, other].iter().zip(counts.iter()) {
        let count = count.load(Ordering::Relaxed);
        assert!((HANDLER_QUEUE_MESSAGES..most).contains(&count), "{count}");
        assert!(handler.dropped() > 0);
    }
    let expected = counts[1].load(Ordering::Relaxed).div_ceil(1_000) + 1;
    assert_eq!(listener.count(), expected, "others get what they are sent");
    assert!(depth.spread() < 1_000, "a loop, not recursion");
    world.send(&mut wire, "SUB out 1\r\nPUB out 5\r\nagain\r\n");
    assert_eq!(wire.read(), "MSG out 1 5\r\nagain\r\n");
}

#[test]
fn a_panic_costs_one_message_and_nothing_else() {
    let mut world = World::new();
    let seen = Seen::default();
    let noted = seen.clone();
    let handler = handle(&world.broker, "jobs", move |message, context| {
        assert_ne!(message.payload(), b"bad", "a panic that is meant to be");
        noted.note(message);
        echo(message, context);
    });
    let mut wire = world.join();
    world.send(
        &mut wire,
        "SUB in 1\r\nPUB jobs in 1\r\na\r\nPUB jobs in 3\r\nbad\r\nPUB jobs in 1\r\nb\r\nPING\r\n",
    );
    assert_eq!(wire.read(), "PONG\r\nMSG in 1 1\r\na\r\nMSG in 1 1\r\nb\r\n");
    assert_eq!((seen.take().concat(), handler.panics()), ("ab".to_owned(), 1));
}

/// A handler that blocks on each message until it is released.
struct Gate {
    at: Receiver<ThreadId>,
    go_on: Sender<()>,
}

fn gated(broker: &Broker, filter: &str, seen: &Seen) -> (HandlerSubscription, Gate) {
    let ((is_at, at), (go_on, goes_on)) = (channel(), channel());
    let noted = seen.clone();
    let handler = handle(broker, filter, move |message, _| {
        let _ = is_at.send(thread::current().id());
        let _ = goes_on.recv();
        noted.note(message);
    });
    (handler, Gate { at, go_on })
}

#[test]
fn a_publisher_does_not_wait_for_a_handler_on_another_thread() {
    let mut world = World::new();
    let seen = Seen::default();
    let (handler, gate) = gated(&world.broker, "jobs", &seen);
    let client = world.broker.client();
    let mut wire = world.join();
    thread::scope(|scope| {
        scope.spawn(|| block_on(client.publish("jobs", "first".into())).unwrap());
        gate.at.recv().unwrap();
        world.send(&mut wire, "SUB in 1\r\nPUB jobs 6\r\nsecond\r\nPUB in 2\r\nhi\r\n");
        assert_eq!(wire.read(), "MSG in 1 2\r\nhi\r\n", "served while the handler runs");
        assert_eq!(seen.count(), 0);
        drop(gate);
    });
    assert_eq!(seen.take(), ["first", "second"], "by the thread that ran the handler");
    assert_eq!(handler.dropped(), 0);
}

#[test]
fn a_full_handler_queue_drops_and_counts_messages() {
    let broker = broker();
    let seen = Seen::default();
    let (handler, gate) = gated(&broker, "jobs", &seen);
    let client = broker.client();
    let has_room = || {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(client.wait_for_room("jobs")).poll(&mut cx).is_ready()
    };
    thread::scope(|scope| {
        scope.spawn(|| block_on(broker.client().publish("jobs", "first".into())).unwrap());
        gate.at.recv().unwrap();
        assert!(has_room());
        for number in 0..HANDLER_QUEUE_MESSAGES + 10 {
            block_on(client.publish("jobs", number.to_string().into())).unwrap();
        }
        assert_eq!(handler.dropped(), 11, "the one that is handled counts");
        assert!(!has_room());
        drop(gate);
    });
    assert!(has_room());
    let seen = seen.take();
    let last = (HANDLER_QUEUE_MESSAGES - 2).to_string();
    assert_eq!((seen.len(), seen.last()), (HANDLER_QUEUE_MESSAGES, Some(&last)));
}

#[test]
fn a_thread_at_its_limit_leaves_further_messages_to_the_next_publisher() {
    let mut world = World::new();
    let seen = Seen::default();
    let (_handler, gate) = gated(&world.broker, "jobs", &seen);
    let (mut first, mut second) = (world.join(), world.join());
    let now = world.now;
    let chunk = "PUB jobs 1\r\na\r\n".repeat(200);
    let mut scratch = Scratch::new();
    thread::scope(|scope| {
        let (done, is_done) = channel();
        let running = scope.spawn(move || {
            first.session.receive(now, chunk.as_bytes(), None, &mut scratch);
            done.send(()).unwrap();
            first
        });
        for _ in 0..100 {
            gate.at.recv().unwrap();
            gate.go_on.send(()).unwrap();
        }
        let other = gate.at.recv().unwrap();
        // Delivers, and defers the flush.
        world.scratch.expect_more();
        world.send(&mut second, "PUB jobs 1\r\nb\r\n");
        gate.go_on.send(()).unwrap();
        is_done.recv().unwrap();
        assert_eq!(seen.count(), 101, "the rest is left to the thread that comes");
        for _ in 0..100 {
            gate.go_on.send(()).unwrap();
        }
        second.session.flush(now, &mut world.scratch);
        let rest: Vec<_> = gate.at.try_iter().collect();
        assert_eq!(rest.len(), 100);
        assert!(rest.iter().all(|thread| *thread == thread::current().id() && *thread != other));
        running.join().unwrap();
    });
    assert_eq!(seen.take().concat(), format!("{}b", "a".repeat(200)), "in order");
}

#[test]
fn a_dropped_handler_is_not_called_again() {
    let mut world = World::new();
    let seen = Seen::default();
    let (handler, gate) = gated(&world.broker, "jobs", &seen);
    let (mut first, now) = (world.join(), world.now);
    let mut scratch = Scratch::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let chunk = "PUB jobs 1\r\na\r\n".repeat(5);
            first.session.receive(now, chunk.as_bytes(), None, &mut scratch);
        });
        gate.at.recv().unwrap();
        drop(handler);
        drop(gate);
    });
    assert_eq!(seen.count(), 1, "the one that was under way");
    assert_eq!(world.broker.stats().subscriptions, 0);
    let mut wire = world.join();
    world.send(&mut wire, "SUB _INBOX.* 9\r\nPUB jobs _INBOX.1 0\r\n\r\n");
    assert!(wire.read().contains("503"), "nobody hears it");
}

#[test]
fn a_handler_may_drop_itself_and_what_it_owns_is_dropped_with_it() {
    let mut world = World::new();
    let own = Arc::new(Mutex::new(None));
    let (seen, held, owned) = (Seen::default(), Arc::clone(&own), Arc::new(()));
    let (noted, kept) = (seen.clone(), Arc::clone(&owned));
    let handler = handle(&world.broker, "jobs", move |message, _| {
        let _ = &kept;
        noted.note(message);
        held.lock().unwrap().take();
    });
    *own.lock().unwrap() = Some(handler);
    let mut wire = world.join();
    world.send(&mut wire, "PUB jobs 1\r\na\r\nPUB jobs 1\r\nb\r\nPING\r\n");
    assert_eq!(wire.read(), "PONG\r\n");
    assert_eq!(seen.take(), ["a"]);
    assert_eq!(Arc::strong_count(&owned), 1, "the function is gone");
}

#[test]
fn an_idle_handler_is_dropped_at_once() {
    let broker = broker();
    let owned = Arc::new(());
    let kept = Arc::clone(&owned);
    let handler = handle(&broker, "jobs", move |_, _| {
        let _ = &kept;
    });
    handler.subscribe("more.*", None).unwrap();
    assert_eq!(broker.stats().subscriptions, 2);
    assert_eq!(broker.subscriptions_of(handler.id(), 10).len(), 2);
    drop(handler);
    assert_eq!((Arc::strong_count(&owned), broker.stats().subscriptions), (1, 0));
}

#[test]
fn an_ended_broker_delivers_no_more_to_handlers() {
    let broker = broker();
    let seen = Seen::default();
    let noted = seen.clone();
    let _handler = handle(&broker, "jobs", move |message, _| noted.note(message));
    let client = broker.client();
    block_on(client.publish("jobs", "before".into())).unwrap();
    broker.finish_all(CloseReason::ServerShutdown);
    block_on(client.publish("jobs", "after".into())).unwrap();
    assert_eq!(seen.take(), ["before"]);
}

#[test]
fn a_queue_group_has_handlers_and_clients_as_members() {
    let mut world = World::new();
    let seen = Seen::default();
    let noted = seen.clone();
    let grant = Grant::anonymous();
    let _handler = world.broker.handle(grant, "jobs", Some("workers"), move |message, _| {
        noted.note(message);
    });
    let mut member = world.join();
    world.send(&mut member, "SUB jobs workers 1\r\n");
    let mut wire = world.join();
    world.send(&mut wire, "PUB jobs 1\r\nx\r\n".repeat(100));
    for _ in 0..100 {
        world.send(&mut wire, "PUB jobs 1\r\nx\r\n");
    }
    let here = seen.count();
    assert_eq!(here + member.count(), 200);
    assert!((50..150).contains(&here), "{here}");
}

#[test]
fn a_full_handler_is_skipped_within_its_group() {
    let mut world = World::new();
    let (is_at, at) = channel();
    let (go_on, goes_on) = channel::<()>();
    let grant = Grant::anonymous();
    let handler = world.broker.handle(grant, "jobs", Some("workers"), move |_, _| {
        let _ = is_at.send(());
        let _ = goes_on.recv();
    });
    let handler = handler.unwrap();
    handler.subscribe("fill", None).unwrap();
    let client = world.broker.client();
    let mut member = world.join();
    world.send(&mut member, "SUB jobs workers 1\r\n");
    thread::scope(|scope| {
        scope.spawn(|| block_on(client.publish("fill", Bytes::new())).unwrap());
        at.recv().unwrap();
        for _ in 1..HANDLER_QUEUE_MESSAGES {
            block_on(world.broker.client().publish("fill", Bytes::new())).unwrap();
        }
        let mut wire = world.join();
        for _ in 0..20 {
            world.send(&mut wire, "PUB jobs 1\r\nx\r\n");
        }
        assert_eq!((member.count(), handler.dropped()), (20, 0));
        drop(go_on);
    });
}

#[test]
fn a_request_of_a_handler_without_responders_is_answered_with_503() {
    let broker = broker();
    let seen = Seen::default();
    let noted = seen.clone();
    let (nowhere, reply) = (subject("nowhere"), subject("answers.1"));
    let handler = handle(&broker, "begin", move |message, context| {
        if message.subject() == b"begin" {
            context.publish(&RawMessage::new(&nowhere, b"x").with_reply(&reply)).unwrap();
            return;
        }
        assert_eq!(message.subject(), b"answers.1");
        let text = String::from_utf8(message.headers().to_vec()).unwrap();
        assert_eq!(text, "NATS/1.0 503\r\nNats-Subject: nowhere\r\n\r\n");
        noted.note(message);
    });
    handler.subscribe("answers.*", None).unwrap();
    block_on(broker.client().publish("begin", Bytes::new())).unwrap();
    assert_eq!((seen.count(), handler.panics()), (1, 0));
}

#[test]
fn the_grant_of_a_handler_applies() {
    let broker = broker();
    let permissions = Permissions::builder()
        .subscribe_deny(["secret"])
        .publish_allow(["open"])
        .allow_responses(AllowResponses::default());
    let grant = Grant::user("x").with_permissions(permissions.build().unwrap());
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&outcomes);
    let (open, closed, reserved) = (subject("open"), subject("closed"), subject("_R_.x"));
    let handler = broker.handle(grant.clone(), "ask", None, move |message, context| {
        let mut noted = noted.lock().unwrap();
        noted.push(context.publish(&RawMessage::new(&open, b"")));
        noted.push(context.publish(&RawMessage::new(&closed, b"")));
        noted.push(context.publish(&RawMessage::new(&open, b"").with_reply(&reserved)));
        noted.push(context.publish(&RawMessage::new(&open, &[0; 2 << 20])));
        noted.push(context.respond(message, b"allowed, since it was asked"));
    });
    let handler = handler.unwrap();
    let denied = handler.subscribe("secret", None);
    assert!(matches!(denied, Err(SubscribeError::Denied(_))), "{denied:?}");
    let denied = broker.handle(grant, "secret", None, |_, _| ()).err().unwrap();
    assert!(matches!(denied, SubscribeError::Denied(_)), "{denied:?}");
    for queue in ["", "a b", "_sys_"] {
        assert!(handler.subscribe("a", Some(queue)).is_err(), "{queue:?}");
    }
    let answer = block_on(broker.client().request("ask", Bytes::new())).unwrap();
    assert_eq!(answer.payload, "allowed, since it was asked");
    let denied = |text: &str| Err(PublishError::Denied(subject(text)));
    let too_large = Err(PublishError::MaxPayload { size: 2 << 20, limit: 1 << 20 });
    let expected = [Ok(()), denied("closed"), denied("open"), too_large, Ok(())];
    assert_eq!(*outcomes.lock().unwrap(), expected);
    block_on(broker.client().publish("ask", Bytes::new())).unwrap();
    assert_eq!(outcomes.lock().unwrap().last(), Some(&Err(PublishError::NoReply)));
}

#[test]
fn accounts_are_isolated_for_handlers_too() {
    let broker = broker();
    let grant = Grant::user("x").with_account("OTHER");
    let _handler = broker.handle(grant.clone(), "echo", None, echo).unwrap();
    let asked = block_on(broker.client().request("echo", "a".into()));
    assert_eq!(asked, Err(RequestError::NoResponders));
    let answer = block_on(broker.client_as(grant).request("echo", "a".into())).unwrap();
    assert_eq!(answer.payload, "a");
}

#[test]
fn headers_of_in_process_clients_reach_handlers_raw() {
    let broker = broker();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let _handler = handle(&broker, "heads", move |message, _| {
        noted.lock().unwrap().push(String::from_utf8(message.headers().to_vec()).unwrap());
    });
    let headers: HeaderMap = [("A", "b")].into_iter().collect();
    let client = broker.client();
    block_on(client.publish_with_headers("heads", headers, "x".into())).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["NATS/1.0\r\nA: b\r\n\r\n"]);
}

#[test]
fn waiting_for_room_in_a_handler_queue_is_woken() {
    let broker = broker();
    let seen = Seen::default();
    let (handler, gate) = gated(&broker, "jobs", &seen);
    let client = broker.client();
    thread::scope(|scope| {
        scope.spawn(|| block_on(broker.client().publish("jobs", "first".into())).unwrap());
        gate.at.recv().unwrap();
        for _ in 0..HANDLER_QUEUE_MESSAGES {
            block_on(client.publish("jobs", Bytes::new())).unwrap();
        }
        let waiting = scope.spawn(|| block_on(client.wait_for_room("jobs")).unwrap());
        drop(gate);
        waiting.join().unwrap();
    });
    assert_eq!(handler.dropped(), 1);
    let mut done = pin!(client.wait_for_room("jobs"));
    assert_eq!(done.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())));
}

#[test]
fn a_handler_of_the_api_of_streams_learns_who_asks() {
    let mut world = World::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let handler = world.broker.handle_as_server("$G", move |message, context| {
        let sender = context.describe_sender(message).map(|json| String::from_utf8(json).unwrap());
        noted.lock().unwrap().push(sender);
    });
    handler.subscribe("$JS.API.>", None).unwrap();
    handler.subscribe("other", None).unwrap();
    let mut wire = world.join();
    world.send(&mut wire, "PUB $JS.API.INFO 0\r\n\r\nPUB other 0\r\n\r\n");
    world.send(&mut wire, "PUB $JS.API.DIRECT.GET.S 0\r\n\r\n");
    let traced = "NATS/1.0\r\nNats-Trace-Dest: t\r\n\r\n";
    let size = traced.len();
    world.send(&mut wire, format!("HPUB $JS.API.INFO {size} {size}\r\n{traced}\r\n"));
    let told = told.lock().unwrap();
    let client: serde_json::Value = serde_json::from_str(told[0].as_deref().unwrap()).unwrap();
    assert_eq!((&client["acc"], &client["kind"]), (&"$G".into(), &"Client".into()));
    assert!(client["id"].as_u64().is_some() && client["start"].as_str().is_some(), "{client}");
    assert_eq!(told[1..3], [None, None]);
    assert!(told[3].is_some(), "also if the message is traced");
}
