//! Subjects of the API.

/// The endpoint of the API that a subject names.
// NATS 2.14: jetstream_api.go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint<'a> {
    /// Use and limits of the account.
    AccountInfo,
    /// Creates a stream.
    StreamCreate(&'a str),
    /// Changes a stream.
    StreamUpdate(&'a str),
    /// The state of a stream.
    StreamInfo(&'a str),
    /// Removes a stream.
    StreamDelete(&'a str),
    /// Removes messages of a stream.
    StreamPurge(&'a str),
    /// The names of streams.
    StreamNames,
    /// The states of streams.
    StreamList,
    /// Backs a stream up.
    StreamSnapshot(&'a str),
    /// Restores a stream.
    StreamRestore(&'a str),
    /// Removes a server from a stream.
    StreamPeerRemove(&'a str),
    /// Asks the leader of a stream to step down.
    StreamStepDown(&'a str),
    /// Reads a message.
    MessageGet(&'a str),
    /// Removes a message.
    MessageDelete(&'a str),
    /// Creates a consumer: in the form and with the names that the subject contains.
    ConsumerCreate(ConsumerForm<'a>),
    /// The names of the consumers of a stream.
    ConsumerNames(&'a str),
    /// The states of the consumers of a stream.
    ConsumerList(&'a str),
    /// The state of a consumer, by stream and name.
    ConsumerInfo(&'a str, &'a str),
    /// Removes a consumer.
    ConsumerDelete(&'a str, &'a str),
    /// Pauses a consumer.
    ConsumerPause(&'a str, &'a str),
    /// Ends the pin of a client.
    ConsumerUnpin(&'a str, &'a str),
    /// Sets a consumer back.
    ConsumerReset(&'a str, &'a str),
    /// Asks the leader of a consumer to step down.
    ConsumerStepDown(&'a str, &'a str),
}

/// The form of a subject that creates a consumer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConsumerForm<'a> {
    /// `CONSUMER.CREATE.stream`: without a name.
    Unnamed(&'a str),
    /// `CONSUMER.CREATE.stream.name` with a filter behind it, which may be empty.
    Named(&'a str, &'a str, &'a str),
    /// `CONSUMER.DURABLE.CREATE.stream.name`.
    Durable(&'a str, &'a str),
}

const PREFIX: &str = "$JS.API.";

impl<'a> Endpoint<'a> {
    /// Parses a subject with the prefix `$JS.API.`; `None` if it names no endpoint.
    ///
    /// ```
    /// use broker_streams::api::subject::Endpoint;
    ///
    /// assert_eq!(Endpoint::parse("$JS.API.STREAM.INFO.A"), Some(Endpoint::StreamInfo("A")));
    /// assert_eq!(Endpoint::parse("$JS.API.STREAM.INFO"), None);
    /// ```
    pub fn parse(subject: &'a str) -> Option<Self> {
        let rest = subject.strip_prefix(PREFIX)?;
        if rest.split('.').any(str::is_empty) {
            return None;
        }
        let (space, rest) = rest.split_once('.').unwrap_or((rest, ""));
        match space {
            "INFO" if rest.is_empty() => Some(Self::AccountInfo),
            "STREAM" => Self::stream(rest),
            "CONSUMER" => Self::consumer(rest),
            _ => None,
        }
    }

    fn stream(rest: &'a str) -> Option<Self> {
        let tokens: Vec<&str> = rest.splitn(4, '.').collect();
        Some(match tokens[..] {
            ["NAMES"] => Self::StreamNames,
            ["LIST"] => Self::StreamList,
            ["CREATE", name] => Self::StreamCreate(name),
            ["UPDATE", name] => Self::StreamUpdate(name),
            ["INFO", name] => Self::StreamInfo(name),
            ["DELETE", name] => Self::StreamDelete(name),
            ["PURGE", name] => Self::StreamPurge(name),
            ["SNAPSHOT", name] => Self::StreamSnapshot(name),
            ["RESTORE", name] => Self::StreamRestore(name),
            ["MSG", "GET", name] => Self::MessageGet(name),
            ["MSG", "DELETE", name] => Self::MessageDelete(name),
            ["PEER", "REMOVE", name] => Self::StreamPeerRemove(name),
            ["LEADER", "STEPDOWN", name] => Self::StreamStepDown(name),
            _ => return None,
        })
    }

    fn consumer(rest: &'a str) -> Option<Self> {
        if let Some(names) = rest.strip_prefix("CREATE.") {
            let mut names = names.splitn(3, '.');
            let stream = names.next()?;
            return Some(Self::ConsumerCreate(match names.next() {
                None => ConsumerForm::Unnamed(stream),
                Some(name) => ConsumerForm::Named(stream, name, names.next().unwrap_or_default()),
            }));
        }
        let tokens: Vec<&str> = rest.splitn(5, '.').collect();
        Some(match tokens[..] {
            ["DURABLE", "CREATE", stream, name] => {
                Self::ConsumerCreate(ConsumerForm::Durable(stream, name))
            }
            ["NAMES", stream] => Self::ConsumerNames(stream),
            ["LIST", stream] => Self::ConsumerList(stream),
            ["INFO", stream, name] => Self::ConsumerInfo(stream, name),
            ["DELETE", stream, name] => Self::ConsumerDelete(stream, name),
            ["PAUSE", stream, name] => Self::ConsumerPause(stream, name),
            ["UNPIN", stream, name] => Self::ConsumerUnpin(stream, name),
            ["RESET", stream, name] => Self::ConsumerReset(stream, name),
            ["LEADER", "STEPDOWN", stream, name] => Self::ConsumerStepDown(stream, name),
            _ => return None,
        })
    }

    /// Returns true if the request only reads, and may wait behind those that change something.
    // NATS 2.14: jetstream_api.go infopairs.
    pub fn is_info(&self) -> bool {
        matches!(
            self,
            Self::AccountInfo
                | Self::StreamNames
                | Self::StreamList
                | Self::StreamInfo(_)
                | Self::ConsumerNames(_)
                | Self::ConsumerList(_)
                | Self::ConsumerInfo(..)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(subject: &str) -> Option<Endpoint<'_>> {
        Endpoint::parse(subject)
    }

    #[test]
    fn subjects_name_what_a_request_asks_for() {
        for (subject, endpoint) in [
            ("$JS.API.INFO", Endpoint::AccountInfo),
            ("$JS.API.STREAM.NAMES", Endpoint::StreamNames),
            ("$JS.API.STREAM.MSG.GET.A", Endpoint::MessageGet("A")),
            ("$JS.API.STREAM.LEADER.STEPDOWN.A", Endpoint::StreamStepDown("A")),
            ("$JS.API.CONSUMER.CREATE.A", Endpoint::ConsumerCreate(ConsumerForm::Unnamed("A"))),
            (
                "$JS.API.CONSUMER.CREATE.A.c",
                Endpoint::ConsumerCreate(ConsumerForm::Named("A", "c", "")),
            ),
            (
                "$JS.API.CONSUMER.CREATE.A.c.x.*.y",
                Endpoint::ConsumerCreate(ConsumerForm::Named("A", "c", "x.*.y")),
            ),
            (
                "$JS.API.CONSUMER.DURABLE.CREATE.A.c",
                Endpoint::ConsumerCreate(ConsumerForm::Durable("A", "c")),
            ),
            ("$JS.API.CONSUMER.INFO.A.c", Endpoint::ConsumerInfo("A", "c")),
            ("$JS.API.CONSUMER.LEADER.STEPDOWN.A.c", Endpoint::ConsumerStepDown("A", "c")),
        ] {
            assert_eq!(parse(subject), Some(endpoint), "{subject}");
        }
    }

    #[test]
    fn other_subjects_are_no_requests() {
        for subject in [
            "$JS.API",
            "$JS.API.",
            "$JS.API.INFO.A",
            "$JS.API.STREAM",
            "$JS.API.STREAM.CREATE",
            "$JS.API.STREAM.CREATE.A.B",
            "$JS.API.STREAM.CREATE..",
            "$JS.API.STREAM.TEMPLATE.CREATE.A",
            "$JS.API.CONSUMER.INFO.A",
            "$JS.API.CONSUMER.INFO.A.b.c",
            "$JS.API.CONSUMER.DURABLE.CREATE.A",
            "$JS.API.CONSUMER.CREATE.A..",
            "$JS.API.META.LEADER.STEPDOWN",
            "$JS.other.API.INFO",
        ] {
            assert_eq!(parse(subject), None, "{subject}");
        }
    }

    #[test]
    fn reads_may_wait() {
        assert!(Endpoint::StreamInfo("A").is_info());
        assert!(!Endpoint::MessageGet("A").is_info());
        assert!(!Endpoint::StreamDelete("A").is_info());
    }
}
