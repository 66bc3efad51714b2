//! Pull consumers: clients request messages.

use super::deliver::Candidate;
use super::limits::{MAX_PIN_ID, REQUEST_CHECK_PAUSE};
use super::requests::{Group, NextRequest, Waiting};
use super::{Consumer, View};
use crate::config::{PriorityPolicy, Time};
use crate::go;
use crate::outbox::{Outbox, Outgoing};

/// The decision whether the first request receives the message.
enum Choice {
    Yes,
    /// It waits; later requests may receive it.
    Later,
    /// The request ends with this status.
    End(&'static str),
}

impl Consumer {
    /// Accepts a request for messages, which was sent to `$JS.API.CONSUMER.MSG.NEXT.…`. Returns true if [`Self::deliver`] has
    /// something to do.
    ///
    /// The caller has checked that the request needs no higher API level than the server has.
    // NATS 2.14: consumer.go processNextMsgReq, processNextMsgRequest.
    pub fn request(
        &mut self,
        view: View<'_>,
        reply: &[u8],
        payload: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let _ = view;
        if reply.is_empty() {
            return false;
        }
        let accepted = if self.is_push() {
            Err("409 Consumer is push based".into())
        } else {
            NextRequest::parse(payload)
                .map_err(|error| format!("400 Bad Request - {error}"))
                .and_then(|request| self.check_request(&request, now).map(|()| request))
        };
        match accepted {
            Ok(request) => self.accept_request(request, reply, now, out),
            Err(status) => {
                send_status(reply, &status, out);
                false
            }
        }
    }

    fn check_request(&mut self, request: &NextRequest, now: Time) -> Result<(), String> {
        let config = &self.config;
        let exceeds = |value: i64, max: i64| max > 0 && value > max;
        if exceeds(request.batch, config.max_batch) {
            return Err(format!("409 Exceeded MaxRequestBatch of {}", config.max_batch));
        }
        if exceeds(request.expires, config.max_expires) {
            let max = go::duration(config.max_expires);
            return Err(format!("409 Exceeded MaxRequestExpires of {max}"));
        }
        if exceeds(request.max_bytes, config.max_bytes) {
            return Err(format!("409 Exceeded MaxRequestMaxBytes of {}", config.max_bytes));
        }
        request.group.as_ref().map_or(Ok(()), |group| self.check_group(group, now))
    }

    fn check_group(&mut self, group: &Group, now: Time) -> Result<(), String> {
        let policy = self.config.priority_policy;
        let has_minimum = group.min_pending != 0 || group.min_ack_pending != 0;
        let fault = if has_minimum && policy != PriorityPolicy::Overflow {
            "Not a Overflow Priority consumer"
        } else if !group.id.is_empty() && policy != PriorityPolicy::PinnedClient {
            "Not a Pinned Client Priority consumer"
        } else if !(0..=9).contains(&group.priority) {
            "Priority must be between 0 and 9"
        } else if policy == PriorityPolicy::None {
            return Ok(());
        } else if group.group.is_empty() {
            "Priority Group missing"
        } else if !self.config.priority_groups.contains(&group.group) {
            "Invalid Priority Group"
        } else {
            return self.check_pin(group, now);
        };
        Err(format!("400 Bad Request - {fault}"))
    }

    fn accept_request(
        &mut self,
        request: NextRequest,
        reply: &[u8],
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let is_due = now.since(self.requests.last_checked) > REQUEST_CHECK_PAUSE;
        if self.requests.is_full() && is_due {
            self.check_requests(false, true, now, out);
        }
        if request.no_wait
            && let Some(status) = self.refuse_to_wait(request.expires == 0, now, out)
        {
            self.requests.last_used = now;
            send_status(reply, status, out);
            return false;
        }
        if self.requests.is_full() {
            // A client that expects heartbeats notices their absence; after a status it would repeat the request at once.
            if request.heartbeat <= 0 {
                send_status(reply, "409 Exceeded MaxWaiting", out);
            }
            return false;
        }
        let after = |span: i64| (span != 0).then(|| now.plus(span));
        let heartbeat = request.heartbeat.max(0);
        let waiting = Waiting {
            reply: reply.into(),
            left: request.batch,
            delivered: 0,
            bytes: request.max_bytes,
            expires: after(request.expires),
            no_wait: request.no_wait,
            heartbeat,
            heartbeat_at: after(heartbeat),
            group: request.group.and_then(|group| self.kept_group(group)),
        };
        self.requests.add(waiting, self.is_prioritized());
        self.requests.last_used = now;
        true
    }

