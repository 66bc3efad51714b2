//! Checks of the dialogues themselves, without a server.

use std::collections::BTreeMap;

use transcripts::Dialogue;

#[test]
fn every_file_is_a_dialogue() {
    let dialogues = Dialogue::all().unwrap_or_else(|flaw| panic!("{flaw}"));
    let (routes, clients): (Vec<_>, Vec<_>) =
        dialogues.iter().partition(|dialogue| dialogue.setup.cluster.is_some());
    assert!(clients.len() >= 85, "only {}", clients.len());
    assert!(routes.len() >= 150, "only {}", routes.len());
}

#[test]
fn names_are_lower_case_words() {
    for dialogue in Dialogue::all().unwrap() {
        let plain =
            dialogue.name.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b));
        assert!(plain, "{}", dialogue.name);
    }
}

#[test]
fn no_two_dialogues_are_equal() {
    let mut seen = BTreeMap::new();
    for dialogue in Dialogue::all().unwrap() {
        let script = format!("{:?}{:?}", dialogue.setup, dialogue.steps);
        let before = seen.insert(script, dialogue.name.clone());
        assert_eq!(before, None, "the same as {}", dialogue.name);
    }
}
