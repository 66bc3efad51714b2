//! Plays the dialogues of `tests/interop/streams` with streams in memory: answers are those of nats-server 2.14.5.

mod advisories;
mod consumers;
mod dialogue;
mod host;
mod mutations;

use std::collections::BTreeSet;
use std::path::PathBuf;

use self::dialogue::{Step, masked, read};
use self::host::Account;

/// Requests whose answers differ here, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    // Streams answer these themselves, without the dispatcher.
    ("messages", "> DIRECT.GET"),
    ("levels", "> DIRECT.GET"),
    ("unknown", "> CONSUMER.MSG.NEXT"),
    ("unknown", "> DIRECT.GET"),
    // Sizes are those of a store in files.
    ("backups", "> STREAM.SNAPSHOT.A {\"deliver_subject\":\"x\",\"jsck\":true"),
    // The reference keeps the time zone that the client wrote; times are kept in UTC here.
    (
        "consumer_update",
        "> CONSUMER.CREATE.A.t {\"stream_name\":\"A\",\"config\":{\"durable_name\":\"t\",\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"2024-01-01T01:00:00+01:00\"}}",
    ),
];

fn dialogues() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/streams/dialogues")
}

fn play(name: &str) {
    let text = std::fs::read_to_string(dialogues().join(format!("{name}.txt"))).unwrap();
    let mut account = Account::default();
    let mut before = Vec::new();
    let mut headers = Vec::new();
    let mut failures = Vec::new();
    for step in read(&text) {
        match step {
            Step::Headers(block) => headers = block,
            Step::User(user) => {
                let next = Account::of_user(user, before.iter().chain([&account]));
                before.push(std::mem::replace(&mut account, next));
            }
            Step::Publish { subject, payload } => account.publish(subject, payload),
            Step::Request { line, subject, payload, answer } => {
                let block = std::mem::take(&mut headers);
                let received = account.request(subject, payload, &block);
                let received = received.map_or("none".to_owned(), |answer| masked(&answer));
                let is_known = DIFFERENCES
                    .iter()
                    .any(|(dialogue, begin)| *dialogue == name && line.starts_with(begin));
                if received != answer && !is_known {
                    failures.push(format!("{line}\n  expected {answer}\n  received {received}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

macro_rules! dialogues {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*

        #[test]
        fn all_dialogues_are_played() {
            let files = std::fs::read_dir(dialogues()).unwrap();
            let name = |entry: std::fs::DirEntry| {
                entry.path().file_stem().unwrap().to_string_lossy().into_owned()
            };
            let files: BTreeSet<String> = files.map(|entry| name(entry.unwrap())).collect();
            let mut played = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            // Sizes and errors are those of a store in files; prefixes, imports, publishing with headers, traces and
            // acknowledgements are handled outside of the API.
            let others = [
                "acks",
                "acks_with_domain",
                "domain",
                "fast_imported",
                "imports",
                "messages_in_files",
                "purges",
                "reported",
                "traces",
                "traces_by_account",
            ];
            played.extend(others.map(str::to_owned));
            assert_eq!(files, played);
        }
    };
}

dialogues! {
    backups
    consumer_create
    consumer_update
    json
    levels
    limits
    messages
    mirrors
    pedantic
    stream_create
    stream_update
    unknown
}