    /// Returns the part of a request's priority group that decides about its messages, so that a waiting request is no longer
    /// than its reply subject.
    fn kept_group(&self, mut group: Group) -> Option<Group> {
        if group.id.len() > MAX_PIN_ID {
            // No pinned client has the id. Any other id that none has is refused in the same way.
            group.id = "-".to_owned();
        }
        (self.config.priority_policy != PriorityPolicy::None).then_some(group)
    }

    /// Returns the status for a request that does not wait, if there is nothing for it.
    fn refuse_to_wait(
        &mut self,
        has_no_expiry: bool,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Option<&'static str> {
        let messages = self.count.get() + self.again.queued() as u64;
        if messages == 0 {
            return has_no_expiry.then_some("404 No Messages");
        }
        self.check_requests(false, true, now, out);
        let asked = u64::try_from(self.requests.asked()).unwrap_or_default();
        (messages < asked).then_some("408 Requests Pending")
    }

    /// Returns true if requests have priorities.
    pub fn is_prioritized(&self) -> bool {
        self.config.priority_policy == PriorityPolicy::Prioritized
    }

    /// Ends requests that are over, and those that do not wait if `is_end`: no further message can be sent now. Sends heartbeats
    /// that are due. Drops requests whose reply subject has no subscriber, if `with_interest`.
    // NATS 2.14: consumer.go processWaiting.
    pub(super) fn check_requests(
        &mut self,
        is_end: bool,
        with_interest: bool,
        now: Time,
        out: &mut dyn Outbox,
    ) {
        let (delivery, sequence) = (self.next_delivery - 1, self.next - 1);
        if with_interest {
            self.requests.last_checked = now;
        }
        self.requests.retain(|request| {
            if request.expires.is_some_and(|end| now > end) {
                send_rest(request, "408 Request Timeout", out);
                return false;
            }
            let has_ended = request.expires.is_none() || request.delivered > 0;
            if is_end && request.no_wait && has_ended {
                send_status(&request.reply, "404 No Messages", out);
                return false;
            }
            if with_interest && !out.has_interest(&request.reply, None) {
                return false;
            }
            if request.heartbeat_at.is_some_and(|due| now > due) {
                send_heartbeat(&request.reply, delivery, sequence, b"", out);
                request.heartbeat_at = Some(now.plus(request.heartbeat));
            }
            true
        });
    }

    /// Sends a message to the first request that may have it. Returns false if there is none.
    pub(super) fn send_pull(
        &mut self,
        message: &Outgoing<'_>,
        candidate: Candidate,
        pinned: &mut Vec<u8>,
        now: Time,
        out: &mut dyn Outbox,
    ) -> bool {
        let size = message.subject.len()
            + message.reply.len()
            + message.headers.len()
            + message.payload.len();
        while let Some(has_new_pin) = self.choose_request(size, candidate, now, out) {
            let headers = match &self.pin {
                _ if self.config.priority_policy != PriorityPolicy::PinnedClient => message.headers,
                pin => {
                    let id = pin.as_ref().map_or("", |pin| &pin.id);
                    write_pinned(message.headers, id, pinned);
                    &pinned[..]
                }
            };
            let Some(request) = self.requests.first() else { return false };
            if out.send(&Outgoing { to: &request.reply, headers, ..*message }) {
                self.note_sent(candidate, now);
                self.note_request(now, out);
                return true;
            }
            // The reply subject has no subscriber any more.
            self.requests.pop();
            if has_new_pin {
                self.unassign_pin();
            }
        }
        false
    }

    /// Counts a message for the first request.
    fn note_request(&mut self, now: Time, out: &mut dyn Outbox) {
        self.requests.last_used = now;
        let by_priority = self.is_prioritized();
        if let Some(done) = self.requests.count_delivery(by_priority, now)
            && done.bytes > 0
        {
            send_rest(&done, "409 Batch Completed", out);
        }
    }

