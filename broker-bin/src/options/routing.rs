//! Conversion of the options of a cluster to those of the lower crates.

use std::collections::HashSet;
use std::time::Duration;

use broker_core::SubjectFilter;
use broker_core::account::GLOBAL;
use broker_core::auth::Secret;
use broker_core::cluster::{
    ClusterOptions, CompressionMode, CompressionOptions, RouteAddress, RoutePermissions,
    SubjectPermission,
};
use broker_core::limits::WriteTimeout;
use broker_net::{Advertise, ClientCertificates, ClusterListenerOptions, RouteTls};

use super::advice::Advice;
use super::server::write_timeout;
use super::websocket::ANY_HOST;
use super::{
    Cluster, ClusterError, Compression, Options, Permissions, SubjectLists, Tls, route_url,
};
use crate::config::duration;

/// The longest pause between PINGs of routes.
// NATS 2.14: route.go routeMaxPingInterval.
const MAX_PING_INTERVAL: Duration = Duration::from_secs(30);

/// The time to authenticate without TLS, and what TLS adds to the time of its handshake.
// NATS 2.14: opts.go getDefaultAuthTimeout.
const AUTH_TIMEOUT: Duration = Duration::from_secs(2);
const AUTH_AFTER_TLS: Duration = Duration::from_secs(1);

/// The greatest number of round-trip times: one for each level of compression.
const MAX_THRESHOLDS: usize = 4;

impl Options {
    /// Returns what the core decides by, if this server is a member of a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if options contradict each other. Without a port they are checked too.
    // NATS 2.14: server.go validateCluster.
    pub fn cluster_options(&self) -> Result<Option<ClusterOptions>, ClusterError> {
        let set = &self.cluster;
        let mut options = ClusterOptions::default();
        options.name = self.cluster_name()?;
        options.routes = set.route_addresses()?;
        options.pool_size = match set.pool_size {
            0 => options.pool_size,
            size => u16::try_from(size).ok(),
        };
        options.accounts = set.pinned_accounts()?;
        options.credentials = set.credentials()?;
        options.auth_timeout = set.auth_timeout();
        options.permissions = set.route_permissions()?;
        options.connect_retries = clamp(set.connect_retries);
        options.connect_backoff = set.connect_backoff;
        options.has_system_route = !self.no_system_account;
        options.no_advertise = set.no_advertise;
        options.advertise = set.advertised()?;
        options.compression = set.compression.build()?;
        options.ping_interval = set
            .ping_interval
            .filter(|pause| !pause.is_zero())
            .map(|pause| pause.min(MAX_PING_INTERVAL));
        options.ping_max = Some(clamp(set.ping_max)).filter(|max| *max > 0);
        options.write_deadline = set.write_deadline.filter(|deadline| !deadline.is_zero());
        options.write_timeout = write_timeout(&set.write_timeout, WriteTimeout::Retry);
        options.is_tls = set.tls.is_some();
        options.maps_certificates = set.tls.as_ref().is_some_and(|tls| tls.verify_and_map);
        options.checks_known_urls =
            set.tls.as_ref().is_some_and(|tls| tls.verify_cert_and_check_known_urls);
        Ok(set.is_on().then_some(options))
    }

    /// Returns the options of the listener for other servers, if this server is a member of a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the TLS block contradicts itself, whether or not there is a listener. Does not read the
    /// files.
    pub fn cluster_listener(&self) -> Result<Option<ClusterListenerOptions>, ClusterError> {
        let set = &self.cluster;
        // -1 is any free port.
        let port = u16::try_from(set.port).unwrap_or(0);
        let mut options = ClusterListenerOptions::new(set.host(), port);
        options.tls = set.tls.as_ref().map(route_tls).transpose()?;
        options.connect_error_reports = reports(self.connect_error_reports);
        options.reconnect_error_reports = reports(self.reconnect_error_reports);
        Ok(set.is_on().then_some(options))
    }

    /// Reads certificates and keys of routes, even without a listener.
    // NATS 2.14: opts.go parseCluster.
    pub(super) fn check_cluster_files(&self) -> Result<(), ClusterError> {
        self.cluster_listener()?;
        let tls = self.cluster.tls.as_ref().map(route_tls).transpose()?;
        tls.map_or(Ok(()), |tls| tls.options.build().map(drop).map_err(ClusterError::Tls))
    }

