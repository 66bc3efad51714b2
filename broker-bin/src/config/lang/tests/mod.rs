//! Complements the corpus in `tests/config`, which shows what is read and refused: places, access
//! to files and environment, and limits.

use std::collections::HashMap;
use std::io;

use super::*;

mod bounds;
mod environment;
mod includes;
mod places;
mod round_trip;

/// Files and environment variables in memory.
#[derive(Default)]
struct World {
    files: HashMap<&'static str, String>,
    env: HashMap<&'static str, String>,
}

impl World {
    fn file(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.files.insert(path, text.into());
        self
    }

    fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.insert(name, value.into());
        self
    }

    fn parse(&self, text: &str) -> Result<Document, Error> {
        let open = |path: &Path| -> io::Result<Box<dyn io::Read>> {
            let text = self.files.get(path.to_str().unwrap()).cloned();
            let text = text.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Box::new(io::Cursor::new(text)))
        };
        let env = |name: &str| self.env.get(name).cloned();
        parse_with(text, "main.conf", &Surroundings { env: &env, open: &open })
    }

    fn json(&self, text: &str) -> String {
        to_json(&self.parse(text).unwrap().root)
    }

    fn fault(&self, text: &str) -> Fault {
        match self.parse(text) {
            Err(Error::Parse { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }
}

fn read(text: &str) -> Document {
    World::default().parse(text).unwrap()
}

fn error(text: &str) -> String {
    World::default().parse(text).unwrap_err().to_string()
}

#[test]
fn the_digest_equals_that_of_nats_server() {
    assert_eq!(
        read("X = 4333\nport = $X\n").digest,
        "sha256:9f3bb6cda2ebd048a01527f80d42b6d06da2d340bc6b37a7eef305d048f19fa6"
    );
}

#[test]
fn keys_keep_the_order_of_the_file() {
    let root = read("c = 1, a = 2, b = 3").root;
    let keys: Vec<&str> = root.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["c", "a", "b"]);
}

#[test]
fn a_repeated_key_replaces_the_earlier_value_in_place() {
    let root = read("a = 1\nb = 2\na = 3").root;
    assert_eq!(root.entries.len(), 2);
    assert_eq!(root.entries[0].node.value, Value::Integer(3));
    assert_eq!(root.entries[0].span.line, 3);
}

#[test]
fn a_value_cannot_be_printed() {
    let document = read("password = hunter2\nusers [hunter2, {pin: 4711}]");
    let shown = format!("{document:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere.conf");
    let error = load(&path, &|_| None).unwrap_err().to_string();
    let expected = format!("{}: cannot be read: ", path.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_file_is_read_with_its_includes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.conf"), "include part.conf\n").unwrap();
    std::fs::write(folder.path().join("part.conf"), "port = 1\n").unwrap();
    let document = load(&folder.path().join("main.conf"), &|_| None).unwrap();
    assert_eq!(to_json(&document.root), r#"{"port":1}"#);
}
