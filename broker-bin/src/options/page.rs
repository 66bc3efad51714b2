//! Generates the list of all options, `docs/config.md`, and the texts of `--help` from the table of
//! options.

use std::any::Any;
use std::fmt::Write as _;

use crate::config::check;
use crate::config::environment::variable;
use crate::config::field::Field;
use crate::config::format::dashed;
use crate::config::kind::Kind;
use crate::config::table::{Block, Key, PassedOver, Reload, Section as _, Status};
use crate::options::Options;

const HEAD: &str = "\
# Configuration

<!-- Made from the table of options: `UPDATE_DOCS=1 cargo test -p broker-bin --lib the_page` writes it. -->

natsd reads the configuration files and flags of nats-server 2.14. If an option is set more than once, the last of these
counts: default, file (`-c <file>`), environment, command line. `natsd -c <file> -t` checks a file without starting.

- In a **file**, options have the names below, in any case, or those in parentheses. An unknown name is an error, unless it is
  used as a variable.
- In the **environment**, an option is `NATSD_` and its name in capitals; an option in a block is the block's name, two
  underscores, and its own: `NATSD_MAX_PAYLOAD=2MB`, `NATSD_AUTHORIZATION__TIMEOUT=5s`. Texts are taken verbatim; arrays and
  maps are written as in a file: `NATSD_AUTHORIZATION__USERS='[{user: a, password: b}]'`. An empty variable equals an unset one.
  Variables that Kubernetes sets for a Service named `natsd` (`NATSD_SERVICE_…`, `NATSD_PORT=tcp://…`) are ignored.
- **Flags** are listed by `natsd --help`.

A *size* is a number of bytes, optionally with a suffix: `k`, `m`, `g`, `t` are powers of 1000, `kb`, `mb`, `gb`, `tb` powers
of 1024. A *duration* is a text such as `\"1m30s\"`, with the units `ns`, `us`, `ms`, `s`, `m` and `h`.

A **reload** (`SIGHUP`, `--signal reload`) changes an option *at once*, for *new* connections only, or *not*: then the whole
reload is refused. Options marked **not yet** belong to an unimplemented part: they are validated, and refused if they enable it; a
file that turns the part off is valid. Options that can be ignored harmlessly, such as a port for other servers, are *ignored* with a
warning. Errors never contain a value.
";

/// Returns the list of all options in Markdown.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    let mut chapters =
        vec![Chapter { block: Options::block(), path: Some(String::new()), part: "" }];
    let mut next = 0;
    while next < chapters.len() {
        chapters[next].write(&mut page);
        for chapter in chapters[next].inner() {
            // A block that occurs in several places is listed once.
            if !chapters.iter().any(|known| known.block.title == chapter.block.title) {
                chapters.push(chapter);
            }
        }
        next += 1;
    }
    page
}

/// One block.
struct Chapter {
    block: &'static Block,
    /// The path, if it occurs in one place; blocks in an array or by name occur in many.
    path: Option<String>,
    /// The unimplemented part that it belongs to.
    part: &'static str,
}

impl Chapter {
    fn inner(&self) -> Vec<Self> {
        let chapter = |key: &Key| {
            let path = match (key.kind, &self.path) {
                (Kind::Block(_), Some(path)) => Some(check::join(path, key.name)),
                _ => None,
            };
            let part = match key.status {
                Status::NotYet(part) => part,
                _ => self.part,
            };
            Some(Self { block: key.kind.block()?, path, part })
        };
        self.block.options().filter_map(chapter).collect()
    }

