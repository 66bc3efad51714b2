//! CONNECT, the authenticator's decision, and the account that a client enters and leaves.

use std::time::Instant;

use arc_swap::Guard;

use super::chores::Then;
use super::undecided::{Begun, Checking};
use super::{ClientSession, Phase, Served};
use crate::account::Account;
use crate::auth::{Authenticator, Credentials, Decision, Denied, Grant};
use crate::endpoint::{ClientInfo, Scratch};
use crate::error::ClientFault;
use crate::proto::ConnectOptions;
use crate::session::expiry::Expiry;
use crate::session::member::{Member, Terms};
use crate::snapshot::AuthFailure;
use crate::sync::Arc;
use crate::system::{Party, SystemEvent};

impl ClientSession {
    /// Serves a client before CONNECT if no credentials are required.
    pub(super) fn let_in_as_is(&mut self, now: Instant) {
        let authenticator = self.authenticator();
        if !authenticator.is_required()
            && self.securing.is_done()
            && let Decision::Grant(grant) = authenticator.authenticate(&self.shown_by_carrier())
            && self.expired(&grant).is_none()
        {
            // NATS 2.14: for a no_auth_user the time to log in runs all the same.
            if let Phase::Unauthenticated(deadline) = &self.phase
                && grant.user.is_some()
                && !self.has_connected
            {
                self.silent_until = Some(*deadline);
            }
            // A client whose account is full gets the error when it sends CONNECT.
            _ = self.serve(grant, now);
        }
    }

