//! The scenarios, by name.

use crate::arena::Arena;
use crate::carrier::Way;
use crate::connections::{idle, ping, storm};
use crate::disturbed::{churn, stalled};
use crate::fault::Fault;
use crate::leaving::{Filters, leaving};
use crate::reload::reload;
use crate::report::{
    CPU, CPU_CONNECTION, CPU_FACTOR, KEPT, MAX, MAX_AT_REST, MAX_SUBSCRIBING, MAX_WITHOUT, Measure,
    P50, P99, P99_FACTOR, P99_WITHOUT_RELOAD, RATE, RSS_CONNECTION, RSS_CONNECTION_LATER,
    RSS_SUBSCRIPTION,
};
use crate::request::{Inboxes, requests};
use crate::stored;
use crate::streams::{self, literals, steady, stream, wildcards};
use crate::tls;

/// A typical use of a server whose cost is measured.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// The description.
    pub(crate) about: &'static str,
    /// The measures shown in comparisons; the first one is plotted.
    pub(crate) measures: &'static [Measure],
    /// True if the relay can replace the server.
    pub(crate) relay: bool,
    /// The transport of clients.
    pub(crate) way: Way,
    /// Runs the scenario.
    pub(crate) run: fn(&mut Arena<'_>) -> Result<(), Fault>,
}

const CPU_ONLY: &[Measure] = &[CPU];
const CPU_AND_LATENCY: &[Measure] = &[CPU, P50, P99];
const LATENCY: &[Measure] = &[P50, P99, CPU];

const STALLED: &[Measure] = &[P99, P99_FACTOR, KEPT, CPU_FACTOR];

const RELOADED: &[Measure] = &[P99, MAX, P99_WITHOUT_RELOAD, MAX_WITHOUT];

const LEFT: &[Measure] = &[MAX, MAX_SUBSCRIBING, MAX_AT_REST, RSS_SUBSCRIPTION];

macro_rules! scenarios {
    ($($name:ident: $about:literal, $measures:expr, $relay:literal, $run:expr $(, $way:ident)?;)*) => {
        /// All scenarios in the order of execution.
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            about: $about,
            measures: $measures,
            relay: $relay,
            way: scenarios!(@way $($way)?),
            run: $run,
        }),*];
    };
    (@way) => { Way::Plain };
    (@way $way:ident) => { Way::$way };
}

