//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::arena::Effort;
use crate::fault::Fault;
use crate::scenario::{SCENARIOS, Scenario, find};
use crate::server::Recipe;

/// The help text.
pub(crate) const USAGE: &str = "\
usage: load --server SERVER [OPTION…] [SCENARIO…]      measure one server
       load --compare A B [OPTION…] [SCENARIO…]        measure two alternately
       load limit [OPTION…] [SCENARIO…]                measure a relay that parses nothing
       load list                                       name the scenarios
       load relay -a ADDRESS -p PORT                   be that relay

SERVER, A and B are command lines that start a server when `-a 127.0.0.1 -p PORT` is appended.
Without SCENARIO all of them run, one after the other, each on a server of its own.

  --args \"…\"     append these arguments for every server
  --rounds N     measure each N times (default: 1, or 5 to compare)
  --quick        at most a second each, and a tenth of the connections and subscriptions
  --settle SECS  how long a server gets to give memory back (default: 1)
  --with C       when comparing: one more server; may be given again
  --floor        when comparing: the relay as well
  --table FILE   when comparing: write the tables (Markdown)
  --svg FILE     when comparing: write the plot";

/// The requested action.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Print the scenarios.
    List,
    /// Run as a relay.
    Relay(SocketAddr),
    /// Measure.
    Measure(Work),
}

/// The measurements to make.
#[derive(Debug)]
pub(crate) struct Work {
    /// The servers; others are compared to the first.
    pub(crate) recipes: Vec<Recipe>,
    /// The scenarios.
    pub(crate) scenarios: Vec<&'static Scenario>,
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// The duration of each.
    pub(crate) effort: Effort,
    /// The file for the tables.
    pub(crate) table: Option<PathBuf>,
    /// The file for the plot.
    pub(crate) svg: Option<PathBuf>,
}

impl Command {
    /// Parses the arguments after the program's name.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut args = args.peekable();
        match args.peek().map(String::as_str) {
            None | Some("-h" | "--help" | "help") => Ok(Self::Help),
            Some("list") => Ok(Self::List),
            Some("relay") => relay(args.skip(1)).map(Self::Relay),
            Some(_) => work(args).map(Self::Measure),
        }
    }
}

fn relay(mut args: impl Iterator<Item = String>) -> Result<SocketAddr, Fault> {
    let (mut host, mut port) = (None, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-a" => host = Some(value::<IpAddr>("-a", &mut args)?),
            "-p" => port = Some(value::<u16>("-p", &mut args)?),
            _ => return Err(Fault::Usage(format!("relay: unknown argument \"{arg}\""))),
        }
    }
    let address = host.zip(port).map(SocketAddr::from);
    address.ok_or_else(|| Fault::Usage("relay: -a and -p are needed".into()))
}

fn work(mut args: impl Iterator<Item = String>) -> Result<Work, Fault> {
    let (mut recipes, mut scenarios) = (Vec::new(), Vec::new());
    let (mut effort, mut settle) = (Effort::full(), None);
    let (mut rounds, mut appended, mut floor) = (None, None, false);
    let (mut table, mut svg) = (None, None);
    let args = &mut args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "limit" => recipes.push(Recipe::relay()?),
            "--server" | "--with" => recipes.push(Recipe::parse(&next(&arg, args)?)?),
            "--compare" => {
                // Before those of `--with`.
                recipes.insert(0, Recipe::parse(&next(&arg, args)?)?);
                recipes.insert(1, Recipe::parse(&next(&arg, args)?)?);
            }
            "--args" => appended = Some(next(&arg, args)?),
            "--rounds" => rounds = Some(value(&arg, args)?),
            "--quick" => effort = Effort::quick(),
            "--settle" => settle = Some(Duration::from_secs_f64(value::<f32>(&arg, args)?.into())),
            "--floor" => floor = true,
            "--table" => table = Some(next(&arg, args)?.into()),
            "--svg" => svg = Some(next(&arg, args)?.into()),
            name if !name.starts_with('-') => scenarios.push(find(name)?),
            _ => return Err(Fault::Usage(format!("unknown option \"{arg}\""))),
        }
    }
    if let Some(appended) = appended {
        recipes.iter_mut().filter(|r| !r.is_relay()).for_each(|r| r.append(&appended));
    }
    if recipes.is_empty() {
        return Err(Fault::Usage("no server given".into()));
    }
    if floor {
        recipes.push(Recipe::relay()?);
    }
    let only_relays = recipes.iter().all(Recipe::is_relay);
    if scenarios.is_empty() {
        scenarios.extend(SCENARIOS.iter().filter(|s| s.relay || !only_relays));
    }
    if let Some(scenario) = scenarios.iter().find(|s| only_relays && !s.relay) {
        return Err(Fault::Usage(format!("a relay cannot play {}", scenario.name)));
    }
    effort.settle = settle.unwrap_or(effort.settle);
    let rounds = rounds.unwrap_or(if recipes.len() > 1 { 5 } else { 1 });
    if recipes.len() < 2 && (table.is_some() || svg.is_some()) {
        return Err(Fault::Usage("--table and --svg show a comparison of two servers".into()));
    }
    Ok(Work { recipes, scenarios, rounds, effort, table, svg })
}

fn next(option: &str, args: &mut impl Iterator<Item = String>) -> Result<String, Fault> {
    args.next().ok_or_else(|| Fault::Usage(format!("{option} needs a value")))
}

fn value<T: std::str::FromStr>(
    option: &str,
    args: &mut impl Iterator<Item = String>,
) -> Result<T, Fault> {
    let text = next(option, args)?;
    text.parse().map_err(|_| Fault::Usage(format!("{option}: not a fit value: \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Work, Fault> {
        match Command::parse(line.split(' ').map(str::to_owned))? {
            Command::Measure(work) => Ok(work),
            other => panic!("not to be measured: {other:?}"),
        }
    }

    #[test]
    fn all_scenarios_run_unless_some_are_named() {
        assert_eq!(parse("--server natsd").unwrap().scenarios.len(), SCENARIOS.len());
        let some = parse("--server natsd ping --quick storm").unwrap();
        assert_eq!(some.scenarios.iter().map(|s| s.name).collect::<Vec<_>>(), ["ping", "storm"]);
        assert_eq!((some.rounds, some.effort.divide), (1, 10));
    }

    #[test]
    fn a_comparison_has_its_first_two_servers_in_front() {
        let work = parse("--with old --compare a b --floor --args -DV --rounds 3").unwrap();
        let names: Vec<_> = work.recipes.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "old", "relay"]);
        assert_eq!(work.rounds, 3);
    }

    #[test]
    fn the_limit_is_measured_in_scenarios_that_the_relay_supports() {
        let work = parse("limit").unwrap();
        assert!(work.recipes[0].is_relay());
        assert!(work.scenarios.iter().any(|s| s.name == "one_to_one_16"));
        assert!(!work.scenarios.iter().any(|s| s.name == "queue_10"));
    }

    #[test]
    fn invalid_arguments_are_refused() {
        for line in [
            "ping",
            "--server",
            "--server a --rounds x",
            "--server a -z",
            "--server a b",
            "limit storm",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--server a --svg b.svg").is_err());
        assert!(Command::parse(["relay".to_owned()].into_iter()).is_err());
    }
}
