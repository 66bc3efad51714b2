//! Auth callouts: a service on the broker decides about clients.
//!
//! The server asks the service in the account of the service, with the claims of [`AuthorizationRequest`], and takes
//! user, account, permissions and limits of the client from the claims in its response. A request and its response
//! are sealed if the service has a curve key. Without a valid response in time the client is denied.
//!
//! [`AuthCallout`] is an authenticator around that of the configuration, which lets the service itself in.
// ADR-26. NATS 2.14: auth_callout.go.

mod request;
mod response;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::jwt::{AuthorizationRequest, ServerId};
use super::nkey::{BOX_NONCE_BYTES, CurvePair, KEY_BYTES, KeyKind, KeyPair, PublicKey};
use super::{
    Authenticator, Credentials, Decision, DenialReason, Denied, GLOBAL_ACCOUNT, Grant, Identity,
    Permissions, Question, TimeZones, Utc,
};
use crate::subject::{Subject, SubjectFilter};
use crate::sync::Arc;
pub(crate) use response::Approved;
use response::Expected;

/// The subject of the requests.
// NATS 2.14: auth_callout.go AuthCalloutSubject.
pub const SUBJECT: &str = "$SYS.REQ.USER.AUTH";

/// The recipient of the claims in a request.
const AUDIENCE: &str = "nats-authorization-request";

/// The header of a sealed request, which names the key of the server.
const XKEY_HEADER: &str = "Nats-Server-Xkey";

/// The source of cryptographic randomness; `None` if there is none at the moment.
pub type Entropy = fn() -> Option<[u8; KEY_BYTES]>;

/// The server as services see it, and the keys that prove it.
pub struct CalloutServer {
    id: ServerId,
    key: KeyPair,
    curve: CurvePair,
    entropy: Entropy,
    zones: Box<dyn TimeZones>,
}

impl CalloutServer {
    /// Creates a server from its keys. `id.id` and `id.xkey` are taken from them.
    pub fn new(mut id: ServerId, key: KeyPair, curve: CurvePair, entropy: Entropy) -> Self {
        id.id = key.public().to_string();
        id.xkey.clear();
        Self { id, key, curve, entropy, zones: Box::new(Utc) }
    }

    /// Sets the time zones by which times of day in responses are read; UTC is the only one by default.
    #[must_use]
    pub fn with_time_zones(self, zones: impl TimeZones) -> Self {
        Self { zones: Box::new(zones), ..self }
    }

    /// Returns the public key for sealed responses, which INFO carries.
    pub fn xkey(&self) -> PublicKey {
        self.curve.public()
    }
}

/// Prints no private key.
impl fmt::Debug for CalloutServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CalloutServer").field("id", &self.id.id).finish_non_exhaustive()
    }
}

/// Whom to ask about clients, and in which matters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CalloutOptions {
    /// The account key that signs the users in responses.
    pub issuer: PublicKey,
    /// The account of the service.
    pub account: Arc<str>,
    /// The users that are not delegated: the service itself.
    pub auth_users: Vec<String>,
    /// The accounts whose users are delegated; all if empty. Users without an account always are.
    pub allowed_accounts: Vec<String>,
    /// The key of the service for sealed requests.
    pub xkey: Option<PublicKey>,
    /// The longest wait for a response.
    pub timeout: Duration,
    /// The accounts that exist: responses may name only these.
    pub accounts: BTreeSet<String>,
}

/// Has a service decide about clients, except for those that the authenticator of the configuration knows and the
/// options exempt.
pub struct AuthCallout {
    inner: Arc<dyn Authenticator>,
    callout: Arc<Callout>,
}

struct Callout {
    server: Arc<CalloutServer>,
    options: CalloutOptions,
}

impl AuthCallout {
    /// Creates a callout around the authenticator of the configuration.
    pub fn new(
        inner: Arc<dyn Authenticator>,
        server: Arc<CalloutServer>,
        options: CalloutOptions,
    ) -> Self {
        Self { inner, callout: Arc::new(Callout { server, options }) }
    }

    fn delegate(&self, decision: Decision, credentials: &Credentials) -> Decision {
        let (callout, credentials) = (Arc::clone(&self.callout), credentials.clone());
        decision.and_then(move |result| callout.decide(result, credentials))
    }
}

impl Authenticator for AuthCallout {
    // NATS 2.14: INFO asks for credentials, also if there is a `no_auth_user`.
    fn is_required(&self) -> bool {
        true
    }

