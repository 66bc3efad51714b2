//! The first corpus: what the parties of all dialogues say, and the corpus of configuration files.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use transcripts::{Act, Dialogue};

fn main() -> io::Result<()> {
    for dialogue in Dialogue::all()? {
        let mut said: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for step in &dialogue.steps {
            match &step.act {
                Act::Send(party, bytes) => said.entry(party.to_string()).or_default().extend(bytes),
                Act::Quiet(party) => {
                    said.entry(party.to_string()).or_default().extend(b"PING\r\n");
                }
                _ => {}
            }
        }
        for (party, bytes) in said {
            // What is longer than the fuzzer's inputs shows nothing to it.
            if bytes.len() > 4000 {
                continue;
            }
            let name = format!("{}-{party}", dialogue.name);
            save("parser", &name, &[0], &bytes)?;
            save("session", &name, &[0, 0, 0], &bytes)?;
        }
    }
    for folder in ["valid", "broken"] {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/corpus").join(folder);
        for entry in fs::read_dir(files)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                save("config", &format!("{folder}-{name}"), &[], &fs::read(&path)?)?;
            }
        }
    }
    // A file, one that it includes, and a variable.
    save("config", "all", &[], b"include a\nb = $V\0c = 1\0[1 , $V]")
}

/// The bytes before what is said choose how it is played.
fn save(target: &str, name: &str, how: &[u8], said: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), [how, said].concat())
}
