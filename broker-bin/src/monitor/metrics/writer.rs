//! Writes gauges and counters to one recorder, and as text histograms whose buckets are counted elsewhere, and gauges of
//! which there are many.

use std::cell::RefCell;
use std::collections::BTreeMap;

use broker_core::latency::{BOUNDS, Histogram};
use broker_core::sort::sort_by_key;
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};
use metrics_exporter_prometheus::{
    LabelSet, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

const METADATA: Metadata<'static> = Metadata::new("natsd", Level::INFO, None);

/// See the module documentation.
pub(super) struct Writer {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    server_id: String,
    histograms: RefCell<Vec<String>>,
    /// The text of gauges by their names.
    lines: RefCell<BTreeMap<String, String>>,
}

/// The labels of several series, as they are written.
#[cfg(feature = "streams")]
pub(super) struct LabelText(String);

#[cfg(feature = "streams")]
impl LabelText {
    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Writer {
    /// Adds the server's label to all series.
    pub(super) fn new(server_id: &str) -> Self {
        let recorder =
            PrometheusBuilder::new().add_global_label("server_id", server_id).build_recorder();
        let handle = recorder.handle();
        let server_id = server_id.to_owned();
        let (histograms, lines) = (RefCell::default(), RefCell::default());
        Self { recorder, handle, server_id, histograms, lines }
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

    /// The recorder would need every single measurement.
    pub(super) fn histogram(&self, name: &str, help: &str, histogram: &Histogram) {
        let labels = self.label_set(&[]);
        let mut text = String::new();
        write_help_line(&mut text, name, None, None, help);
        write_type_line(&mut text, name, None, None, "histogram");
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
        let mut count = 0;
        for (bound, counted) in bounds.chain(["+Inf".to_owned()]).zip(histogram.counts) {
            count += counted;
            let le = Some(("le", bound));
            write_metric_line(&mut text, name, Some("bucket"), &labels, le, count, None);
        }
        let no_label = None::<(&str, &str)>;
        let sum = histogram.sum.as_secs_f64();
        write_metric_line(&mut text, name, Some("sum"), &labels, no_label, sum, None);
        write_metric_line(&mut text, name, Some("count"), &labels, no_label, count, None);
        self.histograms.borrow_mut().push(text);
    }

    /// Returns labels with the server's, for [`Self::line`].
    #[cfg(feature = "streams")]
    pub(super) fn label_text(&self, labels: Labels<'_>) -> LabelText {
        let labels: Vec<String> = self.label_set(labels).to_strings().collect();
        LabelText(labels.join(","))
    }

    fn label_set(&self, labels: Labels<'_>) -> LabelSet {
        let labels = [&[("server_id", &*self.server_id)], labels].concat();
        let (key, ..) = describe("", "", &labels);
        LabelSet::from_key_and_global(&key, &Default::default())
    }

    /// Writes one of many gauges with the same labels. The recorder would keep the labels of each.
    #[cfg(feature = "streams")]
    pub(super) fn line(&self, name: &str, help: &str, labels: &LabelText, value: f64) {
        use std::fmt::Write as _;

        let mut lines = self.lines.borrow_mut();
        if !lines.contains_key(name) {
            let mut text = String::new();
            write_help_line(&mut text, name, None, None, help);
            write_type_line(&mut text, name, None, None, "gauge");
            lines.insert(name.to_owned(), text);
        }
        if let Some(text) = lines.get_mut(name) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{{{}}} {value}", labels.0);
        }
    }

    /// Returns the text, with metrics sorted by name.
    pub(super) fn finish(self) -> String {
        let text = self.handle.render();
        let mut metrics: Vec<String> = text
            .split("\n\n")
            .filter(|metric| !metric.trim().is_empty())
            .map(sort_series)
            .chain(self.histograms.into_inner())
            .chain(self.lines.into_inner().into_values())
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

/// Sorts the series after `# HELP` and `# TYPE`.
fn sort_series(metric: &str) -> String {
    let mut lines: Vec<&str> = metric.trim().lines().collect();
    sort_by_key(&mut lines, |line| (!line.starts_with('#'), *line));
    lines.iter().map(|line| format!("{line}\n")).collect()
}
