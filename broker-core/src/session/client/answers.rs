//! What a client is told about its own messages.

use super::voice::Voice;
use crate::account::Account;
use crate::error::ClientFault;
use crate::interest::Matches;
use crate::outlet::Work;
use crate::proto::{Publish, encode};
use crate::session::publisher::Refusals;

/// See the module.
pub(super) struct Answers<'a> {
    pub(super) account: &'a Account,
    pub(super) voice: Voice<'a>,
    /// It is known what the client waits for.
    pub(super) is_leaving: bool,
}

impl Refusals for Answers<'_> {
    fn accepted(&mut self, work: &mut Work) {
        if self.voice.who.options.verbose {
            self.voice.ok(work);
        }
    }

    fn refused(&mut self, fault: &ClientFault, work: &mut Work) {
        self.voice.fault(fault, &[], work);
    }

    // NATS 2.14: the answer goes to a plain subscription of the client itself, past all counting.
    fn unheard(&mut self, subject: &[u8], message: &Publish<'_>, work: &mut Work) {
        let Voice { who, outlet, .. } = self.voice;
        if self.is_leaving {
            outlet.note_unheard(message.reply);
        }
        if !who.options.no_responders {
            return;
        }
        let mut matches = Matches::default();
        self.account.interest.collect(message.reply, &mut matches);
        let own = matches.plain.iter().find(|other| other.receiver.id == who.receiver.id);
        if let Some(own) = own {
            let sid = own.sid();
            outlet.send(work, |out| encode::no_responders(out, message.reply, sid, subject));
        }
    }
}
