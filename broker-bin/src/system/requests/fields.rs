//! The options of each kind of request, with the types that the reference gives them.

use serde_json::Value;

/// The options of one kind of request.
// NATS 2.14: events.go and monitor.go, the types whose names end in EventOptions.
#[derive(Debug)]
pub(super) struct Form {
    /// The reference's name of all of them, for errors.
    pub(super) name: &'static str,
    /// The reference's name of those that are its own, for errors; empty if it has no others.
    own: &'static str,
    fields: &'static [(&'static str, Type)],
    /// The request may select servers.
    selects_servers: bool,
}

/// The type of an option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Text,
    Texts,
    Switch,
    Int,
    Uint,
    /// A text.
    Sort,
    /// A number.
    State,
    /// A number.
    Duration,
}

use Type::{Int, State, Switch, Text, Texts, Uint};

/// Options that select servers.
const FILTERS: &[(&str, Type)] = &[
    ("server_name", Text),
    ("cluster", Text),
    ("host", Text),
    ("exact_match", Switch),
    ("tags", Texts),
    ("domain", Text),
];

const fn form(name: &'static str, own: &'static str, fields: &'static [(&str, Type)]) -> Form {
    Form { name, own, fields, selects_servers: true }
}

const fn body(name: &'static str, fields: &'static [(&str, Type)]) -> Form {
    Form { name, own: "", fields, selects_servers: false }
}

/// Nothing but the servers that are meant.
pub(super) const SERVERS: Form = form("EventFilterOptions", "", &[]);
pub(super) const STATSZ: Form = form("StatszEventOptions", "", &[]);
pub(super) const VARZ: Form = form("VarzEventOptions", "", &[]);
pub(super) const EXPVARZ: Form = form("ExpvarzEventOptions", "", &[]);
pub(super) const ACCOUNT_INFO: Form = form("AccInfoEventOptions", "", &[]);
pub(super) const SUBSZ: Form = form(
    "SubszEventOptions",
    "SubszOptions",
    &[
        ("offset", Int),
        ("limit", Int),
        ("subscriptions", Switch),
        ("account", Text),
        ("test", Text),
    ],
);
pub(super) const CONNZ: Form = form(
    "ConnzEventOptions",
    "ConnzOptions",
    &[
        ("sort", Type::Sort),
        ("auth", Switch),
        ("subscriptions", Switch),
        ("subscriptions_detail", Switch),
        ("offset", Int),
        ("limit", Int),
        ("cid", Uint),
        ("mqtt_client", Text),
        ("state", State),
        ("user", Text),
        ("acc", Text),
        ("filter_subject", Text),
    ],
);
pub(super) const ROUTEZ: Form = form(
    "RoutezEventOptions",
    "RoutezOptions",
    &[("subscriptions", Switch), ("subscriptions_detail", Switch)],
);
pub(super) const GATEWAYZ: Form = form(
    "GatewayzEventOptions",
    "GatewayzOptions",
    &[
        ("name", Text),
        ("accounts", Switch),
        ("account_name", Text),
        ("subscriptions", Switch),
        ("subscriptions_detail", Switch),
    ],
);
pub(super) const LEAFZ: Form =
    form("LeafzEventOptions", "LeafzOptions", &[("subscriptions", Switch), ("account", Text)]);
pub(super) const ACCOUNTZ: Form =
    form("AccountzEventOptions", "AccountzOptions", &[("account", Text)]);
pub(super) const ACCOUNT_STATZ: Form = form(
    "AccountStatzEventOptions",
    "AccountStatzOptions",
    &[("accounts", Texts), ("include_unused", Switch)],
);
pub(super) const JSZ: Form = form(
    "JszEventOptions",
    "JSzOptions",
    &[
        ("account", Text),
        ("accounts", Switch),
        ("streams", Switch),
        ("consumer", Switch),
        ("direct_consumer", Switch),
        ("config", Switch),
        ("leader_only", Switch),
        ("offset", Int),
        ("limit", Int),
        ("raft", Switch),
        ("stream_leader_only", Switch),
    ],
);
pub(super) const HEALTHZ: Form = form(
    "HealthzEventOptions",
    "HealthzOptions",
    &[
        ("js-enabled", Switch),
        ("js-enabled-only", Switch),
        ("js-server-only", Switch),
        ("js-meta-only", Switch),
        ("account", Text),
        ("stream", Text),
        ("consumer", Text),
        ("details", Switch),
    ],
);
pub(super) const PROFILEZ: Form = form(
    "ProfilezEventOptions",
    "ProfilezOptions",
    &[("name", Text), ("debug", Int), ("duration", Type::Duration)],
);
pub(super) const IPQUEUESZ: Form =
    form("IpqueueszEventOptions", "IpqueueszOptions", &[("all", Switch), ("filter", Text)]);
pub(super) const RAFTZ: Form =
    form("RaftzEventOptions", "RaftzOptions", &[("account", Text), ("group", Text)]);
pub(super) const CLIENT: Form = body("KickClientReq", &[("cid", Uint)]);
pub(super) const CONNECTIONS: Form = body("accNumConnsReq", &[("acc", Text)]);
pub(super) const SUBSCRIPTIONS: Form =
    body("accNumSubsReq", &[("acc", Text), ("subject", Text), ("queue", Text)]);

impl Form {
    /// Checks the type of an option. Unknown ones have any.
    ///
    /// # Errors
    ///
    /// The error of the reference.
    // Go: encoding/json UnmarshalTypeError.
    pub(super) fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let find = |fields: &'static [(&'static str, Type)]| {
            fields.iter().find(|(known, _)| *known == name).copied()
        };
        let (of, found) = match find(self.fields) {
            Some(found) => (self.own, found),
            None => match find(FILTERS).filter(|_| self.selects_servers) {
                Some(found) if self.name == SERVERS.name => ("", found),
                Some(found) => (SERVERS.name, found),
                None => return Ok(()),
            },
        };
        let Some((what, expected)) = found.1.mismatch(value) else { return Ok(()) };
        let path = [self.name, of, found.0].into_iter().filter(|part| !part.is_empty());
        let path = path.collect::<Vec<_>>().join(".");
        Err(format!("json: cannot unmarshal {what} into Go struct field {path} of type {expected}"))
    }
}

impl Type {
    /// Returns what the value is instead, and what it should be, if it has another type.
    fn mismatch(self, value: &Value) -> Option<(String, &'static str)> {
        let is_right = match self {
            Self::Text | Self::Sort => value.is_string(),
            Self::Texts => match value {
                Value::Array(list) => {
                    let other = list.iter().find(|one| !one.is_string() && !one.is_null());
                    return other.map(|one| (kind(one).to_owned(), "string"));
                }
                _ => false,
            },
            Self::Switch => value.is_boolean(),
            Self::Int | Self::State | Self::Duration => value.is_i64(),
            Self::Uint => value.is_u64(),
        };
        let what = match value {
            // A number of another kind.
            Value::Number(number) if self.is_number() => format!("number {number}"),
            other => kind(other).to_owned(),
        };
        (!is_right).then_some((what, self.in_go()))
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::State | Self::Duration)
    }

    fn in_go(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Texts => "[]string",
            Self::Switch => "bool",
            Self::Int => "int",
            Self::Uint => "uint64",
            Self::Sort => "server.SortOpt",
            Self::State => "server.ConnState",
            Self::Duration => "time.Duration",
        }
    }
}

/// Returns Go's name for the type of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
