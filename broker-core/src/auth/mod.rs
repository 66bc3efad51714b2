//! Authentication: credentials in, a grant out.
//!
//! An [`Authenticator`] checks the [`Credentials`] of a connection and returns a [`Grant`] (user,
//! account, [`Permissions`]) or the reason of the rejection ([`Denied`]). [`NoAuth`], [`Token`] and
//! [`Users`] are built in; an embedder implements the trait for other methods:
//!
//! ```
//! use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant};
//!
//! /// Accepts one password.
//! struct MagicWord;
//!
//! impl Authenticator for MagicWord {
//!     fn is_required(&self) -> bool {
//!         true
//!     }
//!
//!     fn authenticate(&self, credentials: &Credentials) -> Decision {
//!         if credentials.password.expose() == "please" {
//!             Grant::user(&*credentials.user).into()
//!         } else {
//!             Denied::Credentials.into()
//!         }
//!     }
//! }
//!
//! let mut credentials = Credentials::default();
//! credentials.user = "alice".to_owned();
//! credentials.password = "please".into();
//! let grant = MagicWord.authenticate(&credentials).resolve()?;
//! assert_eq!(grant.user.as_deref(), Some("alice"));
//! # Ok::<(), Denied>(())
//! ```
//!
//! The authenticator is called for CONNECT, for a second CONNECT that changes the user, and, where
//! authentication is optional, for a first operation other than CONNECT (with [`Credentials::default`]).
//!
//! A decision may take time: an expensive computation runs apart from the connections
//! ([`Decision::compute`]), a decision made elsewhere is [`Pending`], and a [`Question`] asks a service over the broker
//! itself. Decisions can follow one another ([`Decision::and_then`]). A grant may have an end and limits
//! of its own ([`Grant`]). A new authenticator [reviews](Authenticator::review) the clients that are connected.
//!
//! # Methods
//!
//! Each method is a type in a file of its own, and changes nothing else. Methods with keys and JWTs need the feature
//! `jwt`: [`Users`] with nkeys, `operator::OperatorMode` for JWTs, and `callout::AuthCallout`, which asks a service.
//!
//! Several methods are tried in the order of NATS: the embedder's own, JWTs, nkeys, users, token.

#[cfg(feature = "jwt")]
pub mod callout;
mod certificate;
mod credentials;
mod entries;
mod grant;
mod identity;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(test)]
mod model;
#[cfg(feature = "jwt")]
pub mod nkey;
mod nonce;
mod password;
mod pending;
mod permissions;
#[cfg(test)]
mod property;
#[cfg(feature = "jwt")]
mod proxies;
mod question;
mod replies;
mod secret;
#[cfg(feature = "jwt")]
pub(crate) mod times;
mod token;
mod users;

use std::fmt;
use std::sync::Arc;

pub use certificate::{Certificate, DistinguishedName};
pub use credentials::{ConnectionKind, Credentials, TlsDetails, UnknownConnectionKind};
pub use grant::{GLOBAL_ACCOUNT, Grant, GrantLimits, Proof};
pub use identity::Identity;
pub use nonce::Nonce;
pub use pending::{Answer, Pending};
pub(crate) use permissions::Subscribe;
pub use permissions::{PermissionList, Permissions, PermissionsBuilder, PermissionsError};
#[cfg(feature = "jwt")]
pub use proxies::TrustedProxies;
pub use question::Question;
pub(crate) use question::{DenialReason, Judge};
pub use replies::AllowResponses;
pub(crate) use replies::Replies;
pub use secret::Secret;
#[cfg(feature = "jwt")]
pub use times::{TimeZones, Utc};
pub use token::Token;
pub use users::{User, Users, UsersBuilder, UsersError};

