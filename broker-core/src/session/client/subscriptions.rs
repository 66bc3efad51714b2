//! SUB and UNSUB of a client.

use super::{ClientSession, Phase};
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::interest::Interested;
use crate::session::member::SubscribeRefusal;

impl ClientSession {
    pub(super) fn subscribe(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        scratch: &mut Scratch,
    ) {
        let Phase::Served(served) = &self.phase else { return };
        match served.member.subscribe(filter, queue, sid) {
            Ok(subscription) => {
                self.has_changed_interest = self.shared.cluster.is_some();
                self.note_service(subscription.filter(), subscription.queue());
                self.ok(scratch);
            }
            Err(refusal) => self.fault(&fault_of(refusal, filter, queue, sid), scratch),
        }
    }

    pub(super) fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>, scratch: &mut Scratch) {
        let has_ended = self.end_subscription(sid, max);
        self.has_changed_interest = self.shared.cluster.is_some();
        self.ok(scratch);
        if let Some(trace) = self.trace.as_ref().filter(|_| has_ended) {
            trace.ended(sid);
        }
    }

    /// Writes changes of interest to the other servers. Done before PONG is queued, which another thread may write: a client
    /// that has its PONG knows that its subscription is on its way to each server, and may end one elsewhere.
    #[cold]
    pub(super) fn write_interest(&mut self, scratch: &mut Scratch) {
        self.has_changed_interest = false;
        if let Some(cluster) = &self.shared.cluster {
            cluster.write_changed(scratch);
        }
    }

    fn end_subscription(&mut self, sid: &[u8], max: Option<u64>) -> bool {
        let Phase::Served(served) = &self.phase else { return false };
        let subscription = self.endpoint.sids.get(sid);
        subscription.is_some_and(|subscription| served.member.unsubscribe(&subscription, max))
    }
}

fn fault_of(
    refusal: SubscribeRefusal,
    filter: &[u8],
    queue: Option<&[u8]>,
    sid: &[u8],
) -> ClientFault {
    match refusal {
        SubscribeRefusal::Denied => ClientFault::SubscribeDenied {
            subject: filter.into(),
            queue: queue.map(Into::into),
            sid: sid.into(),
        },
        SubscribeRefusal::TooManyTokens => {
            ClientFault::TooManyTokens { subject: filter.into(), sid: sid.into() }
        }
        SubscribeRefusal::MaxSubscriptions => ClientFault::MaxSubscriptions,
        SubscribeRefusal::InvalidFilter => ClientFault::InvalidSubject,
    }
}
