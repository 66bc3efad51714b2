//! The corpus of configuration files: each is read with nats-server's result, or refused as
//! expected.
//!
//! `tests/interop/run config` checks the same with nats-server's own parser. After changing a
//! message, `UPDATE_ERRORS=1 cargo test -p broker-bin --test config_language` rewrites
//! `broken/errors.txt`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use broker_bin::config::lang::{self, Document, Error};
use sha2::{Digest as _, Sha256};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config/corpus").canonicalize().unwrap()
}

/// Returns the configuration files in the folder, by name. Included files are in subfolders and not
/// listed.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    assert!(files.len() > 50, "there are files: {}", files.len());
    files
}

fn load(file: &Path) -> Result<Document, Error> {
    let text = fs::read_to_string(corpus().join("environment")).unwrap();
    let env: HashMap<&str, &str> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    lang::load(file, &|name| env.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn every_valid_file_gives_the_stored_json() {
    for file in files("valid") {
        let document = load(&file).unwrap_or_else(|error| panic!("{error}"));
        let expected = fs::read_to_string(file.with_extension("json")).unwrap();
        assert_eq!(lang::to_json(&document.root) + "\n", expected, "{}", file.display());
        let hash: String =
            Sha256::digest(expected).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(document.digest, format!("sha256:{hash}"), "{}", file.display());
    }
}

#[test]
fn every_broken_file_is_refused_with_its_place_and_a_reason() {
    let prefix = format!("{}/broken/", corpus().display());
    let mut errors = String::new();
    for file in files("broken") {
        let Err(error) = load(&file) else { panic!("{} was read", file.display()) };
        errors += &format!("{}\n", error.to_string().replace(&prefix, ""));
    }
    let path = corpus().join("broken/errors.txt");
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        fs::write(&path, &errors).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (error, expected) in errors.lines().zip(expected.lines()) {
        assert_eq!(error, expected);
    }
    assert_eq!(errors.lines().count(), expected.lines().count());
}

#[test]
fn no_error_repeats_a_value() {
    for file in files("broken") {
        let secret = "hunter2";
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for (at, _) in text.char_indices() {
            let text = [&text[..at], secret, &text[at..]].concat();
            let Err(Error::Parse { fault, .. }) = lang::parse(&text, "", &|_| None) else {
                continue;
            };
            assert!(!fault.to_string().contains(secret), "{text}: {fault}");
        }
    }
}
