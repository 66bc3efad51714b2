//! Requests that create consumers, or change them.
// NATS 2.14: jetstream_api.go jsConsumerCreateRequest, consumer.go addConsumerWithAssignment.

use super::call::Call;
use super::consumer::with_versions;
use super::request::{ConsumerAction, ConsumerCreateRequest};
use super::response::ConsumerFound;
use super::subject::ConsumerForm;
use crate::cell::Cell;
use crate::config::check::{
    MAX_NAME_BYTES, check_consumer, check_consumer_update, collide, set_consumer_defaults,
};
use crate::config::limits::{ServerLimits, TierLimits};
use crate::config::{
    AckPolicy, ConsumerConfig, DeliverPolicy, Retention, StreamConfig, Time, version,
};
use crate::error::ApiError;
use crate::outbox::Outbox;

/// The inactivity after which a consumer without a durable name is removed, in nanoseconds.
// NATS 2.14: consumer.go JsDeleteWaitTimeDefault.
const DEFAULT_INACTIVE_THRESHOLD: i64 = 5_000_000_000;
/// The length of a name that the server chooses.
// NATS 2.14: consumer.go createConsumerName.
const NAME_LEN: usize = 8;

pub(super) fn create(call: &mut Call<'_>, form: ConsumerForm<'_>) {
    let request = match check_request(call, form) {
        Ok(request) => request,
        Err(error) => return call.send::<ConsumerFound>("consumer_create", Err(error)),
    };
    let limits = call.host.limits().unwrap_or_default();
    let id = call.host.unique_id();
    let (now, identity) = (call.now, call.identity.clone());
    let stream = request.stream.clone();
    call.change("consumer_create", &stream, |cell, _, out| {
        let replicas = match request.config.replicas {
            0 => cell.stream().config().replicas,
            replicas => replicas,
        };
        let (_, account) = limits.select(replicas).ok_or(ApiError::NO_LIMITS)?;
        let creation = Creation { request, server: &identity.limits, account, id: &id, now };
        let name = creation.run(cell, out)?;
        let info = with_versions(cell, &name, now, &identity.version, out)?;
        Ok(ConsumerFound { info: Some(info) })
    });
}

