//! Questions of authenticators: a request over the broker, and a subscription for its answer.

use std::time::{Instant, SystemTime};

use super::handler::HandlerSubscription;
use crate::auth::{Answer, Denied, Grant, Judge, Pending, Question};
use crate::endpoint::{Kind, Scratch};
use crate::message::RawMessage;
use crate::routing::flush_touched;
use crate::shared::{OpenQuestion, Shared};
use crate::subject::Subject;
use crate::sync::Arc;

/// A question that waits for its answer. Dropping it ends the subscription.
pub(super) struct Asked(#[expect(dead_code, reason = "its end unsubscribes")] HandlerSubscription);

/// Publishes a question. The result is decided by the first answer.
pub(super) fn ask(
    shared: &Arc<Shared>,
    question: Question,
    scratch: &mut Scratch,
) -> Result<(Pending, Asked), Denied> {
    let Question { account, subject, headers, payload, timeout, judge, reason: _ } = question;
    let open = shared.open_question().ok_or(Denied::Unavailable)?;
    let (pending, answer) = Pending::new(timeout);
    let grant = Grant::anonymous().with_account(account);
    let clock = Arc::clone(&shared.clock);
    let mut waiting = Some(Waiting { open, answer, judge, since: scratch.now() });
    let subscription =
        HandlerSubscription::open(shared, grant, Kind::System, None, move |message, context| {
            // NATS 2.14: without a service the client waits until its time is over.
            if is_no_responders(message) {
                return;
            }
            if let Some(waiting) = waiting.take() {
                waiting.decide(message, context.now(), clock.wall());
            }
        });
    let reply = Subject::parse(&inbox(shared)).map_err(|_| Denied::Unavailable)?;
    subscription.subscribe(&reply, None).map_err(|_| Denied::Unavailable)?;
    let request = RawMessage::new(&subject, &payload).with_headers(&headers).with_reply(&reply);
    subscription.publish(&request, scratch).map_err(|_| Denied::Unavailable)?;
    flush_touched(scratch);
    Ok((pending, Asked(subscription)))
}

fn is_no_responders(message: &RawMessage<'_>) -> bool {
    message.payload().is_empty() && message.headers().starts_with(b"NATS/1.0 503")
}

/// Returns a new subject for an answer, in the form for which operators grant permission to services.
// NATS 2.14: events.go newRespInbox.
fn inbox(shared: &Shared) -> String {
    let unique = shared.unique_name();
    let (server, number) = unique.split_at(8);
    format!("$SYS._INBOX.{server}.{number}")
}

struct Waiting {
    open: OpenQuestion,
    answer: Answer,
    judge: Judge,
    since: Instant,
}

impl Waiting {
    fn decide(self, message: &RawMessage<'_>, now: Instant, wall: SystemTime) {
        let Self { open, answer, judge, since } = self;
        let result = judge(message.payload(), wall);
        open.answered(result.is_ok(), now.saturating_duration_since(since));
        answer.decide(result);
    }
}
