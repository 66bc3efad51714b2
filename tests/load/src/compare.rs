//! Measures several servers in turn, and computes medians and the ratios of each round.

use crate::arena::measure;
use crate::cli::Work;
use crate::fault::Fault;
use crate::report::{Measure, Report};
use crate::scenario::Scenario;
use crate::stats::{median, median_ratio};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<Series>);

/// One scenario: for each server the report of each round, or `None` if it failed.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) scenario: &'static Scenario,
    pub(crate) reports: Vec<Vec<Option<Report>>>,
}

/// One measure of one scenario, for each server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The scenario's name.
    pub(crate) name: &'static str,
    /// Its description.
    pub(crate) about: &'static str,
    /// The measure.
    pub(crate) measure: Measure,
    /// The median of the rounds.
    pub(crate) medians: Vec<Option<f64>>,
    /// The median of the ratios to the first server.
    pub(crate) ratios: Vec<Option<f64>>,
}

/// Measures, and prints a line of JSON for each run.
///
/// # Errors
/// Runs have failed; the results of the others are returned as well.
pub(crate) fn run(work: &Work, labels: &[String]) -> (Results, Result<(), Fault>) {
    let mut results = Results::default();
    let mut failed = 0;
    for &scenario in &work.scenarios {
        let mut reports = vec![Vec::new(); work.recipes.len()];
        for round in 1..=work.rounds {
            for (index, recipe) in work.recipes.iter().enumerate() {
                if recipe.is_relay() && !scenario.relay {
                    reports[index].push(None);
                    continue;
                }
                let mut head = vec![("scenario", scenario.name), ("server", &labels[index])];
                let number = round.to_string();
                if work.rounds > 1 {
                    head.push(("round", &number));
                }
                match measure(recipe, scenario, work.effort) {
                    Ok(report) => {
                        println!("{}", report.json(&head));
                        reports[index].push(Some(report));
                    }
                    Err(fault) => {
                        failed += 1;
                        let error = fault.to_string();
                        head.push(("error", &error));
                        println!("{}", Report::default().json(&head));
                        eprintln!("load: {} ({}): {fault}", scenario.name, labels[index]);
                        reports[index].push(None);
                    }
                }
            }
        }
        results.0.push(Series { scenario, reports });
    }
    (results, if failed > 0 { Err(Fault::Runs(failed)) } else { Ok(()) })
}

impl Results {
    /// Returns the declared measures of each scenario.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = self.0.iter().flat_map(|s| s.scenario.measures.iter().map(|m| s.row(*m)));
        rows.filter(|row| row.medians.iter().any(Option::is_some)).collect()
    }

    /// Returns the first measure of each scenario.
    pub(crate) fn first_rows(&self) -> Vec<Row> {
        let rows = self.0.iter().filter_map(|s| Some(s.row(*s.scenario.measures.first()?)));
        rows.filter(|row| row.ratios.iter().any(Option::is_some)).collect()
    }

    /// Returns one measure of each scenario that has it.
    pub(crate) fn rows_of(&self, measure: Measure) -> Vec<Row> {
        let rows = self.0.iter().map(|s| s.row(measure));
        rows.filter(|row| row.medians.iter().any(Option::is_some)).collect()
    }

    #[cfg(test)]
    pub(crate) fn from_series(series: Vec<Series>) -> Self {
        Self(series)
    }
}

impl Series {
    fn row(&self, measure: Measure) -> Row {
        let value = |report: &Option<Report>| report.as_ref()?.get(measure);
        let of = |reports: &Vec<Option<Report>>| reports.iter().map(value).collect::<Vec<_>>();
        let values: Vec<Vec<Option<f64>>> = self.reports.iter().map(of).collect();
        let first = values.first().cloned().unwrap_or_default();
        let medians =
            values.iter().map(|v| median(&v.iter().flatten().copied().collect::<Vec<_>>()));
        let ratios = values.iter().skip(1).map(|values| {
            // Uses only rounds that both completed.
            let pairs = first.iter().zip(values).filter_map(|(a, b)| a.zip(*b));
            let (theirs, ours): (Vec<_>, Vec<_>) = pairs.unzip();
            median_ratio(&theirs, &ours)
        });
        Row {
            name: self.scenario.name,
            about: self.scenario.about,
            measure,
            medians: medians.collect(),
            ratios: std::iter::once(None).chain(ratios).collect(),
        }
    }
}

/// Returns the servers' names in tables, distinguished by version.
pub(crate) fn labels(work: &Work) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for recipe in &work.recipes {
        let mut label = match number(&recipe.version()) {
            Some(number) => format!("{} {number}", recipe.name),
            None => recipe.name.clone(),
        };
        while labels.contains(&label) {
            label.push('′');
        }
        labels.push(label);
    }
    labels
}

/// Returns the first version number in a server's version output.
fn number(version: &str) -> Option<&str> {
    let words = version.split([' ', ':', '(']).map(|word| word.trim_start_matches('v'));
    words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CPU, RATE};
    use crate::scenario::SCENARIOS;

    fn report(cpu: f64) -> Option<Report> {
        let mut report = Report::default();
        report.add(CPU, cpu);
        Some(report)
    }

    #[test]
    fn a_server_is_called_by_its_own_version() {
        assert_eq!(number("nats-server: v2.14.5"), Some("2.14.5"));
        assert_eq!(number("natsd: v0.1.0 (NATS 2.14.5)"), Some("0.1.0"));
        assert_eq!(number("a relay that parses nothing"), None);
    }

    #[test]
    fn a_round_that_failed_for_one_counts_for_neither_in_the_ratio() {
        let series = Series {
            scenario: &SCENARIOS[0],
            reports: vec![
                vec![report(100.0), report(300.0), report(100.0)],
                vec![report(50.0), None, report(70.0)],
            ],
        };
        let results = Results::from_series(vec![series]);
        let row = &results.rows()[0];
        assert_eq!(row.medians, [Some(100.0), Some(60.0)]);
        assert_eq!(row.ratios, [None, Some(0.6)]);
        assert_eq!(results.first_rows().len(), 1);
        assert!(results.rows_of(RATE).is_empty());
    }
}