    // NATS 2.14: parser.go, no_auth_user.
    fn is_connect_optional(&self) -> bool {
        !self.inner.is_required()
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        self.delegate(self.inner.authenticate(credentials), credentials)
    }

    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        // A client of the service has no proof: the service is asked again.
        let decision = match held.proof.is_some() {
            true => self.inner.review(held, credentials),
            false => self.inner.authenticate(credentials),
        };
        self.delegate(decision, credentials)
    }

    // A client that signs lets the service check its signature.
    fn nonce_required(&self) -> bool {
        self.inner.nonce_required()
    }

    fn configures_accounts(&self) -> bool {
        self.inner.configures_accounts()
    }

    fn reads_certificates(&self) -> bool {
        true
    }
}

impl Callout {
    /// Decides after the authenticator of the configuration.
    // NATS 2.14: auth.go processClientOrLeafAuthentication, the deferred function.
    fn decide(
        self: Arc<Self>,
        result: Result<Grant, Denied>,
        mut credentials: Credentials,
    ) -> Decision {
        if let Ok(grant) = &result {
            if !self.is_delegated(&grant.account) {
                return result.into();
            }
            // The user of clients without credentials.
            if credentials.shown_as().is_none() {
                credentials.user = grant.user.as_deref().unwrap_or_default().to_owned();
            }
        }
        let user = credentials.shown_as().unwrap_or_default();
        // NATS 2.14 asks the service first, and denies the client whatever it answers.
        if matches!(result, Err(Denied::Unavailable | Denied::ProxyRequired))
            || self.options.auth_users.iter().any(|one| one == user)
        {
            return result.map(|grant| without_subject(grant, &self.options.account)).into();
        }
        match self.question(&credentials) {
            Ok(question) => question.into(),
            Err(reason) => {
                tracing::warn!("{reason}");
                Denied::Unavailable.into()
            }
        }
    }

    fn is_delegated(&self, account: &str) -> bool {
        let allowed = &self.options.allowed_accounts;
        account == GLOBAL_ACCOUNT || allowed.is_empty() || allowed.iter().any(|one| one == account)
    }

    fn question(self: &Arc<Self>, credentials: &Credentials) -> Result<Question, String> {
        let CalloutOptions { issuer, account, xkey, timeout, .. } = &self.options;
        let inquiry = Inquiry {
            account: Arc::clone(account),
            subject: issuer.to_string(),
            xkey: *xkey,
            timeout: *timeout,
            identity: None,
        };
        let (callout, credentials_) = (Arc::clone(self), credentials.clone());
        inquiry.question(
            &self.server,
            credentials,
            |_, _| Ok(()),
            move |approved, now| callout.place(&approved, &credentials_, now),
        )
    }

