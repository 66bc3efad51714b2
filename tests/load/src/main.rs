//! A load generator for NATS servers: what does a message cost the server?
//!
//! It starts a server, does to it what users do, checks that every message arrived in order, and
//! tells how much processor time the server has used for it. See README.md.

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
        Command::Measure(work) => work_off(&work),
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

fn work_off(work: &Work) -> Result<(), Fault> {
    raise_limits();
    let labels = compare::labels(work);
    // Now, since somebody may commit while this runs.
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

/// As many open files as we may have, and sleeps that end when they should. Where either is
/// refused, the scenario that needs it tells.
fn raise_limits() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let _ = set_timerslack(1);
}
