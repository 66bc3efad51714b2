//! The subjects at which a consumer is reached.

use super::Scope;
use crate::config::{AckPolicy, ConsumerConfig};
use crate::hash::hash;

/// The form of the subjects to which clients acknowledge messages and answer flow control. A consumer listens to both, and names one of
/// them in what it delivers.
// NATS 2.14: feature_flags.go js_ack_fc_v2; ADR-15.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AckForm {
    /// The stream, the consumer, and numbers.
    #[default]
    Short,
    /// The domain and a hash of the account before them, so that subjects of different accounts and domains differ.
    Long,
}

impl AckForm {
    /// Returns the tokens before those of the consumer.
    fn place(self, scope: &Scope) -> String {
        let domain = if scope.domain.is_empty() { "_" } else { &scope.domain };
        match self {
            Self::Short => String::new(),
            Self::Long => format!("{domain}.{}.", hash(&scope.account)),
        }
    }

    /// Returns the subject of acknowledgements, without its numbers.
    pub(super) fn ack_prefix(self, scope: &Scope) -> String {
        format!("$JS.ACK.{}{}.{}", self.place(scope), scope.stream, scope.name)
    }

    /// Returns the subject of answers to flow control, without its last token.
    pub(super) fn flow_prefix(self, scope: &Scope) -> String {
        format!("$JS.FC.{}{}.{}", self.place(scope), scope.stream, scope.name)
    }
}

/// Returns the subjects to which a consumer receives messages. A client that acknowledges a message of a consumer that takes
/// no acknowledgements, or is gone, is told that there is no responder.
// NATS 2.14: consumer.go setLeader. More tokens may follow the long form.
pub fn subjects(scope: &Scope, config: &ConsumerConfig) -> Vec<String> {
    let (stream, name) = (&scope.stream, &scope.name);
    let mut subjects = vec![format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}")];
    if !matches!(config.ack_policy, AckPolicy::None | AckPolicy::FlowControl) {
        subjects.push(format!("{}.*.*.*.*.*", AckForm::Short.ack_prefix(scope)));
        subjects.push(format!("{}.*.*.*.*.>", AckForm::Long.ack_prefix(scope)));
    }
    if config.flow_control {
        let forms = [AckForm::Short, AckForm::Long];
        subjects.extend(forms.map(|form| format!("{}.*", form.flow_prefix(scope))));
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consumers_with_acknowledgements_and_flow_control_listen_for_them() {
        let scope = Scope { account: "A".into(), ..scope() };
        let of = |ack_policy, flow_control| {
            let config = ConsumerConfig { ack_policy, flow_control, ..Default::default() };
            subjects(&scope, &config)
        };
        let next = "$JS.API.CONSUMER.MSG.NEXT.S.C";
        let acks = ["$JS.ACK.S.C.*.*.*.*.*", "$JS.ACK._.NUmM6cRx.S.C.*.*.*.*.>"];
        let flows = ["$JS.FC.S.C.*", "$JS.FC._.NUmM6cRx.S.C.*"];
        assert_eq!(of(AckPolicy::Explicit, false), [next, acks[0], acks[1]]);
        assert_eq!(of(AckPolicy::All, true), [next, acks[0], acks[1], flows[0], flows[1]]);
        assert_eq!(of(AckPolicy::None, false), [next]);
        assert_eq!(of(AckPolicy::FlowControl, true), [next, flows[0], flows[1]]);
    }

    #[test]
    fn the_long_form_names_domain_and_account() {
        let scope = Scope { account: "$G".into(), domain: "hub".into(), ..scope() };
        assert_eq!(AckForm::Short.ack_prefix(&scope), "$JS.ACK.S.C");
        assert_eq!(AckForm::Long.ack_prefix(&scope), "$JS.ACK.hub.szMpdrwD.S.C");
    }

    fn scope() -> Scope {
        Scope { stream: "S".into(), name: "C".into(), ..Scope::default() }
    }
}
