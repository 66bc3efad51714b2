//! Every dialogue agrees with natsd over TCP.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use natsd_stage::Natsd;
use transcripts::{Dialogue, Stage, play_all};

mod natsd_stage;
mod setup_options;

#[test]
fn natsd_agrees_with_the_dialogues() {
    let mut dialogues = Dialogue::all_for(transcripts::Server::Natsd).unwrap();
    // Dialogues of routes are played with nats-server.
    dialogues.retain(|dialogue| dialogue.setup.cluster.is_none());
    // Plays one dialogue, or those with a common prefix, during development.
    if let Ok(only) = std::env::var("TRANSCRIPT") {
        dialogues.retain(|dialogue| dialogue.name.starts_with(&only));
    }
    assert!(!dialogues.is_empty(), "no dialogue to play");
    let failures =
        play_all(&dialogues, |setup| Ok(Box::new(Natsd::start(setup)) as Box<dyn Stage>));
    let report: String = failures.iter().map(|failure| format!("\n{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{report}", failures.len(), dialogues.len());
}
