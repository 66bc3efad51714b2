//! CONNECT and INFO.

use std::time::{Duration, Instant};

use super::{Compressing, Phase, RouteSession};
use crate::auth::{ConnectionKind, Credentials, Decision};
use crate::cluster::{Joined, Refusal};
use crate::endpoint::{ClientInfo, Scratch};
use crate::proto::encode;
use crate::proto::route::{self, RouteConnect, RouteInfo};
use crate::sync::{Arc, Ordering};

/// The time for CONNECT of a server that needs no credentials.
const MUST_CONNECT: Duration = Duration::from_secs(6);

/// The slices of the existing interest that are sent at once: three milliseconds at most, once for each connection.
const FIRST_SLICES: usize = 32;

/// The version of the protocol of servers that continue traces.
// NATS 2.14: server.go MsgTraceProto.
const TRACES_PROTO: i64 = 3;

impl RouteSession {
    /// Sends the first lines, once the transport is secure.
    // NATS 2.14: route.go createRoute.
    pub(super) fn begin(&mut self, now: Instant, scratch: &mut Scratch) {
        let options = self.cluster.options();
        self.phase = match &options.credentials {
            _ if self.is_dialer => Phase::Greeting,
            Some(_) => Phase::Unauthenticated(now + options.auth_timeout),
            // CONNECT comes first in any case. The other server is given the time of a silent one.
            None => Phase::Unauthenticated(now + MUST_CONNECT),
        };
        let id = self.endpoint.id;
        if self.is_dialer {
            let (connect, info) = self.cluster.greeting(id);
            tracing::debug!(client = %self.endpoint, "Route connect msg sent");
            self.byte_queue.send(scratch, |out| route::encode::connect(out, &connect));
            if let Some(info) = info {
                self.send_info(&info, scratch);
            }
        } else {
            let info = self.cluster.first_info(id);
            self.send_info(&info, scratch);
        }
        tracing::info!(client = %self.endpoint, "Route connection created");
        self.byte_queue.drain_own(None, now, scratch);
    }

    pub(super) fn send_info(&self, info: &RouteInfo, scratch: &mut Scratch) {
        self.byte_queue.send(scratch, |out| route::encode::info(out, info));
    }

    /// Handles CONNECT.
    // NATS 2.14: client.go processConnect, auth.go isRouterAuthorized, route.go processRouteConnect.
    pub(super) fn connect(&mut self, json: &[u8], scratch: &mut Scratch) {
        let Ok(connect) = RouteConnect::from_json(json) else {
            return self.fault(&Refusal::Json("processConnect"), scratch);
        };
        let options = self.cluster.options();
        if let Phase::Unauthenticated(_) = self.phase {
            let security = self.endpoint.security.load();
            self.phase = match self.cluster.admits_certificate(security.as_deref()) {
                Some(true) => Phase::Greeting,
                Some(false) => return self.fault(&Refusal::Unauthorized, scratch),
                None if options.credentials.is_some() => Phase::Checking,
                None => Phase::Greeting,
            };
        }
        if let Phase::Checking = self.phase {
            match self.cluster.authenticate(&Credentials {
                user: connect.user.clone(),
                password: connect.pass.clone(),
                kind: ConnectionKind::Standard,
                ..Credentials::default()
            }) {
                Decision::Grant(_) => self.phase = Phase::Greeting,
                Decision::Compute(check) => self.check = Some(check),
                _ => return self.fault(&Refusal::Unauthorized, scratch),
            }
        }
        self.is_verbose = connect.verbose;
        self.byte_queue.encoder().set_headers(connect.headers);
        let shared = Arc::clone(&self.shared);
        let id = self.endpoint.id;
        if let Err(fault) = self.cluster.handle_connect(id, &connect, &options, &*shared) {
            self.fault(&fault, scratch);
        }
    }

    /// Handles INFO.
    // NATS 2.14: route.go processRouteInfo.
    pub(super) fn info(&mut self, json: &[u8], scratch: &mut Scratch) {
        let Ok(info) = RouteInfo::from_json(json) else {
            return self.fault(&Refusal::Json("processInfo"), scratch);
        };
        let has_joined = matches!(self.phase, Phase::Joined);
        if !has_joined && self.begin_compression(&info, scratch) {
            return;
        }
        if !has_joined {
            self.byte_queue.encoder().set_headers(info.headers);
        }
        let shared = Arc::clone(&self.shared);
        let (remote_id, remote_name) = (info.server_id.clone(), info.server_name.clone());
        let traces = info.proto >= TRACES_PROTO;
        match self.cluster.handle_info(self.endpoint.id, info, &*shared) {
            Joined::Noted => {}
            Joined::Registered(place) => {
                self.endpoint.traces_messages.store(traces, Ordering::Relaxed);
                self.introduce(&remote_name);
                self.join(&remote_id, place.index.is_none());
                if place.pings {
                    self.ping_at_once(scratch);
                }
            }
            Joined::Refused(fault) => {
                if fault == Refusal::Duplicate {
                    tracing::debug!(
                        client = %self.endpoint,
                        "Detected duplicate remote route {remote_id:?}"
                    );
                }
                self.fault(&fault, scratch);
            }
        }
    }

    /// States the name of the other server, for events and traces.
    fn introduce(&self, name: &str) {
        let client_info = ClientInfo { name: name.into(), ..ClientInfo::default() };
        self.endpoint.client_info.store(Some(Arc::new(client_info)));
    }

    fn join(&mut self, remote_id: &str, is_of_account: bool) {
        self.phase = Phase::Joined;
        self.limits.max_control_line_bytes = crate::limits::ROUTE_LINE_BYTES;
        self.compressing = Compressing::Done;
        if is_of_account {
            self.account = self.cluster.account_of(self.endpoint.id);
            self.byte_queue.encoder().set_account(self.account.clone());
        }
        match &self.account {
            Some(account) => tracing::debug!(
                client = %self.endpoint,
                "Registering remote route {remote_id:?} for account {account:?}"
            ),
            None => {
                tracing::debug!(client = %self.endpoint, "Registering remote route {remote_id:?}");
            }
        }
        self.follow_trace();
        self.cluster.send_interest(&self.link, &*self.shared);
        // Usually all of it, before the first interest of the other server is read: messages may follow at once.
        for _ in 0..FIRST_SLICES {
            if !self.link.has_more() {
                break;
            }
            self.link.step();
        }
    }

    pub(super) fn ping_at_once(&mut self, scratch: &mut Scratch) {
        self.ping.ping_now(scratch.now());
        self.byte_queue.send(scratch, |out| out.extend_from_slice(encode::PING));
    }
}