/// Authenticates connections.
pub trait Authenticator: Send + Sync + 'static {
    /// Returns true if connections must authenticate (`auth_required` in INFO).
    ///
    /// Otherwise, a connection without credentials gets the grant of [`Credentials::default`].
    fn is_required(&self) -> bool;

    /// Authenticates a connection.
    ///
    /// Called on the task of the connection: a check that takes more than some microseconds belongs in a
    /// [`Decision::compute`], and a decision that must be waited for is [`Pending`].
    fn authenticate(&self, credentials: &Credentials) -> Decision;

    /// Reviews a client that the authenticator before this one granted `held`. Called for every
    /// connection when the broker [gets](crate::Broker::apply) this authenticator.
    ///
    /// `credentials` are those of its CONNECT. Their secrets have been forgotten if the grant has a
    /// [`Proof`]: only the proof can tell whether they are still valid.
    ///
    /// While a decision is computed or [`Pending`] the client stays served under `held`, and the author of the
    /// change [waits](crate::endpoint::Applied). Computations run on the same pool as those of log-ins, within the
    /// same limits: of thousands of clients at once most would find no room and be denied as
    /// [unavailable](Denied::Unavailable), so that a proof is the better way.
    ///
    /// A denied client is closed with an authorization error; it may reconnect and authenticate again. A
    /// client that is [unknown](Denied::Unknown) now, or is assigned another account, is closed without an
    /// error.
    ///
    /// The default [authenticates](Self::authenticate) clients without a proof again, and denies others.
    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        if !held.proof.is_some() {
            return self.authenticate(credentials);
        }
        Denied::Credentials.into()
    }

    /// Returns true if INFO must carry a nonce for the client to sign. [`Credentials::nonce`] is the one that INFO
    /// carried on this connection. It is empty if there was none, because the authenticator was applied later or the
    /// driver of the session supplied none; no signature is valid then.
    fn nonce_required(&self) -> bool {
        false
    }

    /// Returns true if a client that must authenticate may begin with another operation than CONNECT: then it is
    /// authenticated without credentials, which may take time.
    fn is_connect_optional(&self) -> bool {
        false
    }

    /// Returns true if it may put a client into the account of that name, which is not
    /// [configured](crate::Options::accounts). Otherwise interest of other servers in it is ignored.
    fn may_name(&self, account: &str) -> bool {
        let _ = account;
        true
    }

    /// Returns true if it configures accounts itself, by [`Broker::configure_account`](crate::Broker::configure_account):
    /// what they ask for is then looked for although [`Options::accounts`](crate::Options::accounts) does not tell.
    fn configures_accounts(&self) -> bool {
        false
    }

    /// Returns true if the certificates of clients must be kept for [`Credentials::tls`]. They take some KiB for each
    /// connection; their names are known without.
    fn reads_certificates(&self) -> bool {
        false
    }
}

impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn is_required(&self) -> bool {
        (**self).is_required()
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        (**self).authenticate(credentials)
    }

    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        (**self).review(held, credentials)
    }

    fn nonce_required(&self) -> bool {
        (**self).nonce_required()
    }

    fn may_name(&self, account: &str) -> bool {
        (**self).may_name(account)
    }

    fn is_connect_optional(&self) -> bool {
        (**self).is_connect_optional()
    }

    fn configures_accounts(&self) -> bool {
        (**self).configures_accounts()
    }

    fn reads_certificates(&self) -> bool {
        (**self).reads_certificates()
    }
}

/// The decision of an [`Authenticator`].
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Decision {
    /// Accepts the client with this grant.
    Grant(Grant),
    /// Rejects the client.
    Deny(Denied),
    /// The decision takes an expensive computation.
    Compute(Compute),
    /// The decision is made later, elsewhere.
    Pending(Pending),
    /// A service decides, which is asked over the broker itself.
    Ask(Question),
    /// Another decision follows one that takes time: see [`Self::and_then`].
    Chained(Chained),
}

impl Decision {
    /// Creates a decision from an expensive check, which runs on a pool apart from the connections.
    pub fn compute(scratch: impl FnOnce() -> Result<Grant, Denied> + Send + 'static) -> Self {
        Self::Compute(Compute(Box::new(scratch)))
    }