    /// Returns an account that is to have routes of its own in contrast to `before`, and does not exist. Accounts with
    /// claims are looked up when they are used.
    // NATS 2.14: reload.go diffOptions.
    pub(crate) fn missing_route_account(&self, before: &Self) -> Option<&str> {
        let has_claims = !self.operator.is_empty() || !self.trusted_keys.is_empty();
        let is_there = |name: &String| {
            self.accounts.contains_key(name) || *name == GLOBAL || *name == self.system_account()
        };
        let added =
            self.cluster.accounts.iter().filter(|name| !before.cluster.accounts.contains(name));
        added.filter(|_| !has_claims).find(|name| !is_there(name)).map(String::as_str)
    }

    /// Returns the name of the cluster, which gateways may name too.
    pub(super) fn cluster_name(&self) -> Result<Option<String>, ClusterError> {
        match (&self.cluster.name, &self.gateway.name) {
            (Some(name), Some(other)) if name != other => Err(ClusterError::Name),
            (None, Some(name)) => Ok(Some(name.clone())),
            (name, _) => Ok(name.clone()),
        }
    }

    /// Returns warnings about settings of the cluster that are valid but suspicious.
    pub(super) fn cluster_advice(&self) -> Vec<Advice> {
        let set = &self.cluster;
        let mut advice = Vec::new();
        let mut say = |path: String, text: &str| {
            advice.push(Advice { text: format!("{path}: {text}"), path });
        };
        // NATS 2.14: opts.go parseURLs, parseCluster.
        let mut seen = HashSet::new();
        for (index, route) in set.routes.iter().enumerate() {
            if !seen.insert(route.expose()) {
                say(format!("cluster.routes[{index}]"), "Duplicate route entry detected");
            }
        }
        if set.ping_interval.is_some_and(|pause| pause > MAX_PING_INTERVAL) {
            let text = "it is reset to 30s, which is the maximum for routes";
            say("cluster.ping_interval".to_owned(), text);
        }
        if set.authorization.permissions.is_some() {
            let text = "deprecated: the block belongs into `cluster`";
            say("cluster.authorization.permissions".to_owned(), text);
        }
        advice
    }
}

impl Cluster {
    /// Returns the configured host of the listener.
    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(ANY_HOST)
    }

    /// Returns the time for another server to authenticate.
    pub(crate) fn auth_timeout(&self) -> Duration {
        let default = self.tls.as_ref().map_or(AUTH_TIMEOUT, |tls| tls.timeout + AUTH_AFTER_TLS);
        self.authorization.timeout.unwrap_or(default)
    }

    /// Returns `host:port` of each configured server, once, and without credentials.
    #[cfg(feature = "observer")]
    pub(crate) fn route_hosts(&self) -> Vec<String> {
        let addresses = self.route_addresses().unwrap_or_default();
        addresses.iter().map(ToString::to_string).collect()
    }

    fn route_addresses(&self) -> Result<Vec<RouteAddress>, ClusterError> {
        let mut seen = HashSet::new();
        let listed = self.routes.iter().enumerate();
        let once = listed.filter(|(_, route)| seen.insert(route.expose()));
        let read = once.map(|(index, route)| {
            let path = || format!("cluster.routes[{index}]");
            route_url::parse(route.expose())
                .map_err(|what| ClusterError::Route { path: path(), what })
        });
        read.collect()
    }

    fn pinned_accounts(&self) -> Result<Vec<std::sync::Arc<str>>, ClusterError> {
        if !self.accounts.is_empty() && self.pool_size < 0 {
            return Err(ClusterError::AccountsWithoutPool);
        }
        let mut seen = HashSet::new();
        match self.accounts.iter().find(|name| !seen.insert(*name)) {
            Some(name) => {
                let quoted: Vec<_> = self.accounts.iter().map(|one| format!("{one:?}")).collect();
                let list = format!("[{}]", quoted.join(" "));
                Err(ClusterError::DuplicateAccount { name: name.clone(), list })
            }
            None => Ok(self.accounts.iter().map(|name| name.as_str().into()).collect()),
        }
    }

    fn credentials(&self) -> Result<Option<(String, Secret)>, ClusterError> {
        let password = self.authorization.password.clone();
        match (&self.authorization.user, password) {
            (Some(user), password) => Ok(Some((user.clone(), password.unwrap_or_default()))),
            (None, Some(_)) => Err(ClusterError::PasswordWithoutUser),
            (None, None) => Ok(None),
        }
    }

    fn route_permissions(&self) -> Result<Option<RoutePermissions>, ClusterError> {
        let old = self.authorization.permissions.as_ref();
        old.map(build_permissions).transpose()?;
        let permissions = self.permissions.as_ref().or(old);
        permissions.map(build_permissions).transpose()
    }

    /// Returns the address for other servers.
    // NATS 2.14: route.go setRouteInfoHostPortAndIP.
    fn advertised(&self) -> Result<Option<(String, u16)>, ClusterError> {
        let Some(advertise) = self.advertise.as_deref() else { return Ok(None) };
        let wrong = || ClusterError::Advertise(advertise.to_owned());
        let Advertise { host, port } = advertise.parse().map_err(|_| wrong())?;
        let own = || u16::try_from(self.port).ok().filter(|port| *port > 0);
        match port.or_else(own) {
            Some(port) => Ok(Some((host, port))),
            None if self.is_on() => Err(wrong()),
            None => Ok(None),
        }
    }
}