    /// Makes the grant of an approved user.
    // NATS 2.14: auth_callout.go assignAccountAndPermissions, getIssuerAccount.
    fn place(
        &self,
        approved: &Approved,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<Grant, Refused> {
        let CalloutOptions { issuer, account, accounts, .. } = &self.options;
        let user = &approved.user;
        if !user.nats.issuer_account.is_empty() {
            return Err(format!(
                "error non operator mode account {account:?}: attempted to use issuer_account"
            )
            .into());
        }
        let issuer = issuer.to_string();
        if user.issuer != issuer {
            return Err(format!(
                "wrong issuer for auth callout response on account {account:?}, expected {issuer:?} got {:?}",
                user.issuer
            )
            .into());
        }
        let placement = &user.audience;
        if !accounts.contains(placement) {
            return Err(format!(
                "no valid account {placement:?} for auth callout response on account {account:?}: account missing"
            )
            .into());
        }
        let (limits, zones) = (&user.nats.limits, &*self.server.zones);
        let grant = approved.grant(placement, limits, credentials, zones, now)?;
        Ok(without_subject(grant, account))
    }
}

/// A request to a service that authenticates clients.
pub(crate) struct Inquiry {
    /// The account of the service.
    pub(crate) account: Arc<str>,
    /// The subject of the claims in the request.
    pub(crate) subject: String,
    /// The key of the service for sealed requests.
    pub(crate) xkey: Option<PublicKey>,
    /// The longest wait for a response.
    pub(crate) timeout: Duration,
    /// The proofs of the client so far.
    pub(crate) identity: Option<Arc<Identity>>,
}

impl Inquiry {
    /// Makes the question. `trusts` checks the issuer of a response, unless it was sealed; `place` makes the grant of
    /// the user that it approves.
    ///
    /// # Errors
    ///
    /// A line for the log.
    pub(crate) fn question(
        self,
        server: &Arc<CalloutServer>,
        credentials: &Credentials,
        trusts: impl FnOnce(&str, &str) -> Result<(), String> + Send + 'static,
        place: impl FnOnce(Approved, SystemTime) -> Result<Grant, Refused> + Send + 'static,
    ) -> Result<Question, String> {
        let Self { account, subject, xkey, timeout, identity } = self;
        let random =
            || (server.entropy)().ok_or("Error encoding auth request claim: no randomness");
        // A key of its own for each request prevents replays.
        let user = KeyPair::from_random(KeyKind::User, random()?).public();
        let mut id = server.id.clone();
        if xkey.is_some() {
            id.xkey = server.xkey().to_string();
        }
        let request = request::of(credentials, identity.as_deref(), id, user);
        let mut payload = request::encode(request, subject, timeout, credentials.time, &server.key)
            .map_err(|error| {
                format!("Error encoding auth request claim on account {account:?}: {error}")
            })?
            .expose()
            .as_bytes()
            .to_vec();
        let mut headers = Vec::new();
        if let Some(xkey) = &xkey {
            let random = random()?;
            let nonce = random.first_chunk::<BOX_NONCE_BYTES>().copied().unwrap_or_default();
            payload = server.curve.seal(&payload, xkey, nonce).map_err(|error| {
                format!("Error encrypting auth request claim on account {account:?}: {error}")
            })?;
            headers = format!("NATS/1.0\r\n{XKEY_HEADER}: {}\r\n\r\n", server.xkey()).into_bytes();
        }
        let expected = Expected { account: Arc::clone(&account), user, xkey };
        let is_proxied = credentials.proxy.is_some();
        let server = Arc::clone(server);
        let asked = Subject::parse(SUBJECT).map_err(|error| error.to_string())?;
        let reason = DenialReason::default();
        let left = reason.clone();
        let judge = move |answer: &[u8], now: SystemTime| {
            let approved = expected.read(answer, &server, now, trusts);
            let approved = approved.map_err(Refused::from);
            let approved = approved.and_then(|approved| approved.through(is_proxied));
            let result = approved.and_then(|approved| place(approved, now));
            result.map_err(|refused| {
                left.leave(title_case(&refused.line));
                refused.log()
            })
        };
        let question = Question::new(account, asked, payload).with_headers(headers);
        Ok(question.with_timeout(timeout).with_reason(reason).judged_by(judge))
    }
}

/// The reason why a response does not let a client in.
pub(crate) struct Refused {
    /// The line for the log.
    line: String,
    denied: Denied,
}

impl From<String> for Refused {
    fn from(line: String) -> Self {
        Self { line, denied: Denied::Credentials }
    }
}

impl Refused {
    /// Writes the line.
    // NATS 2.14: auth_callout.go processReply.
    pub(crate) fn log(self) -> Denied {
        tracing::warn!("{}", title_case(&self.line));
        self.denied
    }
}

impl Approved {
    /// Refuses a user who must connect through a trusted proxy, and does not.
    // NATS 2.14: auth_callout.go processReply.
    fn through(self, is_proxied: bool) -> Result<Self, Refused> {
        if self.user.nats.limits.proxy_required && !is_proxied {
            let line = Denied::ProxyRequired.to_string();
            return Err(Refused { line, denied: Denied::ProxyRequired });
        }
        Ok(self)
    }
}

/// Forbids clients in the account of the service to send requests to the service.
pub(crate) fn without_subject(mut grant: Grant, account: &str) -> Grant {
    if *grant.account == *account
        && let Ok(subject) = SubjectFilter::parse(SUBJECT)
    {
        let permissions = grant.permissions.as_deref().cloned();
        let permissions = permissions.unwrap_or_else(Permissions::unrestricted);
        grant.permissions = Some(Arc::new(permissions.denying_publish(&subject)));
    }
    grant
}

/// Capitalizes the first letter.
fn title_case(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

impl fmt::Debug for AuthCallout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthCallout")
            .field("options", &self.callout.options)
            .finish_non_exhaustive()
    }
}
