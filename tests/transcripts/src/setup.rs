//! The server setup of a dialogue.

use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

/// The options of a dialogue's server, from its `!` lines. `None` or empty means the server's
/// default.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Setup {
    /// `max_payload BYTES`
    pub max_payload: Option<u32>,
    /// `max_control_line BYTES`
    pub max_control_line: Option<u32>,
    /// `max_connections COUNT`
    pub max_connections: Option<u32>,
    /// `max_subscriptions COUNT`, of one connection
    pub max_subscriptions: Option<u32>,
    /// `max_sub_tokens COUNT`, of one subscription's subject
    pub max_sub_tokens: Option<u8>,
    /// `ping_interval TIME`
    pub ping_interval: Option<Duration>,
    /// `ping_max COUNT`: PINGs that may be unanswered
    pub ping_max: Option<u32>,
    /// `no_header_support`: the server refuses headers
    pub no_header_support: bool,
    /// `auth_timeout TIME`
    pub auth_timeout: Option<Duration>,
    /// `token TOKEN`, plain or bcrypt
    pub token: Option<String>,
    /// `user NAME PASSWORD`, one line for each, in order
    pub users: Vec<User>,
    /// `no_auth_user NAME`: the user of connections without credentials
    pub no_auth_user: Option<String>,
    /// `mapping SOURCE DESTINATION [WEIGHT]`; lines with the same source are destinations of one mapping
    pub mappings: Vec<Mapped>,
    /// `export ACCOUNT stream|service SUBJECT`
    pub exports: Vec<Export>,
    /// `import ACCOUNT stream|service FROM SUBJECT [prefix|to LOCAL]`
    pub imports: Vec<Import>,
    /// `cluster NAME` and the directives that begin with `cluster_`: the server has a port for routes, and no system
    /// account, whose interest would come first on each route.
    pub cluster: Option<Cluster>,
}

/// The cluster of a server, to which parties pretend to be other members.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Cluster {
    /// The name; without, the server invents one.
    pub name: Option<String>,
    /// `cluster_pool_size COUNT`; -1, the default of dialogues, for no pool
    pub pool_size: Option<i32>,
    /// `cluster_compression MODE`
    pub compression: Option<String>,
    /// `cluster_accounts ACCOUNT…`: those with a route of their own
    pub accounts: Vec<String>,
    /// `cluster_user NAME PASSWORD`
    pub user: Option<(String, String)>,
    /// `cluster_no_advertise`
    pub no_advertise: bool,
    /// `cluster_advertise HOST:PORT`
    pub advertise: Option<String>,
    /// `cluster_ping_interval TIME`
    pub ping_interval: Option<Duration>,
    /// `cluster_import_allow SUBJECT…`, `cluster_import_deny SUBJECT…`
    pub import: Rules,
    /// `cluster_export_allow SUBJECT…`, `cluster_export_deny SUBJECT…`
    pub export: Rules,
    /// `cluster_dials`: the server has a route to the parties `s`, `s1` and so on
    pub dials: bool,
}

/// A destination of a mapping.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Mapped {
    /// The subjects that are mapped.
    pub source: String,
    /// The subject that they are mapped to.
    pub destination: String,
    /// The percentage of messages; all without.
    pub weight: Option<u8>,
}

/// A stream or service that an account exports to all others.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Export {
    /// The exporting account.
    pub account: String,
    /// `stream` or `service`.
    pub kind: String,
    /// The subject.
    pub subject: String,
}

/// A stream or service that an account imports.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Import {
    /// The importing account.
    pub account: String,
    /// `stream` or `service`.
    pub kind: String,
    /// The exporting account.
    pub from: String,
    /// The subject there.
    pub subject: String,
    /// `prefix` or `to`, and its value.
    pub local: Option<(String, String)>,
}

/// A user.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct User {
    /// The name.
    pub name: String,
    /// `account NAME ACCOUNT`
    pub account: Option<String>,
    /// The password as in a configuration file: plain or bcrypt.
    pub password: String,
    /// `publish_allow NAME SUBJECT…`, `publish_deny NAME SUBJECT…`
    pub publish: Rules,
    /// `subscribe_allow NAME SUBJECT…`, `subscribe_deny NAME SUBJECT…`; an entry that names a queue too is
    /// written in quotes: `"orders.* workers"`
    pub subscribe: Rules,
    /// `allow_responses NAME MAX EXPIRES`
    pub allow_responses: Option<Responses>,
}