impl Compression {
    // NATS 2.14: server.go validateAndNormalizeCompressionOption.
    fn build(&self) -> Result<CompressionOptions, ClusterError> {
        let mut options = CompressionOptions::default();
        let Some(mode) = self.mode.as_deref() else { return Ok(options) };
        options.mode = match mode {
            "off" | "disabled" | "false" => CompressionMode::Off,
            "not supported" | "not_supported" => CompressionMode::NotSupported,
            "on" | "enabled" | "true" | "fast" | "s2_fast" => CompressionMode::S2Fast,
            "auto" | "s2_auto" => CompressionMode::S2Auto,
            "s2_uncompressed" => CompressionMode::S2Uncompressed,
            "better" | "s2_better" => CompressionMode::S2Better,
            "best" | "s2_best" => CompressionMode::S2Best,
            _ => CompressionMode::Accept,
        };
        if options.mode == CompressionMode::S2Auto && !self.rtt_thresholds.is_empty() {
            options.rtt_thresholds = self.thresholds(mode)?;
        }
        Ok(options)
    }

    /// Returns the round-trip times; 0 skips a level.
    fn thresholds(&self, mode: &str) -> Result<Vec<Duration>, ClusterError> {
        let read = |text: &String| match duration::parse(text) {
            Ok((false, duration)) => duration,
            // NATS 2.14: a negative one equals 0.
            _ => Duration::ZERO,
        };
        let all: Vec<_> = self.rtt_thresholds.iter().map(read).collect();
        let set = all.iter().filter(|time| !time.is_zero());
        if !set.is_sorted() {
            return Err(ClusterError::Thresholds(all));
        }
        let Some(last) = all.iter().rposition(|time| !time.is_zero()) else {
            return Err(ClusterError::NoThreshold(mode.to_owned()));
        };
        if last >= MAX_THRESHOLDS {
            let mode = mode.to_owned();
            return Err(ClusterError::TooManyThresholds { mode, thresholds: all });
        }
        Ok(all.into_iter().take(last + 1).collect())
    }
}

/// Converts permissions: those to publish are imports, those to subscribe are exports.
// NATS 2.14: opts.go setClusterPermissions.
fn build_permissions(set: &Permissions) -> Result<RoutePermissions, ClusterError> {
    if set.allow_responses.is_some() {
        return Err(ClusterError::Responses);
    }
    let build = |lists: &Option<SubjectLists>, allow, deny| {
        let lists = lists.as_ref();
        lists.map(|lists| build_lists(lists, allow, deny)).transpose()
    };
    Ok(RoutePermissions {
        import: build(&set.publish, "import allow", "import deny")?,
        export: build(&set.subscribe, "export allow", "export deny")?,
    })
}

fn build_lists(
    lists: &SubjectLists,
    allow: &'static str,
    deny: &'static str,
) -> Result<SubjectPermission, ClusterError> {
    for (list, subjects) in [(allow, &lists.allow), (deny, &lists.deny)] {
        let is_wrong = |subject: &&String| {
            SubjectFilter::parse(subject.as_str()).is_err() || subject.contains(char::is_whitespace)
        };
        if let Some(subject) = subjects.iter().find(is_wrong) {
            return Err(ClusterError::Subject { list, subject: subject.clone() });
        }
    }
    Ok(SubjectPermission { allow: lists.allow.clone(), deny: lists.deny.clone() })
}

/// Returns a number of attempts; a negative one is none.
fn clamp(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Returns the interval of reported failures, which is at least 1.
fn reports(number: i64) -> u32 {
    u32::try_from(number.unsigned_abs()).unwrap_or(u32::MAX).max(1)
}

/// Converts TLS of routes: both sides verify each other.
// NATS 2.14: opts.go getTLSConfig.
fn route_tls(set: &Tls) -> Result<RouteTls, ClusterError> {
    let mut options = set.for_clients().map_err(ClusterError::Tls)?;
    options.client_certificates = ClientCertificates::Verify;
    let mut tls = RouteTls::new(options);
    tls.insecure_skip_verify = set.insecure;
    Ok(tls)
}