    /// Makes the decision that follows from the result of this one: at once, or when its result is known.
    ///
    /// ```
    /// use broker_core::auth::{Decision, Denied, Grant};
    ///
    /// let decision = Decision::compute(|| Err(Denied::Credentials))
    ///     .and_then(|result| result.or(Ok(Grant::user("guest"))).into());
    /// assert_eq!(decision.resolve(), Ok(Grant::user("guest")));
    /// ```
    pub fn and_then(
        self,
        next: impl FnOnce(Result<Grant, Denied>) -> Self + Send + 'static,
    ) -> Self {
        match self {
            Self::Grant(grant) => next(Ok(grant)),
            Self::Deny(denied) => next(Err(denied)),
            Self::Chained(Chained { first, next: before }) => Self::Chained(Chained {
                first,
                next: Box::new(move |result| before(result).and_then(next)),
            }),
            first => Self::Chained(Chained { first: Box::new(first), next: Box::new(next) }),
        }
    }

    /// Returns the decision, and runs the computation at once if there is one. Does not wait for a pending decision or
    /// the answer to a question: without an answer it is [`Denied::Unavailable`].
    ///
    /// # Errors
    ///
    /// [`Denied`] if the client is rejected.
    pub fn resolve(self) -> Result<Grant, Denied> {
        match self {
            Self::Grant(grant) => Ok(grant),
            Self::Deny(denied) => Err(denied),
            Self::Compute(compute) => compute.run(),
            Self::Pending(pending) => pending.take().unwrap_or(Err(Denied::Unavailable)),
            Self::Ask(_) => Err(Denied::Unavailable),
            Self::Chained(Chained { first, next }) => next(first.resolve()).resolve(),
        }
    }
}

impl From<Grant> for Decision {
    fn from(grant: Grant) -> Self {
        Self::Grant(grant)
    }
}

impl From<Pending> for Decision {
    fn from(pending: Pending) -> Self {
        Self::Pending(pending)
    }
}

impl From<Question> for Decision {
    fn from(question: Question) -> Self {
        Self::Ask(question)
    }
}

impl From<Denied> for Decision {
    fn from(denied: Denied) -> Self {
        Self::Deny(denied)
    }
}

impl From<Result<Grant, Denied>> for Decision {
    fn from(verdict: Result<Grant, Denied>) -> Self {
        verdict.map_or_else(Self::Deny, Self::Grant)
    }
}

/// The function that decides after another decision.
pub(crate) type Next = Box<dyn FnOnce(Result<Grant, Denied>) -> Decision + Send>;

/// A decision that takes time, and the function that decides from its result: made by [`Decision::and_then`].
#[must_use]
pub struct Chained {
    /// Neither a result nor a chain.
    pub(crate) first: Box<Decision>,
    pub(crate) next: Next,
}

impl fmt::Debug for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chained").field("first", &self.first).finish_non_exhaustive()
    }
}

/// An expensive check, such as bcrypt's: tens to hundreds of milliseconds of one core.
///
/// The driver of the session runs it on a bounded pool that is shared out among addresses, so that wrong
/// passwords, which any client may send, slow down log-ins from the same address at most. Without room the
/// result is [`Denied::Unavailable`].
#[must_use]
pub struct Compute(Box<dyn FnOnce() -> Result<Grant, Denied> + Send>);

impl Compute {
    /// Runs the check.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the client is rejected.
    pub fn run(self) -> Result<Grant, Denied> {
        (self.0)()
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compute")
    }
}

