//! The flags of the command line. Most belong to an option and are declared with it in
//! [`crate::options`]; those that do something else are declared here.

use crate::config::kind::Kind;
use crate::config::table::{Block, Group, Key, Section as _};
use crate::options::Options;

/// The effect of a flag, which determines the kind of value it takes.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// Sets an option.
    Option(&'static Key),
    /// Switches several options on or off.
    Switches(&'static [&'static str]),
    /// Names the configuration file.
    File,
    /// Checks the configuration and ends.
    Check,
    /// Asks the server that has this configuration for its health and ends.
    Healthcheck,
    /// Prints completions for a shell and ends.
    Completions,
    /// Sends a signal to a running server.
    Signal,
    /// The address of this server in its cluster.
    Cluster,
    /// Opens or closes the TLS block.
    Tls,
    /// Prints something and exits.
    Show(Show),
}

/// Output printed instead of running a server. The greater variant wins, as in nats-server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Show {
    Manual,
    Tls,
    Help,
    Version,
}

/// One flag under all its names.
#[derive(Clone)]
pub(super) struct Flag {
    /// The group in the help; `None` for the common flags.
    pub(super) group: Option<Group>,
    /// The names without dashes; each may be written with one dash or two.
    pub(super) names: &'static [&'static str],
    /// The placeholder for its value in the help; empty for a switch.
    pub(super) value: &'static str,
    pub(super) help: String,
    /// The path of the option that it sets.
    pub(super) path: String,
    pub(super) effect: Effect,
}

impl Flag {
    /// Returns true if the flag never takes the next argument as its value.
    pub(super) fn is_switch(&self) -> bool {
        match self.effect {
            Effect::Option(key) => matches!(key.kind, Kind::Bool),
            Effect::Switches(_)
            | Effect::Check
            | Effect::Healthcheck
            | Effect::Show(_)
            | Effect::Tls => true,
            Effect::File | Effect::Signal | Effect::Cluster | Effect::Completions => false,
        }
    }

    /// The unimplemented part that the flag requires.
    pub(super) fn part(&self) -> Option<&'static str> {
        use crate::config::table::Status;

        match self.effect {
            Effect::Option(key) => match (key.status, self.path.split_once('.')) {
                (Status::NotYet(part), _) => Some(part),
                (_, Some((block, _))) => match Options::block().key(block)?.status {
                    Status::NotYet(part) => Some(part),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }
}

/// Returns all flags: those of options in the order of their declarations, then the others.
pub(super) fn all() -> Vec<Flag> {
    let mut flags = Vec::new();
    of_options(Options::block(), "", &mut flags);
    flags.extend(OTHERS.iter().map(|&(group, names, value, help, effect)| Flag {
        group,
        names,
        value,
        help: help.to_owned(),
        path: String::new(),
        effect,
    }));
    flags
}

fn of_options(block: &'static Block, path: &str, flags: &mut Vec<Flag>) {
    for key in block.options() {
        let path = crate::config::join(path, key.name);
        if let Some(flag) = key.flag {
            flags.push(Flag {
                group: Some(flag.group),
                names: flag.names,
                value: flag.value,
                help: crate::options::page::summary(key),
                path: path.clone(),
                effect: Effect::Option(key),
            });
        }
        // If a block occurs in several places, the flags set the first of them: `tls`, not
        // `cluster.tls`.
        if let Kind::Block(inner) = key.kind
            && !path.contains('.')
            && key.name != "resolver_tls"
        {
            of_options(inner(), &path, flags);
        }
    }
}

type Other = (Option<Group>, &'static [&'static str], &'static str, &'static str, Effect);

const OTHERS: &[Other] = &[
    (Some(Group::Server), &["c", "config"], "<file>", "Read options from this file", Effect::File),
    (
        Some(Group::Server),
        &["t"],
        "",
        "Check the configuration file, print its digest and end",
        Effect::Check,
    ),
    (
        Some(Group::Server),
        &["sl", "signal"],
        "<signal>[=<pid>]",
        "Tell a running server: ldm, stop, quit, term, reopen or reload; <pid> may be a pid file",
        Effect::Signal,
    ),
    (
        Some(Group::Server),
        &["healthcheck"],
        "",
        "Ask the running server with these options for its health, and end with 0 or 1",
        Effect::Healthcheck,
    ),
    (
        Some(Group::Logging),
        &["VV"],
        "",
        "-V, the system account too",
        Effect::Switches(&["trace", "trace_verbose"]),
    ),
    (Some(Group::Logging), &["DV"], "", "-D and -V", Effect::Switches(&["debug", "trace"])),
    (
        Some(Group::Logging),
        &["DVV"],
        "",
        "-D and -VV",
        Effect::Switches(&["debug", "trace", "trace_verbose"]),
    ),
    (Some(Group::Tls), &["tls"], "", "Encrypt connections; -tls=false does not", Effect::Tls),
    (
        Some(Group::Cluster),
        &["cluster", "cluster_listen"],
        "<url>",
        "Address for the other servers of the cluster",
        Effect::Cluster,
    ),
    (None, &["h", "help"], "", "Show this text", Effect::Show(Show::Help)),
    (None, &["v", "version"], "", "Show the version", Effect::Show(Show::Version)),
    (
        None,
        &["completions"],
        "<shell>",
        "Print completions for bash, fish or zsh",
        Effect::Completions,
    ),
    (None, &["man"], "", "Print the manual page", Effect::Show(Show::Manual)),
    (None, &["help_tls"], "", "Show TLS cipher suites and curves", Effect::Show(Show::Tls)),
];
