//! Scenarios in which messages flow one way.

use std::fmt::Write;

use crate::arena::Arena;
use crate::batch::{Extra, Form, Subjects, numbered};
use crate::check::Order;
use crate::fault::Fault;
use crate::receive::Sids;
use crate::report::{CPU_SUBSCRIPTION, RSS_SUBSCRIPTION, SUBSCRIPTIONS, nanos};
use crate::run::{Plan, Run};
use crate::sample::{Span, Start};

/// Typical headers: a deduplication id and a content type.
const HEADERS: &[u8] =
    b"NATS/1.0\r\nNats-Msg-Id: 9m4e2mr0ui3e8a215n4g\r\nContent-Type: text/plain\r\n\r\n";

/// Number of connections that share many subscriptions.
const HOLDERS: u32 = 10;

/// The subject of single-subject scenarios.
const SUBJECT: &str = "orders.eu";

/// A plan without receivers, the base of the others.
pub(crate) fn publish_only() -> Plan {
    Plan {
        publishers: 1,
        form: Form {
            subjects: Subjects::One(SUBJECT.into()),
            headers: b"",
            payload_bytes: 16,
            extra: Extra::Number,
        },
        subscriptions: Vec::new(),
        order: Order::All,
        fan: 0,
        sids: Sids::Any,
        rate: None,
        timed: None,
        window_bytes: None,
    }
}

/// One publisher; each subscriber receives all.
pub(crate) fn fan_out(receivers: usize, payload_bytes: usize) -> Plan {
    let mut plan = publish_only();
    plan.form.payload_bytes = payload_bytes;
    plan.subscriptions = vec![format!("SUB {SUBJECT} 1\r\n"); receivers];
    plan.fan = receivers as u64;
    plan
}

/// One publisher with headers, one subscriber.
pub(crate) fn headers() -> Plan {
    let mut plan = fan_out(1, 128);
    plan.form.headers = HEADERS;
    plan
}

/// Eight publishers; each of eight subscribers receives all.
pub(crate) fn eight_by_eight() -> Plan {
    Plan { publishers: 8, ..fan_out(8, 128) }
}

/// Publishers that each have their own subject and subscriber.
pub(crate) fn pairs(count: usize) -> Plan {
    let mut plan = eight_by_eight();
    plan.publishers = count;
    plan.form.subjects = Subjects::OneEach(SUBJECT.into());
    plan.subscriptions = (0..count).map(|n| format!("SUB {SUBJECT}.{n:04} 1\r\n")).collect();
    plan.order = Order::Share;
    plan.fan = 1;
    plan
}

/// One publisher that cycles through 10,000 subjects, one subscriber of `filter`.
pub(crate) fn many_subjects(filter: &str) -> Plan {
    let mut plan = fan_out(1, 128);
    plan.form.subjects = Subjects::Cycle("x".into());
    plan.subscriptions = vec![format!("SUB {filter} 1\r\n")];
    plan
}

/// One publisher to random subjects, one subscriber of all.
pub(crate) fn random_subjects(below: u32) -> Plan {
    let mut plan = many_subjects("x.>");
    plan.form.subjects = Subjects::Random { prefix: "x".into(), below };
    plan
}

/// One publisher, ten members of one queue group.
pub(crate) fn queue_group() -> Plan {
    let mut plan = fan_out(10, 128);
    plan.subscriptions = vec![format!("SUB {SUBJECT} workers 1\r\n"); 10];
    plan.order = Order::Share;
    plan.fan = 1;
    plan
}

/// Publishes at the maximum rate.
pub(crate) fn stream(arena: &mut Arena<'_>, plan: Plan) -> Result<(), Fault> {
    let effort = arena.effort;
    let payload_bytes = plan.form.payload_bytes;
    let run = Run::open(arena.server, plan)?;
    let (outcome, _) = run.go(arena.server, |flow| {
        flow.phase(0, effort.warm_up())?;
        flow.phase(1, effort.span)
    })?;
    arena.report.add_outcome(&outcome, payload_bytes);
    Ok(())
}

/// Publishes at a fixed rate, and measures latencies.
pub(crate) fn steady(arena: &mut Arena<'_>, rate: u32) -> Result<(), Fault> {
    let effort = arena.effort;
    let mut plan = fan_out(1, 128);
    plan.form.extra = Extra::Time;
    plan.rate = Some(rate);
    plan.timed = Some(1);
    let payload_bytes = plan.form.payload_bytes;
    let run = Run::open(arena.server, plan)?;
    let (outcome, mut latencies) = run.go(arena.server, |flow| {
        flow.phase(0, effort.warm_up())?;
        flow.phase(1, Span::exactly(effort.steady))
    })?;
    arena.report.add_outcome(&outcome, payload_bytes);
    arena.report.add_latencies(latencies.pop().unwrap_or_default());
    Ok(())
}

/// Many literal subscriptions over several connections, then messages to random ones of them.
pub(crate) fn literals(arena: &mut Arena<'_>, count: u32) -> Result<(), Fault> {
    let count = count / arena.effort.divide;
    let filter = |number| numbered("s", number);
    subscribed(arena, count, count, Sids::Number, filter)
}

/// Many wildcard subscriptions over several connections, then messages to random subjects that
/// match one.
pub(crate) fn wildcards(arena: &mut Arena<'_>, count: u32) -> Result<(), Fault> {
    let count = count / arena.effort.divide;
    let filter = |number| format!("s.{number:04}.*");
    subscribed(arena, count, count.saturating_mul(10_000), Sids::High, filter)
}

fn subscribed(
    arena: &mut Arena<'_>,
    count: u32,
    below: u32,
    sids: Sids,
    filter: impl Fn(u32) -> String,
) -> Result<(), Fault> {
    let mut plan = fan_out(1, 128);
    plan.form.subjects = Subjects::Random { prefix: "s".into(), below };
    plan.order = Order::Share;
    plan.sids = sids;
    plan.subscriptions = vec![String::new(); HOLDERS as usize];
    for number in 0..count {
        let holder = &mut plan.subscriptions[(number % HOLDERS) as usize];
        let _ = write!(holder, "SUB {} {}\r\n", filter(number), number + 1);
    }
    let effort = arena.effort;
    let payload_bytes = plan.form.payload_bytes;
    let before = arena.server.memory()?.rss_bytes;
    let start = Start::now(arena.server)?;
    let run = Run::open(arena.server, plan)?;
    let set_up = start.cost(arena.server)?;
    let grown = arena.server.memory()?.rss_bytes.saturating_sub(before);
    let (outcome, _) = run.go(arena.server, |flow| {
        flow.phase(0, effort.warm_up())?;
        flow.phase(1, effort.span)
    })?;
    let count = f64::from(count);
    arena.report.add_outcome(&outcome, payload_bytes);
    arena.report.add(SUBSCRIPTIONS, count);
    arena.report.add(RSS_SUBSCRIPTION, grown as f64 / count);
    arena.report.add(CPU_SUBSCRIPTION, nanos(set_up.cpu) / count);
    Ok(())
}
