//! Source rules that no lint can check.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// A model checker can then replace the types. (To a lint, re-exported types are the same.)
#[test]
fn only_one_file_names_an_atomic() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let naming: Vec<PathBuf> = sources(&src)
        .into_iter()
        .filter(|file| fs::read_to_string(file).unwrap().contains("::atomic::"))
        .collect();
    assert_eq!(naming, [src.join("sync.rs")]);
}
