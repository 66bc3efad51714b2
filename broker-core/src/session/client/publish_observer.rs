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
    /// The message of a traced client whose payload is traced next. Such a client publishes one at a time.
    pub(super) untraced: Option<&'a Publish<'a>>,
}

impl ClientPublishObserver<'_> {
    // NATS 2.14: parser.go: the payload is traced behind the mapping.
    #[cold]
    fn trace_payload(&mut self) {
        if let Some(trace) = self.reply_writer.trace
            && let Some(message) = self.untraced.take()
        {
            trace.received_payload(message);
        }
    }
}

impl PublishObserver for ClientPublishObserver<'_> {
    fn mapped(&mut self, from: &[u8], to: &[u8]) {
        if let Some(trace) = self.reply_writer.trace {
            let text = |bytes| String::from_utf8_lossy(bytes);
            trace.received(&format_args!("MAPPING {} -> {}", text(from), text(to)));
        }
    }

    fn accepted(&mut self, scratch: &mut Scratch) {
        if self.untraced.is_some() {
            self.trace_payload();
        }
        if self.reply_writer.label.options.verbose {
            self.reply_writer.ok(scratch);
        }
    }

    fn refused(&mut self, fault: &ClientFault, scratch: &mut Scratch) {
        if self.untraced.is_some() {
            self.trace_payload();
        }
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
