//! Every flag there is, declared once.

use broker_core::auth::Secret;

use crate::options::Options;

/// One flag under all its names.
pub(super) struct Flag {
    /// Without dashes; one dash and two mean the same for each of them.
    pub(super) names: &'static [&'static str],
    /// What the help calls its value; empty for a switch.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
    pub(super) effect: Effect,
}

/// What a flag does, and so what kind of value it takes.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    Text(fn(&mut Options, String)),
    Number(fn(&mut Options, i64) -> Result<(), &'static str>),
    Switch(fn(&mut Options, bool)),
    Show(Show),
    /// nats-server's, and not ours yet: refused, so that nobody believes it was heeded.
    NotYet,
}

/// What is printed in place of running. The greater wins, as in nats-server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Show {
    Help,
    Version,
}

/// Flags that the help shows together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) flags: &'static [Flag],
}

/// The flag that answers to `name`.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags).find(|flag| flag.names.contains(&name))
}

const fn text(
    names: &'static [&'static str],
    value: &'static str,
    help: &'static str,
    set: fn(&mut Options, String),
) -> Flag {
    Flag { names, value, help, effect: Effect::Text(set) }
}

const fn number(
    names: &'static [&'static str],
    value: &'static str,
    help: &'static str,
    set: fn(&mut Options, i64) -> Result<(), &'static str>,
) -> Flag {
    Flag { names, value, help, effect: Effect::Number(set) }
}

const fn switch(
    names: &'static [&'static str],
    help: &'static str,
    set: fn(&mut Options, bool),
) -> Flag {
    Flag { names, value: "", help, effect: Effect::Switch(set) }
}

const fn show(names: &'static [&'static str], help: &'static str, what: Show) -> Flag {
    Flag { names, value: "", help, effect: Effect::Show(what) }
}

const fn not_yet(names: &'static [&'static str]) -> Flag {
    Flag { names, value: "", help: "", effect: Effect::NotYet }
}

/// In Go an empty string is the same as none given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Server",
        flags: &[
            text(
                &["a", "addr", "net"],
                "<host>",
                "Listen on this host (default: 0.0.0.0)",
                |o, v| {
                    o.host = given(v).unwrap_or_else(|| Options::default().host);
                },
            ),
            number(
                &["p", "port"],
                "<port>",
                "Port for clients; -1 for any free one (default: 4222)",
                |o, v| {
                    o.port = match v {
                        -1 => 0,
                        // NATS 2.14: opts.go, an unset port is the default one.
                        0 => Options::default().port,
                        port => port.try_into().map_err(|_| "not a port: -1, or 1 to 65535")?,
                    };
                    Ok(())
                },
            ),
            text(
                &["n", "name", "server_name"],
                "<name>",
                "Name of this server (default: its id)",
                |o, v| o.server_name = given(v),
            ),
            text(&["P", "pid"], "<file>", "Write the process id to this file", |o, v| {
                o.pid_file = given(v).map(Into::into);
            }),
            text(
                &["ports_file_dir"],
                "<dir>",
                "Write <program>_<pid>.ports, which lists the open ports, to this directory",
                |o, v| o.ports_file_dir = given(v).map(Into::into),
            ),
            not_yet(&["m", "http_port"]),
            not_yet(&["ms", "https_port"]),
            not_yet(&["c", "config"]),
            not_yet(&["t"]),
            not_yet(&["sl", "signal"]),
            not_yet(&["client_advertise"]),
        ],
    },
    Group {
        title: "Logging",
        flags: &[
            text(
                &["l", "log"],
                "<file>",
                "Append the log to this file (default: stderr)",
                |o, v| {
                    o.log.file = given(v).map(Into::into);
                },
            ),
            switch(&["T", "logtime"], "Log lines carry date and time (default: true)", |o, on| {
                o.log.time = on;
            }),
            switch(&["logtime_utc"], "Log times are UTC, not local", |o, on| o.log.utc = on),
            switch(&["D", "debug"], "Log what helps to find a fault", |o, on| o.log.debug = on),
            switch(&["V", "trace"], "Log the raw protocol", |o, on| o.log.trace = on),
            switch(&["VV"], "As -V (there is no system account to trace yet)", |o, on| {
                o.log.trace = on;
            }),
            switch(&["DV"], "-D and -V", |o, on| (o.log.debug, o.log.trace) = (on, on)),
            switch(&["DVV"], "-D and -VV", |o, on| (o.log.debug, o.log.trace) = (on, on)),
            number(
                &["max_traced_msg_len"],
                "<bytes>",
                "Longest payload to show in a trace; 0 for all of it (default: 0)",
                |o, v| {
                    o.max_traced_msg_len = v.try_into().map_err(|_| "less than zero")?;
                    Ok(())
                },
            ),
            not_yet(&["s", "syslog"]),
            not_yet(&["r", "remote_syslog"]),
            not_yet(&["log_size_limit"]),
        ],
    },
    Group {
        title: "JetStream",
        flags: &[
            // Test helpers of several clients give it to every server, with or without JetStream.
            text(&["sd", "store_dir"], "<dir>", "Accepted; nothing is stored yet", |_, _| {}),
            not_yet(&["js", "jetstream"]),
        ],
    },
    Group {
        title: "Authorization",
        flags: &[
            text(&["user"], "<user>", "User that clients must name", |o, v| o.user = given(v)),
            text(&["pass"], "<password>", "Password of that user; plain or bcrypt", |o, v| {
                o.pass = given(v).map(Secret::from);
            }),
            text(&["auth"], "<token>", "Token that clients must show; plain or bcrypt", |o, v| {
                o.auth = given(v).map(Secret::from);
            }),
        ],
    },
    Group {
        title: "TLS",
        flags: &[
            not_yet(&["tls"]),
            not_yet(&["tlscert"]),
            not_yet(&["tlskey"]),
            not_yet(&["tlsverify"]),
            not_yet(&["tlscacert"]),
        ],
    },
    Group {
        title: "Cluster",
        flags: &[
            not_yet(&["routes"]),
            not_yet(&["cluster", "cluster_listen"]),
            not_yet(&["cluster_name"]),
            not_yet(&["no_advertise"]),
            not_yet(&["cluster_advertise"]),
            not_yet(&["connect_retries"]),
        ],
    },
    Group { title: "Profiling", flags: &[not_yet(&["profile"])] },
    Group {
        title: "Common",
        flags: &[
            show(&["h", "help"], "Show this text", Show::Help),
            show(&["v", "version"], "Show the version", Show::Version),
            not_yet(&["help_tls"]),
        ],
    },
];