/// Allowed and denied subjects. An empty list equals an absent one.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rules {
    /// No other subjects are allowed, unless this is empty.
    pub allow: Vec<String>,
    /// Denied even if allowed.
    pub deny: Vec<String>,
}

/// Permission to respond to received requests, regardless of the publish rules.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Responses {
    /// Messages to one reply subject; -1 for unlimited.
    pub max: i32,
    /// Time after the request.
    pub expires: Duration,
}

impl Setup {
    /// Returns the names of the accounts, in order.
    pub fn accounts(&self) -> Vec<&str> {
        let of_users = self.users.iter().filter_map(|user| user.account.as_deref());
        let exporting = self.exports.iter().map(|export| &*export.account);
        let importing = self.imports.iter().map(|import| &*import.account);
        let mut names: Vec<&str> = of_users.chain(exporting).chain(importing).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Applies one directive, without its `!`.
    pub(crate) fn read(&mut self, directive: &str) -> Result<(), String> {
        let mut words = directive.split_whitespace();
        match words.next().unwrap_or_default() {
            "max_payload" => self.max_payload = Some(number(&mut words)?),
            "max_control_line" => self.max_control_line = Some(number(&mut words)?),
            "max_connections" => self.max_connections = Some(number(&mut words)?),
            "max_subscriptions" => self.max_subscriptions = Some(number(&mut words)?),
            "max_sub_tokens" => self.max_sub_tokens = Some(number(&mut words)?),
            "ping_interval" => self.ping_interval = Some(time(word(&mut words)?)?),
            "ping_max" => self.ping_max = Some(number(&mut words)?),
            "no_header_support" => self.no_header_support = true,
            "auth_timeout" => self.auth_timeout = Some(time(word(&mut words)?)?),
            "token" => self.token = Some(word(&mut words)?.into()),
            "no_auth_user" => self.no_auth_user = Some(word(&mut words)?.into()),
            "mapping" => self.mappings.push(Mapped {
                source: word(&mut words)?.into(),
                destination: word(&mut words)?.into(),
                weight: words.next().map(parse).transpose()?,
            }),
            "user" => self.users.push(User {
                name: word(&mut words)?.into(),
                password: word(&mut words)?.into(),
                ..User::default()
            }),
            "account" => {
                let user = self.user(&mut words)?;
                user.account = Some(word(&mut words)?.into());
            }
            "export" => self.exports.push(Export {
                account: word(&mut words)?.into(),
                kind: kind(&mut words)?,
                subject: word(&mut words)?.into(),
            }),
            "import" => self.imports.push(Import {
                account: word(&mut words)?.into(),
                kind: kind(&mut words)?,
                from: word(&mut words)?.into(),
                subject: word(&mut words)?.into(),
                local: match words.next() {
                    Some(how @ ("prefix" | "to")) => Some((how.into(), word(&mut words)?.into())),
                    Some(other) => return Err(format!("`{other}` is neither `prefix` nor `to`")),
                    None => None,
                },
            }),
            "publish_allow" => self.user(&mut words)?.publish.allow.extend(entries(&mut words)?),
            "publish_deny" => self.user(&mut words)?.publish.deny.extend(entries(&mut words)?),
            "subscribe_allow" => {
                self.user(&mut words)?.subscribe.allow.extend(entries(&mut words)?);
            }
            "subscribe_deny" => self.user(&mut words)?.subscribe.deny.extend(entries(&mut words)?),
            "allow_responses" => {
                let user = self.user(&mut words)?;
                let (max, expires) = (number(&mut words)?, time(word(&mut words)?)?);
                user.allow_responses = Some(Responses { max, expires });
            }
            "cluster" => {
                let name = words.next().map(str::to_owned);
                self.cluster = Some(Cluster { name, ..Cluster::default() });
            }
            other => match other.strip_prefix("cluster_") {
                Some(option) => self.cluster(option, &mut words)?,
                None => return Err(format!("there is no directive `{other}`")),
            },
        }
        words.next().map_or(Ok(()), |more| Err(format!("`{more}` is too much")))
    }

    fn cluster(&mut self, option: &str, words: &mut SplitWhitespace<'_>) -> Result<(), String> {
        let cluster = self.cluster.as_mut().ok_or("no `! cluster …` above")?;
        match option {
            "pool_size" => cluster.pool_size = Some(number(words)?),
            "compression" => cluster.compression = Some(word(words)?.into()),
            "accounts" => cluster.accounts = entries(words)?,
            "user" => cluster.user = Some((word(words)?.into(), word(words)?.into())),
            "no_advertise" => cluster.no_advertise = true,
            "advertise" => cluster.advertise = Some(word(words)?.into()),
            "ping_interval" => cluster.ping_interval = Some(time(word(words)?)?),
            "import_allow" => cluster.import.allow = entries(words)?,
            "import_deny" => cluster.import.deny = entries(words)?,
            "export_allow" => cluster.export.allow = entries(words)?,
            "export_deny" => cluster.export.deny = entries(words)?,
            "dials" => cluster.dials = true,
            other => return Err(format!("there is no directive `cluster_{other}`")),
        }
        Ok(())
    }

    fn user(&mut self, words: &mut SplitWhitespace<'_>) -> Result<&mut User, String> {
        let name = word(words)?;
        let user = self.users.iter_mut().find(|user| user.name == name);
        user.ok_or_else(|| format!("no `! user {name} …` above"))
    }
}

fn kind(words: &mut SplitWhitespace<'_>) -> Result<String, String> {
    match word(words)? {
        kind @ ("stream" | "service") => Ok(kind.into()),
        other => Err(format!("`{other}` is neither `stream` nor `service`")),
    }
}

fn word<'a>(words: &mut SplitWhitespace<'a>) -> Result<&'a str, String> {
    words.next().ok_or_else(|| "a word is missing".into())
}