/// Reads the request, and checks that it fits the subject.
fn check_request(
    call: &mut Call<'_>,
    form: ConsumerForm<'_>,
) -> Result<ConsumerCreateRequest, ApiError> {
    let mut request: ConsumerCreateRequest = call.read()?;
    call.limits()?;
    let config = &mut request.config;
    let unnamed = config.name.clone();
    let (stream, name, filter) = match form {
        ConsumerForm::Unnamed(stream) => (stream, unnamed.as_str(), ""),
        ConsumerForm::Named(stream, name, filter) => (stream, name, filter),
        ConsumerForm::Durable(stream, name) => (stream, name, ""),
    };
    if stream != request.stream {
        return Err(ApiError::STREAM_MISMATCH);
    }
    if name.contains(['\\', '/']) {
        return Err(ApiError::CONSUMER_NAME_CONTAINS_PATH_SEPARATORS);
    }
    match form {
        ConsumerForm::Durable(..) if config.durable.is_empty() => {
            return Err(ApiError::CONSUMER_DURABLE_NAME_NOT_SET);
        }
        ConsumerForm::Unnamed(_) if !config.durable.is_empty() => {
            return Err(ApiError::CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
        }
        ConsumerForm::Unnamed(_) => {}
        _ if !config.durable.is_empty() && config.durable != name => {
            return Err(ApiError::CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
        }
        _ => name.clone_into(&mut config.name),
    }
    if !filter.is_empty() && !config.filter_subjects.is_empty() {
        return Err(ApiError::CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED);
    }
    if !filter.is_empty() && config.filter_subject != filter {
        return Err(ApiError::CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
    }
    if config.replicas > 1 {
        return Err(ApiError::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    Ok(request)
}

/// A consumer that is being created or changed.
struct Creation<'a> {
    request: ConsumerCreateRequest,
    server: &'a ServerLimits,
    account: &'a TierLimits,
    /// A random text, for a name.
    id: &'a str,
    now: Time,
}

impl Creation<'_> {
    /// Creates or changes the consumer. Returns its name.
    fn run(mut self, cell: &mut Cell, out: &mut dyn Outbox) -> Result<String, ApiError> {
        let stream = cell.stream().config().clone();
        self.adapt(cell, &stream);
        let config = &mut self.request.config;
        version::set_consumer_level(config);
        let pedantic = self.request.pedantic;
        set_consumer_defaults(config, &stream, self.server, self.account, pedantic)?;
        check_consumer(config, &stream, self.server, self.account)?;
        let name = if config.durable.is_empty() { &config.name } else { &config.durable };
        let name = name.clone();
        if let Some(consumer) = cell.consumer(&name).filter(|_| !name.is_empty()) {
            let old = consumer.config().clone();
            self.update(cell, &stream, &name, &old, out)?;
            return Ok(name);
        }
        if self.request.action == ConsumerAction::Update {
            return Err(ApiError::CONSUMER_DOES_NOT_EXIST);
        }
        self.check_room(cell, &stream)?;
        self.check_work_queue(cell, &stream, &name)?;
        let config = &mut self.request.config;
        if config.durable.len() > MAX_NAME_BYTES {
            return Err(ApiError::consumer_name_too_long(MAX_NAME_BYTES));
        }
        if config.durable.is_empty() {
            set_inactive_threshold(config);
        }
        let name = if name.is_empty() { self.id.chars().take(NAME_LEN).collect() } else { name };
        if self.request.config.durable.is_empty() {
            self.request.config.name.clone_from(&name);
        }
        cell.add_consumer(&name, self.request.config, self.now, out)?;
        Ok(name)
    }

    /// Adapts the request to the stream and to a consumer that exists.
    fn adapt(&mut self, cell: &Cell, stream: &StreamConfig) {
        let config = &mut self.request.config;
        if config.direct && config.sourcing && !config.name.is_empty() {
            if stream.retention == Retention::Limits {
                // A source has a name that stays; the consumer before may still exist.
                let suffix: String = self.id.chars().take(NAME_LEN).collect();
                config.name = format!("{}-{suffix}", config.name);
            } else {
                // Messages may be removed only when the other stream has them.
                config.direct = false;
                config.durable.clone_from(&config.name);
                config.ack_policy = AckPolicy::FlowControl;
                (config.ack_wait, config.max_deliver, config.inactive_threshold) = (0, 0, 0);
            }
        }
        if let Some(consumer) = cell.consumer(&config.name) {
            let old = consumer.config();
            config.pause_until = old.pause_until;
            if config.sourcing && !config.durable.is_empty() {
                config.deliver_policy = old.deliver_policy;
                config.start_sequence = old.start_sequence;
                config.start_time = old.start_time;
            }
        }
    }

    fn update(
        self,
        cell: &mut Cell,
        stream: &StreamConfig,
        name: &str,
        old: &ConsumerConfig,
        out: &mut dyn Outbox,
    ) -> Result<(), ApiError> {
        let mut config = self.request.config;
        if self.request.action == ConsumerAction::Create {
            version::copy_level(&mut config.metadata, &old.metadata);
            if config != *old {
                return Err(ApiError::CONSUMER_ALREADY_EXISTS);
            }
        }
        if stream.retention == Retention::WorkQueue && !is_alone(cell, name, &config) {
            return Err(ApiError::CONSUMER_WQ_CONSUMER_NOT_UNIQUE);
        }
        check_consumer_update(old, &config, || {
            out.has_interest(old.deliver_subject.as_bytes(), None)
        })?;
        // The durable name of the existing consumer decides, not that of the request.
        if config.inactive_threshold != old.inactive_threshold && old.durable.is_empty() {
            set_inactive_threshold(&mut config);
        }
        cell.update_consumer(name, config, self.now, out)?;
        Ok(())
    }

    fn check_room(&self, cell: &Cell, stream: &StreamConfig) -> Result<(), ApiError> {
        let (by_stream, by_account) = (stream.max_consumers, self.account.max_consumers);
        let is_lower = by_account > 0 && by_account < by_stream;
        let most = if by_stream <= 0 || is_lower { by_account } else { by_stream };
        let count = i64::try_from(limitable(cell).count()).unwrap_or(i64::MAX);
        if most > 0 && count >= most {
            return Err(ApiError::MAXIMUM_CONSUMERS_LIMIT);
        }
        Ok(())
    }

    fn check_work_queue(
        &self,
        cell: &Cell,
        stream: &StreamConfig,
        name: &str,
    ) -> Result<(), ApiError> {
        let config = &self.request.config;
        if stream.retention != Retention::WorkQueue || config.direct || config.sourcing {
            return Ok(());
        }
        if !matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::FlowControl) {
            return Err(ApiError::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK);
        }
        if config.deliver_policy != DeliverPolicy::All {
            return Err(ApiError::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL);
        }
        if limitable(cell).next().is_none() {
            return Ok(());
        }
        if filters(config).next().is_none() {
            return Err(ApiError::CONSUMER_WQ_MULTIPLE_UNFILTERED);
        }
        if !is_alone(cell, name, config) {
            return Err(ApiError::CONSUMER_WQ_CONSUMER_NOT_UNIQUE);
        }
        Ok(())
    }
}

/// Sets the inactivity of a consumer without a durable name.
// NATS 2.14: consumer.go updateInactiveThreshold.
fn set_inactive_threshold(config: &mut ConsumerConfig) {
    if config.inactive_threshold <= 0 {
        config.inactive_threshold = DEFAULT_INACTIVE_THRESHOLD;
    }
}

/// Returns the consumers that count against limits: those that are not made for other streams.
// NATS 2.14: stream.go numLimitableConsumers.
fn limitable(cell: &Cell) -> impl Iterator<Item = &ConsumerConfig> {
    let configs = cell.consumers().map(|consumer| consumer.config());
    configs.filter(|config| !config.direct && !config.sourcing)
}

fn filters(config: &ConsumerConfig) -> impl Iterator<Item = &String> {
    let one = Some(&config.filter_subject).filter(|filter| !filter.is_empty());
    config.filter_subjects.iter().chain(one)
}

/// Returns true if no other consumer receives messages that this one receives.
// NATS 2.14: stream.go partitionUnique.
fn is_alone(cell: &Cell, name: &str, config: &ConsumerConfig) -> bool {
    let is_apart = |other: &ConsumerConfig| {
        let mut theirs = filters(other).peekable();
        theirs.peek().is_some()
            && theirs.all(|their| filters(config).all(|ours| !collide(ours, their)))
    };
    let mut others = cell.consumers().filter(|consumer| consumer.name() != name);
    filters(config).next().is_none()
        || others.all(|other| {
            let other = other.config();
            other.direct || other.sourcing || is_apart(other)
        })
}