    /// Returns true if the client has not been admitted yet, or was admitted without credentials and has sent nothing
    /// since.
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(self.phase, Phase::Served(_)) || self.silent_until.is_some()
    }

    pub(super) fn connect(&mut self, json: &[u8], now: Instant, scratch: &mut Scratch) {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.options.load().limits;
        self.silent_until = None;
        // The decision about this CONNECT replaces the review.
        self.drop_review();
        if !self.has_connected {
            self.note_rtt(now.saturating_duration_since(self.endpoint.since));
        }
        self.ping.connected(now, limits, self.publisher.random());
        let before = (self.options.user.clone(), self.options.nkey.clone());
        if self.options.apply(json).is_err() {
            return self.fault(&ClientFault::BadJson("CONNECT"), scratch);
        }
        self.introduce();
        let headers = self.options.headers && !shared.options.load().no_header_support;
        self.limits.headers = headers;
        self.byte_queue.encoder().set_headers(headers);
        self.endpoint.set_echo(self.options.echo);
        // NATS 2.14: a second CONNECT may change the account; subscriptions in the old one
        // end before the new credentials are checked.
        let has_connected = std::mem::replace(&mut self.has_connected, true);
        self.publisher.forget();
        if has_connected {
            self.end_subscriptions_then(Then::Authenticate(before), now, scratch);
        } else {
            self.authenticate(&before, now, scratch);
        }
    }

    /// Authenticates the client. `before`: its user and its key before CONNECT.
    pub(super) fn authenticate(
        &mut self,
        before: &(String, String),
        now: Instant,
        scratch: &mut Scratch,
    ) {
        let credentials = self.credentials();
        let authenticator = self.authenticator();
        let decision = match self.held_grant() {
            // Only the proof of the earlier credentials is kept, and the client names no other user.
            Some(held)
                if held.proof.is_some()
                    && !self.options.has_secrets()
                    && *before == (credentials.user.clone(), credentials.nkey.clone()) =>
            {
                authenticator.review(&held, &credentials)
            }
            _ => authenticator.authenticate(&credentials),
        };
        self.follow(decision, now, scratch);
    }

    /// Asks the authenticator about a client whose first operation is not CONNECT.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_without_connect(&mut self, now: Instant, scratch: &mut Scratch) {
        let decision = self.authenticator().authenticate(&self.credentials());
        self.follow(decision, now, scratch);
    }

    /// Applies a decision about credentials.
    pub(super) fn follow(&mut self, decision: Decision, now: Instant, scratch: &mut Scratch) {
        match self.begin(decision, now, scratch) {
            Begun::Decided(result) => self.admit(result, now, scratch),
            Begun::Undecided(undecided) => {
                self.end_subscriptions_then(Then::Wait(undecided), now, scratch);
            }
        }
    }

    /// Returns the authenticator of the client.
    pub(super) fn authenticator(&self) -> Guard<Arc<Box<dyn Authenticator>>> {
        match self.endpoint.transport.authenticator() {
            Some(own) => Guard::from_inner(own),
            None => self.shared.authenticator.load(),
        }
    }

    pub(super) fn credentials(&self) -> Credentials {
        let options = &self.options;
        let mut credentials = Credentials {
            user: options.user.clone(),
            password: options.pass.clone(),
            token: options.auth_token.clone(),
            jwt: options.jwt.clone(),
            nkey: options.nkey.clone(),
            sig: options.sig.clone(),
            proxy_sig: options.proxy_sig.clone(),
            name: options.name.clone(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            nonce: self.shown_nonce(),
            protocol: options.protocol,
            remote: self.endpoint.remote,
            ..self.shown_by_carrier()
        };
        self.endpoint.transport.complete(&mut credentials);
        credentials
    }

    pub(super) fn admit(
        &mut self,
        result: Result<Grant, Denied>,
        now: Instant,
        scratch: &mut Scratch,
    ) {
        if std::mem::take(&mut self.must_review) {
            return self.decide_anew(&result, now, scratch);
        }
        let grant = match result {
            Ok(grant) => grant,
            Err(denied) => {
                self.note_auth_failure(denied.into());
                self.log_denied(denied);
                return self.fault(&denied.into(), scratch);
            }
        };
        if let Some(fault) = self.expired(&grant) {
            self.note_auth_failure(AuthFailure::Credentials);
            return self.fault(&fault, scratch);
        }
        if !self.options.account.is_empty() {
            self.note_auth_failure(AuthFailure::Credentials);
            return self.fault(&ClientFault::AuthorizationViolation, scratch);
        }
        // Subscriptions from before CONNECT stay if it changes neither account nor permissions.
        if self.is_served_as(&grant) {
            self.let_in(grant, scratch);
        } else {
            self.end_subscriptions_then(Then::Admit(Box::new(grant)), now, scratch);
        }
    }

    /// Asks the authenticator now in force: the one that has decided was replaced meanwhile.
    fn decide_anew(&mut self, result: &Result<Grant, Denied>, now: Instant, scratch: &mut Scratch) {
        let authenticator = self.authenticator();
        let decision = match result {
            Ok(grant) => {
                self.forget_proven(grant);
                authenticator.review(grant, &self.credentials())
            }
            Err(_) => authenticator.authenticate(&self.credentials()),
        };
        self.follow(decision, now, scratch);
    }

    /// Drops the secrets of a client that has a proof.
    pub(super) fn forget_proven(&mut self, grant: &Grant) {
        if grant.proof.is_some() {
            self.options.forget_secrets();
        }
    }

    pub(super) fn let_in(&mut self, grant: Grant, scratch: &mut Scratch) {
        self.forget_proven(&grant);
        self.take_mapped_name(&grant);
        if let Err(fault) = self.become_served(grant, scratch.now()) {
            return self.fault(&fault, scratch);
        }
        self.introduce();
        self.tell_connected();
        self.follow_trace();
        if !(0..=1).contains(&self.options.protocol) {
            return self.fault(&ClientFault::BadProtocol, scratch);
        }
        // NATS 2.14: client.go processConnect: headers that the server does not support are none.
        if self.options.no_responders && !self.limits.headers {
            return self.fault(&ClientFault::NoRespondersRequiresHeaders, scratch);
        }
        // An operation other than CONNECT is answered by itself.
        if self.has_connected {
            self.ok(scratch);
        }
    }

    /// Completes the login of a client that was admitted without credentials, as a named user, and now acts as this
    /// user.
    // NATS 2.14: parser.go, no_auth_user: a client whose first operation is not CONNECT.
    pub(super) fn settle_in(&mut self) {
        if let Phase::Served(Served { user: Some(_), .. }) = &self.phase
            && !std::mem::replace(&mut self.has_connected, true)
        {
            self.tell_connected();
        }
    }

    fn is_served_as(&self, grant: &Grant) -> bool {
        matches!(&self.phase, Phase::Served(served)
            if served.member.account.name == grant.account)
            && *self.endpoint.permissions.load() == grant.permissions
    }

    /// Called once the subscriptions that do not remain have ended.
    fn become_served(&mut self, grant: Grant, now: Instant) -> Result<(), ClientFault> {
        if self.is_served_as(&grant) {
            self.follow_grant(&grant, now);
            return Ok(());
        }
        self.leave_account();
        self.serve(grant, now)
    }

    /// Applies the differences between two grants of one account with the same permissions.
    pub(super) fn follow_grant(&mut self, grant: &Grant, now: Instant) {
        let Phase::Served(served) = &mut self.phase else { return };
        served.user.clone_from(&grant.user);
        served.proof.clone_from(&grant.proof);
        served.identity.clone_from(&grant.identity);
        served.proxy.clone_from(&grant.proxy);
        let expiry = Expiry::of(grant, &*self.shared.clock, now);
        served.member.set_terms(Terms { limits: grant.limits, expiry });
        self.follow_account();
    }

    fn serve(&mut self, grant: Grant, now: Instant) -> Result<(), ClientFault> {
        let (user, proof) = (grant.user.clone(), grant.proof.clone());
        let (identity, proxy) = (grant.identity.clone(), grant.proxy.clone());
        let expiry = Expiry::of(&grant, &*self.shared.clock, now);
        let limits = grant.limits;
        let account = self.shared.account(&grant.account);
        let counting = account.count();
        let mut member = Member::join_within_limits(&self.shared, &self.endpoint, grant)?;
        member.set_terms(Terms { limits, expiry });
        self.tell_account_changed(&account);
        drop(counting);
        self.phase = Phase::Served(Served { member, user, proof, identity, proxy });
        self.follow_account();
        Ok(())
    }

    /// Applies the settings of the account that the parser needs.
    pub(super) fn follow_account(&mut self) {
        self.limits.max_payload_bytes = self.max_payload_bytes();
        self.limits.traces_by_account = match &self.phase {
            Phase::Served(served) => served.member.account.traces_marked(),
            Phase::Unauthenticated(_) | Phase::Checking(_) => false,
        };
    }

    /// Returns the largest payload that the broker, the account and the grant allow.
    pub(super) fn max_payload_bytes(&self) -> usize {
        let of_broker = self.shared.options.load().limits.max_payload_bytes;
        let Phase::Served(served) = &self.phase else { return of_broker };
        served.member.max_payload_bytes(of_broker)
    }

    /// Leaves the account, in which the session has no subscriptions any more.
    pub(super) fn leave_account(&mut self) {
        if let Phase::Served(served) = &self.phase {
            let counting = served.member.account.count();
            served.member.leave();
            self.tell_account_changed(&served.member.account);
            drop(counting);
            self.phase = Phase::Checking(Checking::NOTHING);
        }
    }

    /// Publishes the client metadata for monitoring.
    fn introduce(&self) {
        let ConnectOptions { name, lang, version, .. } = &self.options;
        let [name, lang, version] = [name, lang, version].map(|text| text.as_str().into());
        let (identity, proxy) = match &self.phase {
            Phase::Served(served) => (served.identity.clone(), served.proxy.clone()),
            Phase::Unauthenticated(_) | Phase::Checking(_) => (None, None),
        };
        let user = self.label().shown_user();
        let client_info = ClientInfo { name, lang, version, user, identity, proxy };
        self.endpoint.client_info.store(Some(Arc::new(client_info)));
    }

    /// Logs the reason of a rejection, where the reference does.
    // NATS 2.14: auth.go processClientOrLeafAuthentication.
    fn log_denied(&self, denied: Denied) {
        match denied {
            Denied::Refused(why) => tracing::debug!(client = %self.label(), "{why}"),
            Denied::TimeOfDay => tracing::error!(client = %self.label(), "{denied}"),
            Denied::Source => {
                let host = self.endpoint.remote.map(|remote| remote.ip().to_string());
                tracing::error!(client = %self.label(), "Bad src Ip {}", host.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn tell_connected(&self) {
        self.shared.notice(|| SystemEvent::Connected(Party::new(&self.endpoint)));
    }

    fn tell_account_changed(&self, account: &Account) {
        self.shared.notice(|| {
            let (connections, leaf_nodes) = account.member_counts();
            SystemEvent::AccountChanged { account: &account.name, connections, leaf_nodes }
        });
    }

    pub(super) fn note_auth_failure(&self, failure: AuthFailure) {
        self.shared.history.lock().note_auth_failure(failure);
    }
}