    /// Moves a request that may have a message of this size to the front, and counts the bytes. Returns whether it was
    /// given a new pin; `None` if there is no such request.
    // NATS 2.14: consumer.go nextWaiting.
    fn choose_request(
        &mut self,
        size: usize,
        candidate: Candidate,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Option<bool> {
        let mut cycled = 0;
        loop {
            let (choice, has_new_pin) = self.examine_first(candidate, now, out)?;
            let choice = match choice {
                Choice::Yes => self.count_bytes(size),
                other => other,
            };
            match choice {
                Choice::Yes => return Some(has_new_pin),
                Choice::Later => {
                    self.requests.cycle();
                    cycled += 1;
                    if cycled >= self.requests.len() {
                        return None;
                    }
                }
                Choice::End(status) => {
                    if let Some(request) = self.requests.pop() {
                        send_rest(&request, status, out);
                    }
                    if has_new_pin {
                        self.unassign_pin();
                    }
                }
            }
        }
    }

    fn examine_first(
        &mut self,
        candidate: Candidate,
        now: Time,
        out: &mut dyn Outbox,
    ) -> Option<(Choice, bool)> {
        let request = self.requests.first()?;
        if request.expires.is_some_and(|end| now >= end) {
            return Some((Choice::End("408 Request Timeout"), false));
        }
        match self.config.priority_policy {
            PriorityPolicy::PinnedClient => Some(self.examine_pin(now, out)),
            PriorityPolicy::Overflow if !self.is_overflow(candidate) => {
                Some((Choice::Later, false))
            }
            _ => Some((Choice::Yes, false)),
        }
    }

    /// Returns true if the first request may have a message by the minima that it states.
    fn is_overflow(&self, candidate: Candidate) -> bool {
        let Some(group) = self.requests.first().and_then(|request| request.group.as_ref()) else {
            return true;
        };
        let reaches = |min: i64, count: u64| min > 0 && min.cast_unsigned() <= count;
        let waiting = self.count.get() + u64::from(!candidate.is_new);
        (group.min_pending <= 0 && group.min_ack_pending <= 0)
            || reaches(group.min_pending, waiting)
            || reaches(group.min_ack_pending, self.pending.len() as u64)
    }

    /// Gives the message to a pinned client, or pins the client of the first request.
    fn examine_pin(&mut self, now: Time, out: &mut dyn Outbox) -> (Choice, bool) {
        let Some(request) = self.requests.first() else { return (Choice::Later, false) };
        let wrong = (Choice::End("423 Nats-Wrong-Pin-Id"), false);
        match (&self.pin, request.pin_id()) {
            (Some(pin), Some(id)) if pin.id == id => (Choice::Yes, false),
            (_, Some(_)) => wrong,
            (Some(_), None) => (Choice::Later, false),
            (None, None) => (Choice::Yes, self.assign_pin(now, out)),
        }
    }

    fn count_bytes(&mut self, size: usize) -> Choice {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        match self.requests.first_mut() {
            Some(request) if request.bytes > 0 && size > request.bytes => {
                Choice::End("409 Message Size Exceeds MaxBytes")
            }
            Some(request) if request.bytes > 0 => {
                request.bytes -= size;
                if request.bytes == 0 {
                    request.left = 1;
                }
                Choice::Yes
            }
            _ => Choice::Yes,
        }
    }
}

/// Sends a status without more: `404 No Messages`.
pub(super) fn send_status(reply: &[u8], status: &str, out: &mut dyn Outbox) {
    let headers = format!("NATS/1.0 {status}\r\n\r\n");
    send_headers(reply, headers.as_bytes(), out);
}

/// Sends a status with what the request has not received.
pub(super) fn send_rest(request: &Waiting, status: &str, out: &mut dyn Outbox) {
    let (left, bytes) = (request.left, request.bytes);
    let headers = format!(
        "NATS/1.0 {status}\r\nNats-Pending-Messages: {left}\r\nNats-Pending-Bytes: {bytes}\r\n\r\n"
    );
    send_headers(&request.reply, headers.as_bytes(), out);
}

/// Sends a heartbeat, which names the last delivery, and the flow control that is not answered.
// NATS 2.14: consumer.go sendIdleHeartbeat.
pub(super) fn send_heartbeat(
    to: &[u8],
    delivery: u64,
    sequence: u64,
    stalled: &[u8],
    out: &mut dyn Outbox,
) {
    let mut headers = format!(
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {delivery}\r\nNats-Last-Stream: {sequence}\r\n"
    )
    .into_bytes();
    if !stalled.is_empty() {
        headers.extend_from_slice(b"Nats-Consumer-Stalled: ");
        headers.extend_from_slice(stalled);
        headers.extend_from_slice(b"\r\n");
    }
    headers.extend_from_slice(b"\r\n");
    send_headers(to, &headers, out);
}

fn send_headers(to: &[u8], headers: &[u8], out: &mut dyn Outbox) {
    out.send(&Outgoing { to, subject: to, headers, ..Outgoing::default() });
}

/// Writes the headers of a message for a pinned client.
// NATS 2.14: client.go genHeader.
fn write_pinned(headers: &[u8], id: &str, out: &mut Vec<u8>) {
    out.clear();
    match headers.strip_suffix(b"\r\n") {
        Some(fields) if !fields.is_empty() => out.extend_from_slice(fields),
        _ => out.extend_from_slice(b"NATS/1.0\r\n"),
    }
    out.extend_from_slice(b"Nats-Pin-Id: ");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}
