//! Gauges and counters under one recorder.

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const METADATA: Metadata<'static> = Metadata::new("natsd", Level::INFO, None);

/// See the module.
pub(super) struct Writer {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Writer {
    /// All series have this server's label.
    pub(super) fn new(server_id: &str) -> Self {
        let recorder =
            PrometheusBuilder::new().add_global_label("server_id", server_id).build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    pub(super) fn gauge(&self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let (key, name, help) = describe(name, help, labels);
        self.recorder.describe_gauge(name, None, help.into());
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }

    pub(super) fn counter(&self, name: &str, help: &str, labels: Labels<'_>, value: u64) {
        let (key, name, help) = describe(name, help, labels);
        self.recorder.describe_counter(name, None, help.into());
        self.recorder.register_counter(&key, &METADATA).absolute(value);
    }

    /// The text, metric by metric in the order of their names.
    pub(super) fn finish(self) -> String {
        let text = self.handle.render();
        let mut metrics: Vec<String> = text
            .split("\n\n")
            .filter(|metric| !metric.trim().is_empty())
            .map(sort_series)
            .collect();
        metrics.sort_unstable();
        metrics.concat()
    }
}

fn describe(name: &str, help: &str, labels: Labels<'_>) -> (Key, KeyName, String) {
    let labels: Vec<Label> =
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    let key = Key::from_parts(name.to_owned(), labels);
    (key, KeyName::from(name.to_owned()), help.to_owned())
}

/// `# HELP` and `# TYPE`, then the series.
fn sort_series(metric: &str) -> String {
    let mut lines: Vec<&str> = metric.trim().lines().collect();
    lines.sort_by_key(|line| (!line.starts_with('#'), *line));
    lines.iter().map(|line| format!("{line}\n")).collect()
}
