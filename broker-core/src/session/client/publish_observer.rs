//! Reports the outcome of a client's publishes to the client.

use super::lame_duck::LameDuck;
use super::reply_writer::ReplyWriter;
use crate::endpoint::Scratch;
use crate::error::ClientFault;
use crate::proto::{Publish, encode};
use crate::session::member::Member;
use crate::session::publisher::PublishObserver;

/// Writes the outcome of publishes to the client.
pub(super) struct ClientPublishObserver<'a> {
    pub(super) member: &'a Member,
    pub(super) reply_writer: ReplyWriter<'a>,
    /// Open requests are tracked once lame duck mode was announced.
    pub(super) lame_duck: Option<&'a LameDuck>,
}

impl PublishObserver for ClientPublishObserver<'_> {
    fn accepted(&mut self, scratch: &mut Scratch) {
        if self.reply_writer.label.options.verbose {
            self.reply_writer.ok(scratch);
        }
    }

    fn refused(&mut self, fault: &ClientFault, scratch: &mut Scratch) {
        self.reply_writer.fault(fault, &[], scratch);
    }

    // NATS 2.14: "no responders" is sent to a plain subscription of the client itself, and not counted.
    fn no_responders(&mut self, subject: &[u8], message: &Publish<'_>, scratch: &mut Scratch) {
        let ReplyWriter { label, byte_queue, .. } = self.reply_writer;
        if let Some(lame_duck) = self.lame_duck {
            lame_duck.tracker().note_no_responders(message.reply);
        }
        if !label.options.no_responders {
            return;
        }
        if let Some(own) = self.member.own_subscription(message.reply) {
            let sid = own.sid();
            byte_queue.send(scratch, |out| encode::no_responders(out, message.reply, sid, subject));
        }
    }
}
