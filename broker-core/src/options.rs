//! Options of a broker.

use crate::limits::Limits;
use crate::subject::SubjectFilter;

/// Options of a broker. Take the default and change what you need.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Limits on what clients may do.
    pub limits: Limits,
    /// The server's name; its id if `None`.
    pub server_name: Option<String>,
    /// Logs every operation that clients send and receive, at level `trace`. Costs far more than the
    /// messages themselves. `trace`.
    pub trace: bool,
    /// Shows only the headers of traced messages. `trace_headers`.
    pub trace_headers: bool,
    /// The part of a traced payload that is shown, in bytes; 0, the default as in NATS 2.14, for all of it.
    /// `max_traced_msg_len`.
    pub max_traced_payload_bytes: usize,
    /// Refuses headers. `no_header_support`.
    pub no_header_support: bool,
    /// Filters for which messages are counted: see
    /// [`Broker::counted_subjects`](crate::Broker::counted_subjects). At most
    /// [`MAX_COUNTED_SUBJECTS`](crate::limits::MAX_COUNTED_SUBJECTS); further ones are ignored. Fixed when the
    /// broker is made.
    pub counted_subjects: Vec<SubjectFilter>,
    /// The seed of server ids, inboxes, queue group picks and hashes. The same seed gives the same ones, for
    /// replays. Production brokers need a random seed: brokers with one seed have one server id, and a
    /// client that knows the seed can choose subjects whose hashes collide.
    pub seed: u64,
}
