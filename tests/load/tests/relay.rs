//! The whole program, with its relay as the server.

#![allow(clippy::unwrap_used, reason = "the functions around the tests are tests as well")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

const LOAD: &str = env!("CARGO_BIN_EXE_load");

fn load(args: &[&str]) -> Output {
    Command::new(LOAD).args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_relay_delivers_everything_and_its_cost_is_reported() {
    let names = ["pub_16", "one_to_one_16", "headers_128", "fan_10_128", "one_to_one_256k"];
    let output = load(&[&["limit", "--quick"], &names[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), names.len());
    for (line, name) in lines.iter().zip(names) {
        assert_eq!(line["scenario"], name);
        for key in ["messages", "msgs_per_s", "mb_per_s", "cpu_ns", "rss_peak_kib"] {
            assert!(line[key].as_f64().unwrap() > 0.0, "{key} of {line}");
        }
    }
}

#[test]
fn latency_is_reported_where_measured() {
    let output = load(&["limit", "--quick", "request_1", "request_100", "latency_20k", "ping"]);
    assert!(output.status.success(), "{output:?}");
    for line in lines(&output) {
        let us = |key: &str| line[key].as_f64().unwrap();
        assert!(us("p50_us") > 0.0 && us("p50_us") <= us("p99_us"), "{line}");
        assert!(us("p99_us") <= us("p999_us"), "{line}");
    }
}

#[test]
fn a_comparison_ends_in_tables_and_a_plot() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (table, svg) = (format!("{folder}/table.md"), format!("{folder}/plot.svg"));
    let relay = format!("{LOAD} relay");
    let output = load(&[
        "--compare",
        &relay,
        &relay,
        "--rounds",
        "2",
        "--quick",
        "--table",
        &table,
        "--svg",
        &svg,
        "one_to_one_128",
    ]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let servers: Vec<String> = text
        .lines()
        .take(4)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["server"].to_string())
        .collect();
    assert_eq!(servers, ["\"load\"", "\"load′\"", "\"load\"", "\"load′\""], "{text}");
    let summary: Value = serde_json::from_str(text.lines().nth(4).unwrap()).unwrap();
    assert!(summary["rows"][0]["ratios"][1].as_f64().unwrap() > 0.0);
    assert!(std::fs::read_to_string(table).unwrap().contains("| 1 → 1, 128 B | CPU ns/message |"));
    assert!(std::fs::read_to_string(svg).unwrap().ends_with("</svg>\n"));
}

#[test]
fn a_server_that_dies_is_an_error_that_names_the_scenario() {
    // Without --quick the run would outlast the server.
    let server = format!("timeout 1 {LOAD} relay");
    let begun = Instant::now();
    let output = load(&["--server", &server, "latency_20k"]);
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(8), "no deadline had to pass");
    let line = &lines(&output)[0];
    assert_eq!(line["scenario"], "latency_20k");
    assert!(line["error"].as_str().is_some_and(|e| !e.is_empty()), "{line}");
}

#[test]
fn a_server_that_delivers_wrongly_is_an_error() {
    // A relay ignores wildcards and queue groups: each member receives everything.
    let output = load(&["--server", &format!("{LOAD} relay"), "--quick", "queue_10"]);
    assert!(!output.status.success());
    let line = &lines(&output)[0];
    assert!(line["error"].as_str().is_some_and(|e| !e.is_empty()), "{line}");
}

#[test]
fn an_unknown_scenario_is_refused_with_the_list_of_names() {
    let output = load(&["limit", "one_to_three"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("one_to_three") && text.contains("one_to_one_16k"), "{text}");
}