/// The reason of a rejection, for the log. The client gets `Authorization Violation`, or an error that asks it to
/// retry later if its credentials could not be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// An unknown user, a wrong password or no credentials; the variant does not distinguish them.
    #[error("wrong or no credentials")]
    Credentials,
    /// The user may not use this kind of connection.
    #[error("the user may not use this kind of connection")]
    ConnectionKind,
    /// A connected user was removed from the list.
    #[error("the user is no longer known")]
    Unknown,
    /// The check could not be made in time.
    #[error("the credentials could not be checked")]
    Unavailable,
    /// The credentials were refused for a reason that only the log at level `debug` shows.
    #[error("{0}")]
    Refused(&'static str),
    /// The user may not connect from this address.
    #[error("the user may not connect from this address")]
    Source,
    /// The user may not be connected at this time of day.
    #[error("Outside connect times")]
    TimeOfDay,
    /// The user must connect through a trusted proxy.
    #[error("proxy connection required")]
    ProxyRequired,
    /// The proxy is not trusted, or no longer.
    #[error("proxy is not trusted")]
    ProxyNotTrusted,
    /// The credentials of a connected user were revoked. At login it is an error like others.
    #[error("the credentials are revoked")]
    Revoked,
    /// The key that has signed the token of a connected user was removed from its account, or its scope has changed.
    /// The client is closed without an error.
    #[error("the signing key of the user was removed")]
    SignerRemoved,
}

/// Accepts every client into the global account, without restrictions.
///
/// ```
/// use broker_core::auth::{Authenticator, Credentials, Grant, NoAuth};
///
/// let decision = NoAuth.authenticate(&Credentials::default());
/// assert_eq!(decision.resolve(), Ok(Grant::anonymous()));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAuth;

impl Authenticator for NoAuth {
    fn is_required(&self) -> bool {
        false
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        Grant::shown_as(credentials).into()
    }

    fn may_name(&self, _: &str) -> bool {
        false
    }

    /// Keeps every client, and its proof for a later authenticator with users.
    // NATS 2.14: a client that had sent a user name is cut when the users are removed.
    fn review(&self, held: &Grant, _: &Credentials) -> Decision {
        Grant { user: held.user.clone(), proof: held.proof.clone(), ..Grant::anonymous() }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_authentication_the_user_is_the_name_in_the_credentials() {
        let credentials = Credentials { user: "joe".into(), ..Credentials::default() };
        assert_eq!(NoAuth.authenticate(&credentials).resolve(), Ok(Grant::user("joe")));
        assert!(!NoAuth.is_required());
        assert!(!NoAuth.nonce_required());
    }

    #[test]
    fn an_authenticator_can_be_shared() {
        let shared: Arc<dyn Authenticator> = Arc::new(Arc::new(Token::new("t")));
        assert!(shared.is_required());
        assert!(shared.authenticate(&Credentials::default()).resolve().is_err());
    }

    #[test]
    fn a_computation_can_be_sent_elsewhere() {
        let Decision::Compute(compute) = Decision::compute(|| Err(Denied::Unavailable)) else {
            panic!("not a computation");
        };
        let elsewhere = std::thread::spawn(move || compute.run());
        assert_eq!(elsewhere.join().unwrap(), Err(Denied::Unavailable));
    }

    #[test]
    fn a_decision_follows_from_another_at_once_or_when_it_is_known() {
        let rename = |result: Result<Grant, Denied>| {
            let name = result.ok().and_then(|grant| grant.user).unwrap_or_else(|| "nobody".into());
            Decision::from(Grant::user(format!("{name}!")))
        };
        let known = Decision::from(Grant::user("a")).and_then(rename);
        assert!(matches!(&known, Decision::Grant(grant) if grant.user.as_deref() == Some("a!")));
        assert_eq!(
            Decision::from(Denied::Unknown).and_then(rename).resolve(),
            Ok(Grant::user("nobody!"))
        );
        let chained = Decision::compute(|| Ok(Grant::user("b"))).and_then(rename).and_then(rename);
        let Decision::Chained(Chained { first, .. }) = &chained else { panic!("{chained:?}") };
        assert!(matches!(**first, Decision::Compute(_)), "chains are flat");
        assert_eq!(chained.resolve(), Ok(Grant::user("b!!")));
    }
}
