//! Conversion to the options of the lower crates.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_core::limits::{MAX_COUNTED_SUBJECTS, MAX_PAYLOAD_CEILING_BYTES, WriteTimeout};
use broker_core::sort::to_map;
use broker_core::{Limits, SubjectFilter};
use broker_net::{LameDuck, ServerOptions};

use super::{Deciders, Options, OptionsError, WebsocketError};
use crate::machine;

impl Options {
    /// Checks that the options are consistent with each other and with the TLS files.
    ///
    /// # Errors
    ///
    /// Returns the first contradiction.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.checked_deciders().map(drop)
    }

    /// Checks the options like [`Self::check`], and returns the access rules.
    pub(crate) fn checked_deciders(&self) -> Result<Deciders, OptionsError> {
        self.check_all_but_access()?;
        self.deciders()
    }

    /// Like [`Self::check`], without the access rules, which take long to build for many users.
    pub(crate) fn check_all_but_access(&self) -> Result<(), OptionsError> {
        // NATS 2.14: server.go validateOptions.
        if self.lame_duck_grace_period >= self.lame_duck_duration {
            return Err(OptionsError::GraceNotShorter {
                grace: self.lame_duck_grace_period,
                duration: self.lame_duck_duration,
            });
        }
        if u64::try_from(self.max_payload).is_ok_and(|payload| payload > self.max_pending) {
            return Err(OptionsError::PayloadOverPending {
                max_payload: self.max_payload,
                max_pending: self.max_pending,
            });
        }
        for (path, tls, of_servers) in self.tls_blocks() {
            // NATS 2.14: `--tls=false` disables the block regardless of its contents.
            if path == "tls" && self.tls_off {
                continue;
            }
            tls.check(of_servers).map_err(|source| OptionsError::TlsBlock { path, source })?;
        }
        self.monitoring()?;
        self.account_configs()?;
        if self.metrics_subjects.len() > MAX_COUNTED_SUBJECTS {
            return Err(OptionsError::TooManyCountedSubjects(self.metrics_subjects.len()));
        }
        if let Some(tls) = self.client_tls()? {
            tls.build().map_err(OptionsError::Tls)?;
        }
        self.cluster_options()?;
        self.check_cluster_files()?;
        self.websocket()?;
        // NATS 2.14: the files are read even without a port.
        let tls = self.websocket.tls.as_ref();
        if let Some(tls) = tls.filter(|tls| self.websocket.is_on() || tls.has_certificate()) {
            tls.for_clients().and_then(|tls| tls.build()).map_err(WebsocketError::Tls)?;
        }
        self.unix()?;
        Ok(())
    }

    /// Converts tags to lower case and removes duplicates.
    // NATS 2.14: jwt's TagList.
    pub(crate) fn tidy(&mut self) {
        let mut tags = Vec::with_capacity(self.server_tags.len());
        for tag in &self.server_tags {
            let tag = tag.trim().to_lowercase();
            if !tag.is_empty() && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        self.server_tags = tags;
    }

    /// Returns the limits of clients.
    pub fn limits(&self) -> Limits {
        let max_pending_total =
            self.max_pending_total.unwrap_or_else(machine::default_max_pending_total);
        Limits {
            max_control_line_bytes: self.max_control_line,
            max_payload_bytes: bytes(self.max_payload, MAX_PAYLOAD_CEILING_BYTES),
            max_pending_bytes: usize::try_from(self.max_pending).unwrap_or(usize::MAX),
            max_pending_total_bytes: usize::try_from(max_pending_total).unwrap_or(usize::MAX),
            // NATS 2.14: a negative maximum equals 0.
            max_connections: Some(usize::try_from(self.max_connections).unwrap_or(0)),
            max_subscriptions: usize::try_from(self.max_subscriptions).ok().filter(|max| *max > 0),
            max_subscription_tokens: self.max_subscription_tokens.map(usize::from),
            ping_interval: self.ping_interval,
            ping_max: self.ping_max,
            write_deadline: self.write_deadline,
            write_timeout: write_timeout(&self.write_timeout, WriteTimeout::Close),
            auth_timeout: self.authorization.timeout,
            max_closed_connections: self.max_closed_clients,
        }
    }

    /// Returns the options of the server.
    pub fn server(&self) -> ServerOptions {
        let mut server = ServerOptions::default();
        server.host.clone_from(&self.host);
        server.port = self.port;
        server.client_advertise =
            self.client_advertise.as_deref().and_then(|text| text.parse().ok());
        // Contradictory options have been refused: see `check`.
        server.tls = self.client_tls().ok().flatten();
        server.websocket = self.websocket().ok().flatten();
        server.unix = self.unix().ok().flatten();
        server.cluster = self.cluster_listener().ok().flatten();
        server.proxy_protocol = self.proxy_protocol;
        let broker = &mut server.broker;
        broker.limits = self.limits();
        broker.server_name = self.server_name.clone();
        broker.server_tags.clone_from(&self.server_tags);
        broker.server_metadata.clone_from(&self.server_metadata);
        broker.server_feature_flags = feature_flags(&self.feature_flags);
        broker.system_account = self.named_system_account().map(Into::into);
        broker.trace = self.trace;
        broker.trace_headers = self.trace_headers;
        broker.max_traced_payload_bytes = self.max_traced_msg_len.try_into().unwrap_or(0);
        broker.no_header_support = self.no_header_support;
        // Invalid ones have been refused: see `check`.
        let accounts = self.unchecked_account_configs().unwrap_or_default();
        broker.accounts = accounts.into_iter().map(Arc::new).collect();
        let filters = self.metrics_subjects.iter();
        broker.cluster = self.cluster_options().ok().flatten();
        broker.cluster_name = self.cluster_name().ok().flatten();
        broker.counted_subjects =
            filters.filter_map(|text| SubjectFilter::parse(text).ok()).collect();
        server
    }

    /// Returns the name of the system account, if the configuration or its operator names it.
    #[cfg(feature = "jwt")]
    fn named_system_account(&self) -> Option<String> {
        self.signed_system_account()
    }

    #[cfg(not(feature = "jwt"))]
    fn named_system_account(&self) -> Option<String> {
        self.system_account.clone()
    }

    /// Returns the timing of lame duck mode.
    pub fn lame_duck(&self) -> LameDuck {
        LameDuck::new(self.lame_duck_duration, self.lame_duck_grace_period)
    }
}

