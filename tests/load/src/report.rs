//! The results of one run of a scenario.

use std::fmt::Write;
use std::time::Duration;

use crate::run::Outcome;
use crate::sample::Cost;
use crate::stats::{Latencies, Percentiles};

/// A measure: its key in JSON and its form in tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Measure {
    /// The key in JSON, with its unit.
    pub(crate) key: &'static str,
    /// The name in tables.
    pub(crate) label: &'static str,
    /// Decimal digits.
    digits: usize,
}

impl Measure {
    const fn new(key: &'static str, label: &'static str, digits: usize) -> Self {
        Self { key, label, digits }
    }

    /// Formats a value, with blanks between thousands.
    pub(crate) fn show(&self, value: f64) -> String {
        let text = format!("{value:.*}", self.digits);
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let mut shown = String::new();
        for (index, digit) in whole.chars().enumerate() {
            let left = whole.len() - index;
            if index > 0 && left.is_multiple_of(3) && !shown.ends_with('-') {
                shown.push(',');
            }
            shown.push(digit);
        }
        if part.is_empty() { shown } else { format!("{shown}.{part}") }
    }
}

macro_rules! measures {
    ($($name:ident $key:literal $label:literal $digits:literal;)*) => {
        $(pub(crate) const $name: Measure = Measure::new($key, $label, $digits);)*
    };
}

measures! {
    MESSAGES "messages" "messages" 0;
    SECONDS "seconds" "seconds" 3;
    RATE "msgs_per_s" "messages/s" 0;
    BYTES_RATE "mb_per_s" "MB/s" 1;
    CPU "cpu_ns" "CPU ns/message" 1;
    SYSTEM "system_share" "of it in the kernel" 3;
    CLIENT_CPU "client_cpu_ns" "client CPU ns/message" 1;
    SLEEPS "sleeps_per_1k" "thread sleeps per 1,000 messages" 2;
    P50 "p50_us" "p50 µs" 1;
    P99 "p99_us" "p99 µs" 1;
    P999 "p999_us" "p99.9 µs" 1;
    MAX "max_us" "longest µs" 1;
    RSS_IDLE "rss_idle_kib" "RSS idle KiB" 0;
    RSS_PEAK "rss_peak_kib" "RSS peak KiB" 0;
    RSS_AFTER "rss_after_kib" "RSS after KiB" 0;
    SETTLED "rss_after_s" "seconds after the last client" 1;
    SUBSCRIPTIONS "subscriptions" "subscriptions" 0;
    RSS_SUBSCRIPTION "rss_per_subscription_b" "RSS B/subscription" 0;
    CPU_SUBSCRIPTION "cpu_per_subscription_ns" "CPU ns/subscription made" 0;
    CONNECTIONS "connections" "connections" 0;
    RSS_CONNECTION "rss_per_connection_b" "RSS B/connection" 0;
    RSS_CONNECTION_LATER "rss_per_connection_later_b" "RSS B/connection, 2 s later" 0;
    CPU_CONNECTION "cpu_per_connection_us" "CPU µs/connection" 1;
    CPU_IDLE "idle_cpu_percent" "CPU % while idle" 2;
    CHURN "churn_per_s" "subscriptions made and ended/s" 0;
    KEPT "rate_kept_percent" "publisher's rate kept %" 1;
    P99_FACTOR "p99_factor" "p99 ÷ p99 with nobody stalled" 2;
    P99_WITHOUT "p99_without_us" "p99 µs with nobody stalled" 1;
    CPU_FACTOR "cpu_factor" "CPU ÷ CPU with nobody stalled" 2;
    RELOADS "reloads" "reloads" 0;
    P99_FACTOR_RELOAD "p99_factor_reload" "p99 ÷ p99 without reloads" 2;
    P99_WITHOUT_RELOAD "p99_without_reload_us" "p99 µs without reloads" 1;
    MAX_WITHOUT "max_without_us" "longest µs without reloads" 1;
    MAX_SUBSCRIBING "max_subscribing_us" "longest µs while another subscribes" 0;
    MAX_AT_REST "max_at_rest_us" "longest µs at rest" 0;
    CUT "stalled_cut" "stalled subscriber cut off" 0;
}

