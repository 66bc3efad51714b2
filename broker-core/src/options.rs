//! What a broker can be told.

use crate::limits::Limits;
use crate::subject::SubjectFilter;

/// What a broker can be told. Take the default and change what you need.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What clients may do.
    pub limits: Limits,
    /// The server's name; its id if `None`.
    pub server_name: Option<String>,
    /// Log what clients say and are told, at level `trace`. Costs far more than the messages
    /// themselves. `trace`.
    pub trace: bool,
    /// Of traced messages show the headers only. `trace_headers`.
    pub trace_headers: bool,
    /// How much of a traced message's payload to show; 0, the default as in NATS 2.14, for all of it.
    /// `max_traced_msg_len`.
    pub max_traced_payload_bytes: usize,
    /// Clients may not use headers. `no_header_support`.
    pub no_header_support: bool,
    /// Count messages whose subjects match these: see [`Broker::counted_subjects`]. At most
    /// [`MAX_COUNTED_SUBJECTS`](crate::limits::MAX_COUNTED_SUBJECTS), further ones are passed over.
    /// What a broker begins with stays.
    pub counted_subjects: Vec<SubjectFilter>,
    /// Where names, picks and hashes come from. The same seed gives the same ones, so take a random
    /// number wherever the broker is not to be replayed: brokers with one seed have one id, and whoever
    /// knows it can choose subjects that collide.
    pub seed: u64,
}
