//! Stages 4 to 6 as one session goes through them: what it remembers of subjects, its picks, its counts.

use crate::account::{Account, SYSTEM};
use crate::auth::Permissions;
use crate::counted::{CountedSubjects, Counting, Verdict};
use crate::deliver::{deliver, would_reach};
use crate::error::ClientFault;
use crate::interest::{AllForeseen, MatchCache, Matches};
use crate::outlet::{Run, Work};
use crate::proto::Publish;
use crate::random::Random;
use crate::receiver::Receiver;
use crate::subscription::Subscription;
use crate::sync::{Arc, Ordering};

/// What one session needs to publish.
pub(super) struct Publisher {
    /// Made at the first message: most sessions of a large server never send one.
    cache: Option<Box<MatchCache<Subscription>>>,
    counting: Counting,
    random: Random,
    in_messages: u64,
    in_bytes: u64,
}

/// What a session does about its messages beside delivering them.
pub(super) trait Refusals {
    /// The messages may be published, and are about to be.
    fn accepted(&mut self, work: &mut Work);
    /// The session may not publish it.
    fn refused(&mut self, fault: &ClientFault, work: &mut Work);
    /// Nobody got it, and it asks for an answer.
    fn unheard(&mut self, subject: &[u8], message: &Publish<'_>, work: &mut Work);
}

impl Publisher {
    pub(super) fn new(seed: u64, counted: Option<Arc<CountedSubjects>>) -> Self {
        let (random, counting) = (Random::new(seed), Counting::new(counted, seed));
        Self { cache: None, counting, random, in_messages: 0, in_bytes: 0 }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Forgets what it knows of subjects: the account or the permissions have changed, or nothing was
    /// published for long.
    pub(super) fn forget(&mut self) {
        self.cache = None;
    }

    pub(super) fn messages(&self) -> u64 {
        self.in_messages
    }

    /// Messages to these subjects will be published next, one after the other.
    pub(super) fn foresee<'a>(
        &self,
        account: &Account,
        subjects: impl Iterator<Item = &'a [u8]>,
    ) -> AllForeseen {
        let cache = self.cache.as_ref();
        cache.map(|cache| cache.foresee(&account.interest, subjects)).unwrap_or_default()
    }

    /// Publishes a run.
    pub(super) fn publish(
        &mut self,
        account: &Account,
        receiver: &Receiver,
        permissions: Option<&Arc<Permissions>>,
        run: &Run<'_>,
        refusals: &mut impl Refusals,
        work: &mut Work,
    ) {
        let bytes = self.count(receiver, run);
        let counting = &mut self.counting;
        let random = &mut self.random;
        let cache = self.cache.get_or_insert_with(|| {
            let counts = receiver.counted_look_ups.get_or_init(Arc::default);
            let hasher = account.interest.hasher();
            Box::new(MatchCache::new(hasher, random.next_u64(), Arc::clone(counts)))
        });
        let known = cache.look_up(&account.interest, run.subject, run.foreseen, || {
            counting.judge(permissions, run.subject)
        });
        let all_may_pass = known.verdict.is_allowed()
            && !is_reserved_subject(account, run.subject)
            && run.messages.iter().all(|message| !is_reserved_reply(message.reply));
        if all_may_pass {
            counting.note(known.verdict, run.subject, run.messages.len(), bytes);
            refusals.accepted(work);
            deliver(account, receiver, run, known.matches, random, work, |message, work| {
                if !message.reply.is_empty() {
                    refusals.unheard(run.subject, message, work);
                }
            });
            return;
        }
        for message in run.messages {
            if let Err(fault) = may_pass(account, receiver, known.verdict, run, message, work) {
                refusals.refused(&fault, work);
                continue;
            }
            counting.note_one(known.verdict, run.subject, message);
            refusals.accepted(work);
            let one = Run { messages: std::slice::from_ref(message), ..*run };
            deliver(account, receiver, &one, known.matches, random, work, |message, work| {
                if !message.reply.is_empty() {
                    refusals.unheard(run.subject, message, work);
                }
            });
        }
    }

    /// Does all that publishing a message does, but nobody gets it.
    // NATS 2.14: a message that is to be traced only. Whoever would get it counts as having heard it.
    pub(super) fn pass_over(
        &mut self,
        account: &Account,
        receiver: &Receiver,
        permissions: Option<&Arc<Permissions>>,
        message: &Publish<'_>,
        refusals: &mut impl Refusals,
        work: &mut Work,
    ) {
        let messages = std::slice::from_ref(message);
        let subject = message.subject;
        let run = Run { subject, messages, shared: None, parsed: None, foreseen: None };
        self.count(receiver, &run);
        let verdict = self.counting.judge(permissions, subject);
        if let Err(fault) = may_pass(account, receiver, verdict, &run, message, work) {
            return refusals.refused(&fault, work);
        }
        self.counting.note_one(verdict, subject, message);
        refusals.accepted(work);
        let mut matches = Matches::default();
        account.interest.collect(subject, &mut matches);
        if !message.reply.is_empty() && !would_reach(receiver, subject, &matches) {
            refusals.unheard(subject, message, work);
        }
    }

    /// The session alone writes these counters, so that a store does. Returns the bytes.
    fn count(&mut self, receiver: &Receiver, run: &Run<'_>) -> usize {
        let bytes: usize = run.messages.iter().map(|message| message.body.len()).sum();
        self.in_messages += run.messages.len() as u64;
        self.in_bytes += bytes as u64;
        receiver.in_messages.store(self.in_messages, Ordering::Relaxed);
        receiver.in_bytes.store(self.in_bytes, Ordering::Relaxed);
        bytes
    }
}

/// May the session publish this message of a run? Uses up a permission to answer, if it takes one.
fn may_pass(
    account: &Account,
    receiver: &Receiver,
    verdict: Verdict,
    run: &Run<'_>,
    message: &Publish<'_>,
    work: &mut Work,
) -> Result<(), ClientFault> {
    let subject = run.subject;
    let is_allowed = !is_reserved_subject(account, subject)
        && (verdict.is_allowed()
            || (receiver.tracks_replies() && receiver.take_reply(subject, work.now())));
    if !is_allowed {
        Err(ClientFault::PublishDenied(subject.into()))
    } else if is_reserved_reply(message.reply) {
        Err(ClientFault::ReplyDenied(message.reply.into()))
    } else {
        Ok(())
    }
}

/// May the traces of a message go there?
// NATS 2.14: msgtrace.go allowedToPublishOnMsgTraceDest. Answers to requests do not count.
pub(super) fn may_trace_to(
    account: &Account,
    permissions: Option<&Arc<Permissions>>,
    destination: &[u8],
) -> bool {
    !is_reserved_subject(account, destination)
        && permissions.is_none_or(|permissions| permissions.may_publish(destination))
}

/// Subjects that only servers use among themselves.
// NATS 2.14: replies routed through gateways, and the groups that replicate streams.
fn is_reserved_subject(account: &Account, subject: &[u8]) -> bool {
    matches!(subject.first(), Some(b'_' | b'$'))
        && ((subject.starts_with(b"_GR_.") && subject.len() > 5)
            || (subject.starts_with(b"$NRG.") && *account.name != *SYSTEM))
}

/// Replies that only servers hand out.
// NATS 2.14: isReservedReply.
fn is_reserved_reply(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'_' | b'$'))
        && (reply.starts_with(b"_R_.")
            || (reply.starts_with(b"$JS.ACK.") && reply.len() > 8)
            || (reply.starts_with(b"_GR_.") && reply.len() > 5))
}
