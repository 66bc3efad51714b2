//! Formats a comparison as Markdown and as JSON.

use std::fmt::Write;
use std::process::{Command, Stdio};

use crate::cli::Work;
use crate::compare::{Results, Row};
use crate::procfs::machine;
use crate::report::{Measure, RATE, RSS_AFTER, RSS_PEAK};

/// The conditions of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Processor, cores and kernel.
    pub(crate) machine: String,
    /// The servers' names in tables.
    pub(crate) labels: Vec<String>,
    /// The servers' version output.
    pub(crate) versions: Vec<String>,
    /// The commit of the current folder, if it is a working copy. Nothing ties a server's binary to
    /// it, so that published tables must be made where the binary was built.
    pub(crate) commit: Option<String>,
    /// The number of rounds.
    pub(crate) rounds: usize,
}

impl Setting {
    /// Reads the current conditions.
    pub(crate) fn of(work: &Work, labels: &[String]) -> Self {
        Self {
            machine: machine(),
            labels: labels.to_vec(),
            versions: work.recipes.iter().map(|r| r.version()).collect(),
            commit: commit(),
            rounds: work.rounds,
        }
    }

    /// Formats one condition per line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.machine.clone()];
        lines.extend(self.labels.iter().zip(&self.versions).map(|(l, v)| format!("{l}: {v}")));
        let commit = self.commit.as_deref().map_or(String::new(), |c| format!(", commit {c}"));
        lines.push(format!("medians of {} rounds{commit}", self.rounds));
        lines
    }
}

/// Formats the whole comparison.
pub(crate) fn markdown(results: &Results, setting: &Setting) -> String {
    let mut text = String::new();
    for line in setting.lines() {
        let _ = writeln!(text, "- {line}");
    }
    text += "\n";
    table(&mut text, &results.rows(), &setting.labels, true);
    for (title, measure) in [
        ("Messages a second, by the clock", RATE),
        ("Most memory used, KiB", RSS_PEAK),
        ("Memory after the last client has left, KiB", RSS_AFTER),
    ] {
        let rows = results.rows_of(measure);
        if !rows.is_empty() {
            let _ = writeln!(text, "\n{title}:\n");
            table(&mut text, &rows, &setting.labels, false);
        }
    }
    text
}

fn table(text: &mut String, rows: &[Row], labels: &[String], with_measure: bool) {
    let mut heads = vec!["scenario".to_owned()];
    heads.extend(with_measure.then(|| "measure".to_owned()));
    heads.extend(labels.iter().cloned());
    heads.extend(labels.iter().skip(1).map(|l| format!("{l} ÷ {}", labels[0])));
    let words = if with_measure { 2 } else { 1 };
    let mut rules = vec!["---"; words];
    rules.resize(heads.len(), "--:");
    let _ = writeln!(text, "| {} |\n| {} |", heads.join(" | "), rules.join(" | "));
    for row in rows {
        let mut cells = vec![row.about.to_owned()];
        cells.extend(with_measure.then(|| row.measure.label.to_owned()));
        let shown = |v: &Option<f64>| v.map_or("–".into(), |v| row.measure.show(v));
        cells.extend(row.medians.iter().map(shown));
        cells.extend(row.ratios.iter().skip(1).map(|r| r.map_or("–".into(), ratio)));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// Formats a ratio with a sensible number of digits.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats medians and ratios as one line of JSON.
pub(crate) fn json(results: &Results, setting: &Setting) -> String {
    let number = |v: &Option<f64>| v.map_or("null".to_owned(), |v| format!("{v:.4}"));
    let list = |values: &[Option<f64>]| values.iter().map(number).collect::<Vec<_>>().join(",");
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let rows: Vec<_> = rows_with_memory(results)
        .iter()
        .map(|row| {
            format!(
                "{{\"scenario\":{},\"measure\":{},\"medians\":[{}],\"ratios\":[{}]}}",
                quote(row.name),
                quote(row.measure.key),
                list(&row.medians),
                list(&row.ratios)
            )
        })
        .collect();
    let quoted = |texts: &[String]| texts.iter().map(|t| quote(t)).collect::<Vec<_>>().join(",");
    format!(
        "{{\"servers\":[{}],\"versions\":[{}],\"machine\":{},\"commit\":{},\"rounds\":{},\
         \"rows\":[{}]}}",
        quoted(&setting.labels),
        quoted(&setting.versions),
        quote(&setting.machine),
        setting.commit.as_deref().map_or("null".into(), quote),
        setting.rounds,
        rows.join(",")
    )
}

fn rows_with_memory(results: &Results) -> Vec<Row> {
    let more: [Measure; 3] = [RATE, RSS_PEAK, RSS_AFTER];
    results.rows().into_iter().chain(more.into_iter().flat_map(|m| results.rows_of(m))).collect()
}

/// Returns the commit of the current folder, and whether there are changes since.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compare::Series;
    use crate::report::{CPU, Report};
    use crate::scenario::find;

    pub(crate) fn example() -> (Results, Setting) {
        let report = |cpu: f64, peak: f64| {
            let mut report = Report::default();
            report.add(CPU, cpu);
            report.add(RSS_PEAK, peak);
            Some(report)
        };
        let series = |name, theirs, ours| Series {
            scenario: find(name).unwrap(),
            reports: vec![
                vec![report(theirs, 20_000.0); 3],
                vec![report(ours, 10_000.0); 3],
                vec![None; 3],
            ],
        };
        let setting = Setting {
            machine: "ACME 9, 2 cores, Linux 6.1".into(),
            labels: vec!["nats-server 2.14.5".into(), "natsd 0.1.0".into(), "relay".into()],
            versions: vec!["nats-server: v2.14.5".into(), "natsd: v0.1.0".into(), "-".into()],
            commit: Some("0123456789ab".into()),
            rounds: 3,
        };
        let series = vec![series("one_to_one_16", 1498.0, 50.0), series("queue_10", 800.0, 88.0)];
        (Results::from_series(series), setting)
    }

    #[test]
    fn a_table_has_medians_ratios_and_conditions() {
        let (results, setting) = example();
        let text = markdown(&results, &setting);
        assert!(text.contains("- ACME 9, 2 cores, Linux 6.1\n"), "{text}");
        assert!(text.contains("- medians of 3 rounds, commit 0123456789ab\n"), "{text}");
        let row = "| 1 → 1, 16 B | CPU ns/message | 1,498.0 | 50.0 | – | 0.033 | – |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| queue group of 10, 128 B | 20,000 | 10,000 | – | 0.50 | – |"));
        let widths: Vec<_> = text.lines().filter(|l| l.starts_with('|')).map(cells).collect();
        assert_eq!(widths, [7, 7, 7, 7, 6, 6, 6, 6]);
    }

    fn cells(line: &str) -> usize {
        line.matches('|').count() - 1
    }

    #[test]
    fn the_summary_is_json() {
        let (results, setting) = example();
        let value: serde_json::Value = serde_json::from_str(&json(&results, &setting)).unwrap();
        assert_eq!(value["servers"][1], "natsd 0.1.0");
        assert_eq!(value["rows"][1]["scenario"], "queue_10");
        assert_eq!(value["rows"][1]["ratios"][1], 0.11);
        assert_eq!(value["rows"][1]["medians"][2], serde_json::Value::Null);
    }

    #[test]
    fn small_ratios_have_more_digits() {
        assert_eq!([0.0123, 0.5, 12.3].map(ratio), ["0.012", "0.50", "12"]);
    }
}
