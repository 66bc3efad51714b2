//! States the commit that is built, which the log and `/varz` show.
//!
//! `BUILD_COMMIT` in the environment of the build comes first. It is for builds outside of a checkout, such as those in an
//! image.

use std::process::Command;

/// Digits of a commit, as `git` abbreviates it in the logs of nats-server.
const DIGITS: usize = 7;

fn main() {
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let given = std::env::var("BUILD_COMMIT").ok();
    if let Some(commit) = given.or_else(packaged).or_else(checked_out) {
        let commit: String = commit.trim().chars().take(DIGITS).collect();
        if !commit.is_empty() && commit.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            println!("cargo::rustc-env=BUILD_COMMIT={commit}");
        }
    }
}

/// Returns the commit that cargo wrote into the package.
fn packaged() -> Option<String> {
    let file = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = file.split_once("\"sha1\": \"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Returns the commit of the checkout, and repeats the build when it changes.
fn checked_out() -> Option<String> {
    // The log of HEAD changes with every commit and every change of branch.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if std::path::Path::new(log.trim()).exists() {
        println!("cargo::rerun-if-changed={}", log.trim());
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}
