//! Measurement of the response times of services.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Context;
use super::requester::{Requester, to_json};
use crate::headers::HeaderMap;
use crate::options::{Sampling, ServiceLatency};
use crate::random::Random;
use crate::timestamp::Timestamp;

/// Headers that asked for a measurement, as they are published.
pub(crate) type TracingHeaders = BTreeMap<String, Vec<String>>;

/// A request whose response time is measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) requester: Requester,
    pub(crate) since: Instant,
    pub(crate) at: SystemTime,
    pub(crate) headers: Option<TracingHeaders>,
}

/// The outcome of a measured request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The requester expects no response.
    BadRequest,
    /// The requester no longer waits.
    RequestTimeout,
    /// The service has no responder.
    Unavailable,
    /// The service has not responded in time.
    ServiceTimeout,
}

impl Outcome {
    fn status(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "Bad Request"),
            Self::RequestTimeout => (408, "Request Timeout"),
            Self::Unavailable => (503, "Service Unavailable"),
            Self::ServiceTimeout => (504, "Service Timeout"),
        }
    }
}

/// A measurement, in the reference's order. Durations are nanoseconds.
// NATS 2.14: accounts.go ServiceLatency.
#[derive(Debug, Serialize)]
struct Measurement<'a, R = Requester> {
    r#type: &'static str,
    id: &'a str,
    timestamp: Timestamp,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestor: Option<&'a Requester>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<&'a R>,
    #[serde(rename = "header", skip_serializing_if = "Option::is_none")]
    headers: Option<&'a TracingHeaders>,
    start: Timestamp,
    service: u64,
    system: u64,
    total: u64,
}

/// The part that the server of the responder measures.
// NATS 2.14: accounts.go ServiceLatency.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct There {
    #[serde(default)]
    pub(crate) responder: Option<Map<String, Value>>,
    #[serde(default)]
    service: i64,
}

impl There {
    /// Returns the time of the service.
    pub(crate) fn service(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.service).unwrap_or(0))
    }

    /// Returns the round trip between the responder and its server.
    pub(crate) fn round_trip(&self) -> Duration {
        let rtt = self.responder.as_ref().and_then(|responder| responder.get("rtt"));
        Duration::from_nanos(rtt.and_then(Value::as_u64).unwrap_or(0))
    }
}

const TYPE: &str = "io.nats.server.metric.v1.service_latency";

pub(super) fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

impl Measured {
    /// Returns the event of a request that was answered by `responder` just now.
    // NATS 2.14: accounts.go sendTrackingLatency.
    pub(crate) fn answered(&self, id: &str, responder: &Requester, context: &Context) -> Vec<u8> {
        let (now, wall) = (context.clock.now(), context.clock.wall());
        let took = now.saturating_duration_since(self.since);
        let (request, response) = (self.requester.round_trip(), responder.round_trip());
        let mut total = request + took;
        let mut system = Duration::ZERO;
        if !response.is_zero() {
            system = context.clock.now().saturating_duration_since(now);
            total += system;
        }
        to_json(&Measurement {
            r#type: TYPE,
            id,
            timestamp: Timestamp(wall),
            status: 200,
            description: "",
            requestor: Some(&self.requester),
            responder: Some(responder),
            headers: self.headers.as_ref(),
            start: Timestamp(self.at.checked_sub(request).unwrap_or(self.at)),
            service: nanos(took.saturating_sub(response)),
            system: nanos(system),
            total: nanos(total),
        })
    }

    /// Returns the event of a request that was answered by a client of another server.
    // NATS 2.14: accounts.go merge.
    pub(crate) fn answered_there(
        &self,
        id: &str,
        took: Duration,
        there: &There,
        context: &Context,
    ) -> Vec<u8> {
        let request = self.requester.round_trip();
        let service = there.service();
        to_json(&Measurement {
            r#type: TYPE,
            id,
            timestamp: Timestamp(context.clock.wall()),
            status: 200,
            description: "",
            requestor: Some(&self.requester),
            responder: there.responder.as_ref(),
            headers: self.headers.as_ref(),
            start: Timestamp(self.at.checked_sub(request).unwrap_or(self.at)),
            service: nanos(service),
            system: nanos(took.saturating_sub(service + there.round_trip())),
            total: nanos(request + took),
        })
    }

    /// Returns the event of a request that was not answered.
    pub(crate) fn failed(&self, id: &str, outcome: Outcome, context: &Context) -> Vec<u8> {
        let (status, description) = outcome.status();
        let request = self.requester.round_trip();
        to_json(&Measurement::<Requester> {
            r#type: TYPE,
            id,
            timestamp: Timestamp(context.clock.wall()),
            status,
            description,
            requestor: Some(&self.requester),
            responder: None,
            headers: self.headers.as_ref(),
            start: Timestamp(self.at.checked_sub(request).unwrap_or(self.at)),
            service: 0,
            system: 0,
            total: 0,
        })
    }
}

