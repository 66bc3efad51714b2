//! CONNECT, the authenticator's decision, and the account that a client enters and leaves.

use std::time::Instant;

use arc_swap::Guard;

use super::chores::Then;
use super::undecided::{Checking, Undecided};
use super::{ClientSession, Phase, Served};
use crate::auth::{Authenticator, Credentials, Decision, Denied, Grant};
use crate::endpoint::{ClientInfo, Scratch};
use crate::error::ClientFault;
use crate::proto::ConnectOptions;
use crate::session::expiry::Expiry;
use crate::session::member::{Member, Terms};
use crate::snapshot::AuthFailure;
use crate::sync::Arc;

impl ClientSession {
    /// Where nothing needs to be shown, a client is served before it says who it is.
    pub(super) fn let_in_as_is(&mut self, now: Instant) {
        let authenticator = self.authenticator();
        if !authenticator.is_required()
            && self.securing.is_done()
            && let Decision::Grant(grant) = authenticator.authenticate(&self.shown_by_carrier())
            && !self.is_expired(&grant)
        {
            // NATS 2.14: for a no_auth_user the time to log in runs all the same.
            if let Phase::Unauthenticated(deadline) = &self.phase
                && grant.user.is_some()
                && !self.has_connected
            {
                self.silent_until = Some(*deadline);
            }
            // A client whose account is full learns that when it sends CONNECT.
            _ = self.serve(grant, now);
        }
    }

    /// Returns true if the client has not been let in yet, or only without credentials and has sent nothing
    /// since.
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(self.phase, Phase::Served(_)) || self.silent_until.is_some()
    }

    pub(super) fn connect(&mut self, json: &[u8], now: Instant, scratch: &mut Scratch) {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.options.load().limits;
        self.silent_until = None;
        // The decision about this CONNECT takes its place.
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
        // NATS 2.14: a second CONNECT may change the account; what was subscribed to in the old one
        // ends before the new credentials are looked at.
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
            // Who they were is forgotten but for the proof, and they do not say that they are another.
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

    /// Goes on with a decision about credentials.
    fn follow(&mut self, decision: Decision, now: Instant, scratch: &mut Scratch) {
        let undecided = match decision {
            Decision::Grant(grant) => return self.admit(Ok(grant), now, scratch),
            Decision::Deny(denied) => return self.admit(Err(denied), now, scratch),
            Decision::Compute(check) => Undecided::Compute(check),
            Decision::Pending(pending) => Undecided::pending(pending, &self.endpoint, now),
        };
        self.end_subscriptions_then(Then::Wait(undecided), now, scratch);
    }

    /// Who decides who it is.
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
            name: options.name.clone(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            nonce: self.shown_nonce(),
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
                return self.fault(&denied.into(), scratch);
            }
        };
        if self.is_expired(&grant) {
            self.note_auth_failure(AuthFailure::Credentials);
            return self.fault(&ClientFault::AuthenticationExpired, scratch);
        }
        if !self.options.account.is_empty() {
            self.note_auth_failure(AuthFailure::Credentials);
            return self.fault(&ClientFault::AuthorizationViolation, scratch);
        }
        // Subscriptions from before CONNECT stay if it changes neither account nor permissions.
        if self.is_served_as(&grant) {
            self.let_in(grant, scratch);
        } else {
            self.end_subscriptions_then(Then::Admit(grant), now, scratch);
        }
    }

    /// Asks the authenticator that is in force now: the one that has decided was replaced meanwhile.
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

    /// Forgets the secrets of a client with a proof.
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
        self.follow_trace();
        if !(0..=1).contains(&self.options.protocol) {
            return self.fault(&ClientFault::BadProtocol, scratch);
        }
        if self.options.no_responders && !self.options.headers {
            return self.fault(&ClientFault::NoRespondersRequiresHeaders, scratch);
        }
        self.ok(scratch);
    }

    /// Somebody who was let in under a name without showing anything, and now acts under it, has logged
    /// in by that.
    // NATS 2.14: parser.go, no_auth_user: whoever begins with something else than CONNECT.
    pub(super) fn settle_in(&mut self) {
        if let Phase::Served(Served { user: Some(_), .. }) = &self.phase {
            self.has_connected = true;
        }
    }

    fn is_served_as(&self, grant: &Grant) -> bool {
        matches!(&self.phase, Phase::Served(served)
            if served.member.account.name == grant.account)
            && *self.endpoint.permissions.load() == grant.permissions
    }

    /// Call it when the subscriptions that do not stay have ended.
    fn become_served(&mut self, grant: Grant, now: Instant) -> Result<(), ClientFault> {
        if self.is_served_as(&grant) {
            self.follow_grant(&grant, now);
            return Ok(());
        }
        self.leave_account();
        self.serve(grant, now)
    }

    /// Puts into force what may differ between two grants of one account with the same permissions.
    pub(super) fn follow_grant(&mut self, grant: &Grant, now: Instant) {
        let Phase::Served(served) = &mut self.phase else { return };
        served.user.clone_from(&grant.user);
        served.proof.clone_from(&grant.proof);
        let expiry = Expiry::of(grant, &*self.shared.clock, now);
        served.member.set_terms(Terms { limits: grant.limits, expiry });
        self.limits.max_payload_bytes = self.max_payload_bytes();
    }

    fn serve(&mut self, grant: Grant, now: Instant) -> Result<(), ClientFault> {
        let (user, proof) = (grant.user.clone(), grant.proof.clone());
        let expiry = Expiry::of(&grant, &*self.shared.clock, now);
        let limits = grant.limits;
        let mut member = Member::join_within_limits(&self.shared, &self.endpoint, grant)?;
        member.set_terms(Terms { limits, expiry });
        self.phase = Phase::Served(Served { member, user, proof });
        self.limits.max_payload_bytes = self.max_payload_bytes();
        Ok(())
    }

    /// Returns the largest payload that the broker, the account and the grant allow.
    pub(super) fn max_payload_bytes(&self) -> usize {
        let of_broker = self.shared.options.load().limits.max_payload_bytes;
        let Phase::Served(served) = &self.phase else { return of_broker };
        served.member.max_payload_bytes(of_broker)
    }

    /// The session leaves its account, in which it has no subscriptions any more.
    pub(super) fn leave_account(&mut self) {
        if let Phase::Served(served) = &self.phase {
            served.member.leave();
            self.phase = Phase::Checking(Checking::NOTHING);
        }
    }

    /// Lets others see who this is.
    fn introduce(&self) {
        let ConnectOptions { name, lang, version, .. } = &self.options;
        let [name, lang, version] = [name, lang, version].map(|text| text.as_str().into());
        let client_info = ClientInfo { name, lang, version, user: self.label().shown_user() };
        self.endpoint.client_info.store(Some(Arc::new(client_info)));
    }

    pub(super) fn note_auth_failure(&self, failure: AuthFailure) {
        self.shared.history.lock().note_auth_failure(failure);
    }
}
