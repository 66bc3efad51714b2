//! A load generator for NATS servers that measures the server's cost per message.
//!
//! Starts a server, runs a scenario, checks that every message arrived in order, and reports the
//! processor time that the server used. See README.md.

mod arena;
mod batch;
mod bridge;
mod carrier;
mod check;
mod cli;
mod compare;
mod connections;
mod disturbed;
mod fault;
mod frame;
mod hub;
mod leaving;
mod procfs;
mod receive;
mod relay;
mod reload;
mod report;
mod request;
mod run;
mod sample;
mod scenario;
mod send;
mod server;
mod setting;
mod stamp;
mod stats;
mod stored;
mod streams;
mod svg;
mod table;
mod tls;
mod wire;

use std::fs;
use std::process::ExitCode;

use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::{Command, USAGE, Work};
use crate::fault::{During, Fault};
use crate::scenario::SCENARIOS;
use crate::table::Setting;

fn main() -> ExitCode {
    let result = Command::parse(std::env::args().skip(1)).and_then(|command| match command {
        Command::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Command::List => {
            SCENARIOS.iter().for_each(|s| println!("{:20} {}", s.name, s.about));
            Ok(())
        }
        Command::Relay(address) => relay::run(address),
        Command::Measure(work) => measure(&work),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("load: {fault}");
            if matches!(fault, Fault::Usage(_)) {
                eprintln!("{USAGE}");
            }
            ExitCode::FAILURE
        }
    }
}

fn measure(work: &Work) -> Result<(), Fault> {
    raise_limits();
    let labels = compare::labels(work);
    // Read at the start, because the working copy may change while this runs.
    let setting = Setting::of(work, &labels);
    let (results, outcome) = compare::run(work, &labels);
    if work.recipes.len() > 1 {
        let markdown = table::markdown(&results, &setting);
        println!("{}\n\n{markdown}", table::json(&results, &setting));
        if let Some(file) = &work.table {
            fs::write(file, &markdown).during("writing the table")?;
        }
        if let Some(file) = &work.svg {
            fs::write(file, svg::plot(&results, &setting)).during("writing the plot")?;
        }
    }
    outcome
}

/// Raises the limit of open files, and makes timers precise. If either is refused, the scenario
/// that needs it reports it.
fn raise_limits() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let _ = set_timerslack(1);
}