/// Decides whether a request is measured. Returns the headers that asked for it, if it was not by chance.
// NATS 2.14: accounts.go shouldSample.
pub(crate) fn is_sampled(
    latency: &ServiceLatency,
    block: &[u8],
    random: &mut Random,
) -> Option<Option<TracingHeaders>> {
    match latency.sampling {
        Sampling::Percent(100..) => return Some(None),
        Sampling::Percent(percent) if random.below(100) <= usize::from(percent) => {
            return Some(None);
        }
        Sampling::Percent(_) | Sampling::Headers => {}
    }
    let headers = if block.is_empty() { None } else { HeaderMap::parse(block) };
    asks(&headers?).map(Some)
}

/// Returns the tracing headers of a request that ask for a measurement.
fn asks(headers: &HeaderMap) -> Option<TracingHeaders> {
    let get = |name: &str| -> Option<(String, Vec<String>)> {
        let all = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<String> = all.map(|(_, value)| value.to_owned()).collect();
        (!values.is_empty()).then(|| (name.to_owned(), values))
    };
    let with = |names: &[&str]| names.iter().filter_map(|name| get(name)).collect();
    let first = |name: &str| get(name).and_then(|(_, values)| values.into_iter().next());
    if let Some(uber) = first("Uber-Trace-Id") {
        let parts: Vec<&str> = uber.split(':').collect();
        let flags = parts.get(3).filter(|flags| parts.len() == 4 && (1..=2).contains(&flags.len()));
        let is_set = flags
            .and_then(|flags| u8::from_str_radix(flags, 16).ok())
            .is_some_and(|it| it & 1 == 1);
        let mut sent: TracingHeaders = with(&["Uber-Trace-Id"]);
        for (name, value) in headers.iter() {
            if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Uberctx-")) {
                sent.entry(canonical(name)).or_default().push(value.to_owned());
            }
        }
        return is_set.then_some(sent);
    }
    const B3: [&str; 4] = ["X-B3-Sampled", "X-B3-Traceid", "X-B3-Parentspanid", "X-B3-Spanid"];
    match first("X-B3-Sampled").as_deref() {
        Some("1") => return Some(with(&B3)),
        Some("0") => return None,
        _ => {}
    }
    if first("X-B3-Traceid").is_some() {
        return Some(with(&B3));
    }
    if let Some(b3) = first("B3") {
        let parts: Vec<&str> = b3.split('-').collect();
        let is_denied = (parts.len() > 2 && parts[2] == "0") || parts == ["0"];
        return (!is_denied).then(|| with(&["B3"]));
    }
    let parent = first("Traceparent")?;
    let parts: Vec<&str> = parent.split('-').collect();
    let flags = parts.get(3).filter(|flags| parts.len() == 4 && flags.len() == 2)?;
    let is_set = i8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    is_set.then(|| with(&["Traceparent", "Tracestate"]))
}

/// Returns a header's name in Go's spelling: each word capitalized.
fn canonical(name: &str) -> String {
    let mut is_first = true;
    let letter = |letter: char| {
        let spelled =
            if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = letter == '-';
        spelled
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;

    fn sampled(fields: &str) -> Option<Vec<String>> {
        let latency = ServiceLatency::new(Subject::parse("l").unwrap(), Sampling::Headers);
        let block = format!("NATS/1.0\r\n{fields}\r\n");
        let headers = is_sampled(&latency, block.as_bytes(), &mut Random::new(1))?;
        Some(headers.unwrap().into_keys().collect())
    }

    #[test]
    fn headers_of_tracing_ask_for_a_measurement() {
        for (fields, names) in [
            ("", None),
            (
                "Uber-Trace-Id: a:b:c:1\r\nUberctx-x: y\r\n",
                Some(vec!["Uber-Trace-Id", "Uberctx-X"]),
            ),
            ("Uber-Trace-Id: a:b:c:0\r\n", None),
            ("Uber-Trace-Id: a:b:c\r\nB3: 1\r\n", None),
            ("X-B3-Sampled: 1\r\n", Some(vec!["X-B3-Sampled"])),
            ("X-B3-Sampled: 0\r\nX-B3-TraceId: a\r\n", None),
            ("X-B3-TraceId: a\r\n", Some(vec!["X-B3-Traceid"])),
            ("b3: a-b-1-c\r\n", Some(vec!["B3"])),
            ("B3: a-b-0-c\r\n", None),
            ("B3: 0\r\n", None),
            ("traceparent: 00-a-b-01\r\n", Some(vec!["Traceparent"])),
            ("traceparent: 00-a-b-00\r\n", None),
        ] {
            let names = names.map(|names| names.into_iter().map(String::from).collect());
            assert_eq!(sampled(fields), names, "{fields:?}");
        }
    }
}
