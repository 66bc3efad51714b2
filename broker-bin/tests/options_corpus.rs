//! The corpus of options: natsd's options for each file of `tests/config/options`, and its errors
//! for the invalid ones.
//!
//! `tests/interop/run config` checks the same with nats-server. After an intended change,
//! `UPDATE_OPTIONS=1 cargo test -p broker-bin --test options_corpus` rewrites the expected results;
//! so too after implementing a part that files of `valid` request and that natsd refused until
//! then.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test itself may")]

#[path = "../examples/config_options/normal_form.rs"]
mod normal_form;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use broker_bin::options::{ConfigErrors, Loaded, Request, load};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config/options").canonicalize().unwrap()
}

/// The path prefix removed from messages.
fn prefix(folder: &str) -> String {
    corpus().join(folder).join("").display().to_string()
}

/// Returns natsd's result for each file of the folder, by file name.
fn read(folder: &str) -> BTreeMap<String, Result<Loaded, String>> {
    let corpus = corpus();
    let text = fs::read_to_string(corpus.join("environment")).unwrap();
    let environment: BTreeMap<_, _> = text
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| match name.ends_with("_FILE") {
            // Paths in files are relative to the working directory of the program.
            true => (name.to_owned(), corpus.join(value).display().to_string()),
            false => (name.to_owned(), value.to_owned()),
        })
        .collect();
    let files = fs::read_dir(corpus.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let read: BTreeMap<_, _> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let environment = environment.clone();
            let request = Request { file: Some(path), environment, ..Request::default() };
            let said = |error: ConfigErrors| error.to_string().replace(&prefix(folder), "");
            (name, load(&request).map_err(said))
        })
        .collect();
    assert!(read.len() > 100, "there are files: {}", read.len());
    read
}

/// Compares with the stored result, line by line.
fn expect(stored: &str, found: &str) {
    let path = corpus().join(stored);
    if std::env::var_os("UPDATE_OPTIONS").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// Returns true if the error only concerns unimplemented parts.
fn is_not_yet(error: &str) -> bool {
    error.lines().all(|line| line.contains(" natsd has no ") && line.ends_with(" yet"))
}

/// Returns true if each error begins with `file:line:column: `.
fn has_places(file: &str, error: &str) -> bool {
    error.lines().all(|line| {
        let mut parts = line.strip_prefix(file).unwrap_or_default().splitn(4, ':').skip(1);
        let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
        is_number(parts.next()) && is_number(parts.next()) && parts.next().is_some()
    })
}

#[test]
fn every_valid_file_gives_the_stored_values_or_requests_an_unimplemented_part() {
    let mut found = String::new();
    for (file, read) in read("valid") {
        match read {
            Ok(loaded) => {
                writeln!(found, "{file} {}", normal_form::difference(&loaded.options)).unwrap();
                for warning in loaded.warnings {
                    let warning = warning.to_string().replace(&prefix("valid"), "");
                    writeln!(found, "  warned: {warning}").unwrap();
                }
            }
            Err(error) => {
                assert!(is_not_yet(&error), "{error}");
                writeln!(found, "{file} not yet").unwrap();
                for line in error.lines() {
                    writeln!(found, "  {line}").unwrap();
                }
            }
        }
    }
    expect("valid/values.txt", &found);
}

#[test]
fn every_broken_file_is_refused_with_its_places_and_reasons() {
    let mut found = String::new();
    for (file, read) in read("broken") {
        let Err(error) = read else { panic!("{file} was read") };
        assert!(has_places(&file, &error), "{error}");
        writeln!(found, "{error}").unwrap();
    }
    expect("broken/errors.txt", &found);
}

#[test]
fn the_defaults_are_the_stored_ones() {
    let defaults = normal_form::of(&broker_bin::Options::default());
    expect("defaults.json", &format!("{defaults:#}\n"));
}
