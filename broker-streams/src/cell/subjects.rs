//! The subjects of consumers.

use super::{Cell, Change};
use crate::config::{AckPolicy, ConsumerConfig};

impl Cell {
    /// Notes that a consumer was added, or has another configuration.
    pub(super) fn note_consumer(&mut self, name: &str) {
        let Some(member) = self.consumers.get(name.as_bytes()) else { return };
        let subjects = subjects(&self.stream.config().name, name, member.consumer.config());
        self.changes.push(Change::Consumer(name.to_owned(), subjects));
    }
}

/// Returns the subjects to which a consumer receives messages. A client that acknowledges a message of a consumer that takes
/// no acknowledgements, or is gone, is told that there is no responder.
// NATS 2.14: consumer.go setLeader.
fn subjects(stream: &str, name: &str, config: &ConsumerConfig) -> Vec<String> {
    let mut subjects = vec![format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}")];
    if !matches!(config.ack_policy, AckPolicy::None | AckPolicy::FlowControl) {
        subjects.push(format!("$JS.ACK.{stream}.{name}.*.*.*.*.*"));
    }
    if config.flow_control {
        subjects.push(format!("$JS.FC.{stream}.{name}.*"));
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consumers_with_acknowledgements_and_flow_control_listen_for_them() {
        let of = |ack_policy, flow_control| {
            subjects("S", "C", &ConsumerConfig { ack_policy, flow_control, ..Default::default() })
        };
        let (next, ack) = ("$JS.API.CONSUMER.MSG.NEXT.S.C", "$JS.ACK.S.C.*.*.*.*.*");
        assert_eq!(of(AckPolicy::Explicit, false), [next, ack]);
        assert_eq!(of(AckPolicy::All, true), [next, ack, "$JS.FC.S.C.*"]);
        assert_eq!(of(AckPolicy::None, false), [next]);
        assert_eq!(of(AckPolicy::FlowControl, true), [next, "$JS.FC.S.C.*"]);
    }
}