    fn write(&self, page: &mut String) {
        let _ = write!(page, "\n## {}\n\n{}", self.block.title, flow(self.block.help));
        if !self.part.is_empty() {
            let _ = write!(page, " **Not yet: {}.**", self.part);
        }
        if let Some(path) = self.path.as_ref().filter(|path| !path.is_empty()) {
            let _ = write!(page, " In the environment: `{}__`...", variable(path));
        }
        page.push_str(
            "\n\n| option | purpose | value | default | reload |\n| --- | --- | --- | --- | --- |\n",
        );
        let defaults = defaults(self.block.title);
        for key in self.block.options() {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} |",
                names(key),
                self.help(key),
                key.kind.name(),
                default_text(key, defaults.as_deref()),
                self.reload(key)
            );
        }
    }

    fn help(&self, key: &Key) -> String {
        let mut help = flow(key.help);
        match key.status {
            Status::NotYet(part) if part != self.part => {
                let _ = write!(help, " **Not yet: {part}.**");
                if let Some(PassedOver { when, .. }) = key.passed_over {
                    let when = if when.is_empty() { "always" } else { when };
                    let _ = write!(help, " Ignored {when}.");
                }
            }
            Status::NoEffect(reason) => {
                let _ = write!(help, " *Has no effect: {reason}.*");
            }
            _ => {}
        }
        if let Some(flag) = key.flag {
            let names: Vec<_> =
                flag.names.iter().map(|name| format!("`{}`", dashed(name))).collect();
            let _ = write!(help, " Flag: {}.", names.join(", "));
        }
        help
    }

    fn reload(&self, key: &Key) -> &'static str {
        match (&self.path, key.status, key.reload) {
            // Users and accounts have no rule of their own: it is that of the list.
            (None, ..) | (_, Status::NoEffect(_), _) => "",
            (_, _, Reload::AtOnce) => "at once",
            (_, _, Reload::NewConnections) => "new",
            (_, _, Reload::Restart) => "not",
        }
    }
}

fn names(key: &Key) -> String {
    if key.aliases.is_empty() {
        format!("`{}`", key.name)
    } else {
        format!("`{}` ({})", key.name, key.aliases.join(", "))
    }
}

/// Returns each section's defaults by title, so that the page shows those of the code.
fn defaults(title: &str) -> Option<Box<dyn Any>> {
    use crate::options::*;

    macro_rules! find {
        ($($section:ident),+) => {
            $(if $section::block().title == title {
                return Some(Box::new($section::default()));
            })+
        };
    }
    find!(
        Options,
        Authorization,
        User,
        Permissions,
        SubjectLists,
        AllowResponses,
        AuthCallout,
        Account,
        AccountLimits,
        MapDestination,
        Export,
        Latency,
        Import,
        Imported,
        MessageTrace,
        Cluster,
        PeerAuthorization,
        Compression,
        Gateway,
        RemoteGateway,
        JetStream,
        JetStreamLimits,
        JetStreamBatch,
        Tpm,
        AccountJetStream,
        Leafnodes,
        LeafAuthorization,
        LeafUser,
        RemoteLeaf,
        LeafMigration,
        LeafProxy,
        Mqtt,
        Ocsp,
        OcspCache,
        OcspPeer,
        Resolver,
        Proxies,
        TrustedProxy,
        Tls,
        CertificatePair,
        Websocket,
        SimpleAuthorization
    );
    None
}

fn default_text(key: &Key, section: Option<&dyn Any>) -> String {
    if !key.unset.is_empty() {
        return key.unset.to_owned();
    }
    let field = section.and_then(|section| key.field(section));
    let shown = field.map(Field::show).unwrap_or_default();
    match key.kind {
        Kind::Size { .. } | Kind::Storage => {
            format!("`{}`", size(&shown))
        }
        _ if shown.is_empty() || matches!(shown.as_str(), "[]" | "map[]" | "{...}") => {
            String::new()
        }
        _ => format!("`{shown}`"),
    }
}

/// Formats `1048576` as `1MB`.
fn size(bytes: &str) -> String {
    let Ok(number) = bytes.parse::<i64>() else { return bytes.to_owned() };
    for (unit, shift) in [("GB", 30), ("MB", 20), ("KB", 10)] {
        if number > 0 && number % (1 << shift) == 0 {
            return format!("{}{unit}", number >> shift);
        }
    }
    bytes.to_owned()
}

/// Returns a doc comment as one line of a table.
fn flow(help: &str) -> String {
    let text = help.split("```").next().unwrap_or(help);
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Returns the first sentence of an option's purpose, with its default, for the help.
pub(crate) fn summary(key: &Key) -> String {
    let help = flow(key.help).replace('`', "");
    let mut text = match help.split_once(". ") {
        Some((first, _)) => first.to_owned(),
        None => help.trim_end_matches('.').to_owned(),
    };
    let default = default_text(key, Some(&Options::default()));
    let is_worth_it = !default.is_empty() && !matches!(default.as_str(), "`false`");
    if is_worth_it {
        let _ = write!(text, " (default: {})", default.trim_matches('`'));
    }
    text
}