/// The values of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report(Vec<(Measure, f64)>);

impl Report {
    /// Adds a value. Undefined values (nothing was measured) are omitted.
    pub(crate) fn add(&mut self, measure: Measure, value: f64) {
        if value.is_finite() {
            self.0.push((measure, value));
        }
    }

    /// Returns the value of a measure.
    pub(crate) fn get(&self, measure: Measure) -> Option<f64> {
        self.0.iter().find(|(m, _)| *m == measure).map(|(_, value)| *value)
    }

    /// Adds the cost of `count` messages.
    pub(crate) fn add_cost(&mut self, count: u64, cost: &Cost) {
        let count = count as f64;
        self.add(CPU, nanos(cost.cpu) / count);
        self.add(MESSAGES, count);
        self.add(SECONDS, cost.wall.as_secs_f64());
        self.add(RATE, count / cost.wall.as_secs_f64());
        self.add(SYSTEM, cost.system_share);
        self.add(CLIENT_CPU, nanos(cost.own_cpu) / count);
        self.add(SLEEPS, cost.switches as f64 * 1000.0 / count);
    }

    /// Adds the cost of a phase of publishing, per message delivered, or per message published
    /// without receivers.
    pub(crate) fn add_outcome(&mut self, outcome: &Outcome, payload_bytes: usize) {
        let count = if outcome.delivered > 0 { outcome.delivered } else { outcome.published };
        self.add_cost(count, &outcome.cost);
        let bytes = count as f64 * payload_bytes as f64;
        self.add(BYTES_RATE, bytes / 1e6 / outcome.cost.wall.as_secs_f64());
    }

    /// Adds percentiles, if there are any, and returns them.
    pub(crate) fn add_latencies(&mut self, latencies: Latencies) -> Option<Percentiles> {
        let all = latencies.percentiles()?;
        for (measure, value) in [(P50, all.p50), (P99, all.p99), (P999, all.p999), (MAX, all.max)] {
            self.add(measure, micros(value));
        }
        Some(all)
    }

    /// Formats one line of JSON that begins with `head`.
    pub(crate) fn json(&self, head: &[(&str, &str)]) -> String {
        let mut line = String::from("{");
        for (key, value) in head {
            // Strings are quoted by serde, so that any file name is valid.
            let _ = write!(line, "\"{key}\":{},", serde_json::Value::from(*value));
        }
        for (measure, value) in &self.0 {
            let _ = write!(line, "\"{}\":{value:.*},", measure.key, measure.digits);
        }
        line.truncate(line.trim_end_matches(',').len());
        line.push('}');
        line
    }
}

/// Converts to nanoseconds, with fraction.
pub(crate) fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Converts to microseconds, with fraction.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_json() {
        let mut report = Report::default();
        report.add(CPU, 12.345);
        report.add(MESSAGES, 1e6);
        report.add(RATE, f64::NAN);
        let line = report.json(&[("scenario", "a \"b\"")]);
        assert_eq!(line, r#"{"scenario":"a \"b\"","cpu_ns":12.3,"messages":1000000}"#);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["messages"], 1_000_000);
    }

    #[test]
    fn large_numbers_are_printed_in_groups_of_three() {
        assert_eq!(RATE.show(1_234_567.4), "1,234,567");
        assert_eq!(RATE.show(999.0), "999");
        assert_eq!(P50.show(1_234.56), "1,234.6");
        assert_eq!(CPU.show(-123.0), "-123.0");
    }

    #[test]
    fn costs_are_reported_per_message() {
        let second = Duration::from_secs(1);
        let cost = Cost { wall: second * 2, cpu: second, own_cpu: second / 2, ..Cost::default() };
        let outcome = Outcome { published: 1000, delivered: 2000, publishing: second, cost };
        let mut report = Report::default();
        report.add_outcome(&outcome, 500);
        assert_eq!(report.get(CPU), Some(500_000.0));
        assert_eq!(report.get(CLIENT_CPU), Some(250_000.0));
        assert_eq!(report.get(RATE), Some(1000.0));
        assert_eq!(report.get(BYTES_RATE), Some(0.5));
        assert_eq!(report.get(P50), None);
    }
}