/// Off unless configured.
// NATS 2.14: feature_flags.go.
const FEATURE_FLAGS: [&str; 2] = ["js_ack_fc_v2", "js_raft_delete_range"];

/// Returns nats-server's feature flags with their configured values.
pub(crate) fn feature_flags(set: &BTreeMap<String, bool>) -> BTreeMap<String, bool> {
    let value = |name: &&str| set.get(*name).copied().unwrap_or_default();
    to_map(FEATURE_FLAGS.iter().map(|name| ((*name).to_owned(), value(name))))
}

/// Returns the limit, or the maximum if it is negative.
fn bytes(limit: i64, most: usize) -> usize {
    usize::try_from(limit).map_or(most, |limit| limit.min(most))
}

/// Returns the policy of that name.
// NATS 2.14: client.go initClient.
pub(super) fn write_timeout(name: &str, default: WriteTimeout) -> WriteTimeout {
    match name {
        "retry" => WriteTimeout::Retry,
        "close" => WriteTimeout::Close,
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_are_the_core_s_by_default() {
        let max_pending_total_bytes = machine::default_max_pending_total() as usize;
        let expected = Limits { max_pending_total_bytes, ..Limits::default() };
        assert_eq!(Options::default().limits(), expected);
    }

    #[test]
    fn negative_limits_have_the_meaning_of_the_reference() {
        let options = Options {
            max_payload: -1,
            max_connections: -1,
            max_subscriptions: -1,
            ..Options::default()
        };
        let limits = options.limits();
        assert_eq!(limits.max_payload_bytes, 999_999_999);
        assert_eq!(limits.max_connections, Some(0), "nobody");
        assert_eq!(limits.max_subscriptions, None);
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let options = Options { max_payload: 11, max_pending: 10, ..Options::default() };
        let text = options.check().unwrap_err().to_string();
        assert_eq!(text, "max_payload (11) is more than max_pending (10)");

        let second = Duration::from_secs(1);
        let options = Options {
            lame_duck_duration: second,
            lame_duck_grace_period: second,
            ..Options::default()
        };
        let text = options.check().unwrap_err().to_string();
        assert_eq!(
            text,
            "lame_duck_grace_period (1s) must be shorter than lame_duck_duration (1s)"
        );
    }

    #[test]
    fn the_default_timing_of_lame_duck_mode_is_that_of_the_server() {
        assert_eq!(Options::default().lame_duck(), LameDuck::default());
    }
}