fn number<N: FromStr>(words: &mut SplitWhitespace<'_>) -> Result<N, String> {
    parse(word(words)?)
}

fn parse<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits"))
}

/// Parses subjects, or `"subject queue"` pairs in quotes.
fn entries(words: &mut SplitWhitespace<'_>) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    while let Some(first) = words.next() {
        entries.push(match first.strip_prefix('"') {
            Some(subject) => {
                let queue = word(words)?;
                let queue = queue.strip_suffix('"').ok_or("expected \"subject queue\"")?;
                format!("{subject} {queue}")
            }
            None => first.into(),
        });
    }
    if entries.is_empty() { Err("a subject is missing".into()) } else { Ok(entries) }
}

/// Parses a duration: `400ms`, `2s` or `1m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = text[..text.len() - unit.len()].parse::<u64>();
    match (count, unit) {
        (Ok(count), "ms") => Ok(Duration::from_millis(count)),
        (Ok(count), "s") => Ok(Duration::from_secs(count)),
        (Ok(count), "m") => Ok(Duration::from_secs(60 * count)),
        _ => Err(format!("`{text}` is no time such as 400ms, 2s, 1m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(lines: &[&str]) -> Result<Setup, String> {
        let mut setup = Setup::default();
        lines.iter().try_for_each(|line| setup.read(line)).map(|()| setup)
    }

    #[test]
    fn permissions_gather_under_their_user() {
        let setup = setup(&[
            "user eva secret",
            "publish_allow eva a.> b",
            "subscribe_deny eva \"c workers\" d",
            "allow_responses eva 2 400ms",
        ]);
        let eva = User {
            name: "eva".into(),
            account: None,
            password: "secret".into(),
            publish: Rules { allow: vec!["a.>".into(), "b".into()], deny: vec![] },
            subscribe: Rules { allow: vec![], deny: vec!["c workers".into(), "d".into()] },
            allow_responses: Some(Responses { max: 2, expires: Duration::from_millis(400) }),
        };
        assert_eq!(setup.unwrap().users, [eva]);
    }

    #[test]
    fn an_invalid_directive_is_refused() {
        for lines in [
            &["max_payloads 5"][..],
            &["max_payload"],
            &["max_payload many"],
            &["max_payload 5 6"],
            &["max_sub_tokens 256"],
            &["ping_interval 5"],
            &["publish_allow eva a"],
            &["user eva x", "publish_allow eva"],
            &["mapping a"],
            &["mapping a b some"],
            &["mapping a b 5 6"],
            &["export A topic x"],
            &["import A stream B x as y"],
            &["user eva x", "subscribe_allow eva \"a b"],
            &["cluster_pool_size 3"],
            &["cluster C", "cluster_colour red"],
            &["cluster C", "cluster_accounts"],
        ] {
            assert!(setup(lines).is_err(), "{lines:?}");
        }
    }
}