scenarios! {
    pub_16: "publish 16 B, nobody listens", CPU_ONLY, true, |a| stream(a, streams::publish_only());
    one_to_one_16: "1 → 1, 16 B", CPU_ONLY, true, |a| stream(a, streams::fan_out(1, 16));
    one_to_one_128: "1 → 1, 128 B", CPU_ONLY, true, |a| stream(a, streams::fan_out(1, 128));
    one_to_one_1k: "1 → 1, 1 KiB", CPU_ONLY, true, |a| stream(a, streams::fan_out(1, 1 << 10));
    one_to_one_16k: "1 → 1, 16 KiB", CPU_ONLY, true, |a| stream(a, streams::fan_out(1, 16 << 10));
    one_to_one_256k: "1 → 1, 256 KiB", CPU_ONLY, true, |a| stream(a, streams::fan_out(1, 256 << 10));
    headers_128: "1 → 1, 128 B with two headers", CPU_ONLY, true, |a| stream(a, streams::headers());
    fan_10_128: "1 → 10, 128 B, per delivery", CPU_ONLY, true, |a| stream(a, streams::fan_out(10, 128));
    fan_100_128: "1 → 100, 128 B, per delivery", CPU_ONLY, true, |a| stream(a, streams::fan_out(100, 128));
    fan_1000_128: "1 → 1,000, 128 B, per delivery", CPU_ONLY, true, |a| stream(a, streams::fan_out(1000, 128));
    eight_to_eight_128: "8 → 8 on a subject each, 128 B", CPU_ONLY, false, |a| stream(a, streams::pairs(8));
    eighty_to_eighty_128: "80 → 80 on a subject each, 128 B", CPU_ONLY, false, |a| stream(a, streams::pairs(80));
    eight_by_eight_128: "8 → 8 on one subject, 128 B, per delivery", CPU_ONLY, false, |a| stream(a, streams::eight_by_eight());
    subjects_10k_star: "10,000 subjects into x.*, 128 B", CPU_ONLY, false, |a| stream(a, streams::many_subjects("x.*"));
    subjects_10k_full: "10,000 subjects into x.>, 128 B", CPU_ONLY, false, |a| stream(a, streams::many_subjects("x.>"));
    subjects_100k: "any of 100,000 subjects into x.>, 128 B", CPU_ONLY, false, |a| stream(a, streams::random_subjects(100_000));
    queue_10: "queue group of 10, 128 B", CPU_ONLY, false, |a| stream(a, streams::queue_group());
    subs_10k: "10,000 literal subscriptions, random publish", &[CPU, RSS_SUBSCRIPTION], false, |a| literals(a, 10_000);
    subs_100k: "100,000 literal subscriptions, random publish", &[CPU, RSS_SUBSCRIPTION], false, |a| literals(a, 100_000);
    subs_1m: "1,000,000 literal subscriptions, random publish", &[CPU, RSS_SUBSCRIPTION], false, |a| literals(a, 1_000_000);
    wildcards_1k: "1,000 wildcard subscriptions, 10 million subjects", CPU_ONLY, false, |a| wildcards(a, 1_000);
    wildcards_10k: "10,000 wildcard subscriptions, 100 million subjects", CPU_ONLY, false, |a| wildcards(a, 10_000);
    request_1: "request/reply, 1 outstanding", LATENCY, true, |a| requests(a, 1, Inboxes::Shared);
    request_100: "request/reply, 100 outstanding", CPU_AND_LATENCY, true, |a| requests(a, 100, Inboxes::Shared);
    request_old: "request/reply, 100 outstanding, an inbox each", CPU_AND_LATENCY, false, |a| requests(a, 100, Inboxes::Each);
    ping: "PING and PONG, one at a time", LATENCY, true, ping;
    latency_20k: "1 → 1, 128 B, 20,000 messages/s", LATENCY, true, |a| steady(a, 20_000);
    latency_100k: "1 → 1, 128 B, 100,000 messages/s", LATENCY, true, |a| steady(a, 100_000);
    idle_5k: "5,000 idle connections with a subscription each", &[RSS_CONNECTION, RSS_CONNECTION_LATER], false, idle;
    tls_one_to_one_128: "TLS 1 → 1, 128 B", CPU_ONLY, false, |a| stream(a, streams::fan_out(1, 128)), Tls;
    tls_2k: "2,000 TLS connections, set up and idle", &[CPU_CONNECTION, RSS_CONNECTION, RSS_CONNECTION_LATER], false, tls::connections, Tls;
    websocket_one_to_one_128: "WebSocket 1 → 1, 128 B", CPU_ONLY, false, |a| stream(a, streams::fan_out(1, 128)), WebSocket;
    hop_one_to_one_16: "one hop, 1 → 1, 16 B", CPU_ONLY, false, |a| stream(a, streams::fan_out(1, 16)), Cluster;
    hop_one_to_one_128: "one hop, 1 → 1, 128 B", CPU_ONLY, false, |a| stream(a, streams::fan_out(1, 128)), Cluster;
    hop_one_to_one_1k: "one hop, 1 → 1, 1 KiB", CPU_ONLY, false, |a| stream(a, streams::fan_out(1, 1 << 10)), Cluster;
    hop_fan_10_128: "one hop, 1 → 10, 128 B, per delivery", CPU_ONLY, false, |a| stream(a, streams::fan_out(10, 128)), Cluster;
    hop_queue_10: "one hop, queue group of 10, 128 B", CPU_ONLY, false, |a| stream(a, streams::queue_group()), Cluster;
    hop_request_1: "one hop, request/reply, 1 outstanding", LATENCY, false, |a| requests(a, 1, Inboxes::Shared), Cluster;
    js_memory_128: "stream in memory, 128 B, 1,000 outstanding", CPU_AND_LATENCY, false, |a| stored::publish(a, "memory", 1_000), Streams;
    js_file_128: "stream in files, 128 B, 1,000 outstanding", CPU_AND_LATENCY, false, |a| stored::publish(a, "file", 1_000), Streams;
    js_memory_1: "stream in memory, 128 B, 1 outstanding", LATENCY, false, |a| stored::publish(a, "memory", 1), Streams;
    js_file_1: "stream in files, 128 B, 1 outstanding", LATENCY, false, |a| stored::publish(a, "file", 1), Streams;
    js_memory_pull: "fetch 100 from memory and acknowledge, 128 B", CPU_AND_LATENCY, false, |a| stored::pull(a, "memory"), Streams;
    js_file_pull: "fetch 100 from files and acknowledge, 128 B", CPU_AND_LATENCY, false, |a| stored::pull(a, "file"), Streams;
    js_memory_push: "ordered push from memory, 128 B", CPU_ONLY, false, |a| stored::push(a, "memory"), Streams;
    js_file_push: "ordered push from files, 128 B", CPU_ONLY, false, |a| stored::push(a, "file"), Streams;
    storm: "connect, CONNECT, PING, close", &[CPU_CONNECTION, P50, P99], false, storm;
    churn: "50,000 messages/s beside 20,000 short subscriptions/s", &[CPU, P50, P99, RATE], false, churn;
    reload_14k: "14,000 messages/s beside 50 reloads/s", RELOADED, false, reload;
    leave_1m: "PING while one with 1,000,000 subscriptions leaves", LEFT, false, |a| leaving(a, Filters::Literal, 1_000_000);
    leave_1m_wildcards: "the same with wildcards", LEFT, false, |a| leaving(a, Filters::Wildcard, 1_000_000);
    leave_1m_same: "the same, all of them to one subject", LEFT, false, |a| leaving(a, Filters::Same, 1_000_000);
    stalled_20k: "one of three stalled, 20,000 messages/s of 4 KiB", STALLED, false, |a| stalled(a, Some(20_000));
    stalled_flood: "one of three stalled, 1 KiB as fast as it goes", STALLED, false, |a| stalled(a, None);
}

/// Returns the scenario of that name.
///
/// # Errors
/// There is none; the message lists the names.
pub(crate) fn find(name: &str) -> Result<&'static Scenario, Fault> {
    SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| {
        let names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        Fault::Usage(format!("no scenario \"{name}\"; there are: {}", names.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_given_once_and_every_scenario_has_a_measure() {
        let names: HashSet<_> = SCENARIOS.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(SCENARIOS.iter().all(|s| !s.measures.is_empty() && !s.about.is_empty()));
        assert!(SCENARIOS.iter().all(|s| s.about.chars().count() <= 56), "it must fit the plot");
        assert!(find("pub_16").is_ok());
        assert!(find("nothing").unwrap_err().to_string().contains("one_to_one_16 "));
    }
}
