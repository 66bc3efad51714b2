//! Every dialogue agrees with a real nats-server, named by `NATSD_REFERENCE`.

use std::env;
use std::path::PathBuf;

use transcripts::{Dialogue, Reference, Server, Stage, play_all};

/// The most times that a dialogue is played against nats-server, some of whose answers depend on the order in which its threads run.
const ATTEMPTS: usize = 3;

#[test]
fn nats_server_agrees_with_the_dialogues() {
    let binary = env::var_os("NATSD_REFERENCE")
        .expect("NATSD_REFERENCE must name the nats-server binary to play against");
    let binary = PathBuf::from(binary);
    // natsd's program takes the same files: its dialogues of routes are played so.
    let is_natsd = binary.file_name().is_some_and(|name| name == "natsd");
    let server = if is_natsd { Server::Natsd } else { Server::Reference };
    let mut dialogues = Dialogue::all_for(server).unwrap();
    // Plays one dialogue, or those with a common prefix, during development.
    if let Ok(only) = env::var("TRANSCRIPT") {
        dialogues.retain(|dialogue| dialogue.name.starts_with(&only));
    }
    assert!(!dialogues.is_empty(), "no dialogue to play");
    let play = |dialogues: &[Dialogue]| {
        play_all(dialogues, |setup| {
            let server = Reference::start(&binary, setup)?;
            Ok(Box::new(server) as Box<dyn Stage>)
        })
    };
    let count = dialogues.len();
    let attempts = if is_natsd { 1 } else { ATTEMPTS };
    let mut failures = play(&dialogues);
    for _ in 1..attempts {
        dialogues.retain(|dialogue| failures.iter().any(|it| it.dialogue == dialogue.name));
        for failure in &failures {
            eprintln!("played again: {failure}");
        }
        failures = play(&dialogues);
    }
    let report: String = failures.iter().map(|failure| format!("\n{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{report}", failures.len(), count);
}
