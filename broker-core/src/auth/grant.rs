//! Grants: the result of authentication.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Credentials, Identity, Permissions};

/// The account of clients without an assigned account.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// The identity, account, permissions and limits of an authenticated client.
///
/// ```
/// use broker_core::auth::{Grant, Permissions};
///
/// let read_only = Permissions::builder().publish_deny([">"]).build()?;
/// let grant = Grant::user("auditor").with_account("BOOKS").with_permissions(read_only);
/// assert_eq!(grant.user.as_deref(), Some("auditor"));
/// assert_eq!(&*grant.account, "BOOKS");
/// # Ok::<(), broker_core::auth::PermissionsError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Grant {
    /// The user, for logs and monitoring.
    pub user: Option<Arc<str>>,
    /// The account: [`GLOBAL_ACCOUNT`] by default.
    pub account: Arc<str>,
    /// The permissions in the account; `None` for no restrictions.
    pub permissions: Option<Arc<Permissions>>,
    /// Data by which the authenticator finds the client again in a review.
    pub proof: Proof,
    /// The time at which the grant ends, by the wall clock of the broker; `None` for never. The connection is
    /// closed then. An in-process client keeps its grant.
    pub expires: Option<SystemTime>,
    /// The time at which the account ends, likewise.
    pub account_expires: Option<SystemTime>,
    /// The limits of this client.
    pub limits: GrantLimits,
    /// The proven identity, for monitoring and events; `None` for a user without a key or a token.
    pub identity: Option<Arc<Identity>>,
    /// The public key of the [trusted](super::TrustedProxies) proxy that the client comes through, if it does.
    pub proxy: Option<Arc<str>>,
}

/// The limits of one client. Those of the server and of the account apply too: the lowest
/// counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct GrantLimits {
    /// The number of subscriptions; `None` for that of the server. A client that has more when a review lowers
    /// it keeps them.
    pub max_subscriptions: Option<usize>,
    /// The size of a message with headers, in bytes; `None` for that of the server.
    pub max_payload_bytes: Option<usize>,
}

/// Data that an [`Authenticator`](super::Authenticator) keeps for a later
/// [review](super::Authenticator::review) of a client: for example the entry of a list.
///
/// The server forgets the password of a client with a proof. A proof is no part of the grant's value:
/// any two are equal. There is none by default.
#[derive(Clone, Default)]
pub struct Proof(Option<Arc<dyn Any + Send + Sync>>);

impl Proof {
    /// Wraps `what`.
    pub fn new<T: Any + Send + Sync>(what: Arc<T>) -> Self {
        Self(Some(what))
    }

    /// Returns true if there is one.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the data to share, if it has this type.
    #[cfg(feature = "jwt")]
    pub(crate) fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.as_ref()?).downcast().ok()
    }

    /// Returns the data if it has this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl PartialEq for Proof {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Proof {}

/// Prints no data, which may be secret.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

impl Grant {
    /// Grants everything in the global account to an anonymous client.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            account: GLOBAL_ACCOUNT.into(),
            permissions: None,
            proof: Proof::default(),
            expires: None,
            account_expires: None,
            limits: GrantLimits::default(),
            identity: None,
            proxy: None,
        }
    }

    /// Grants everything in the global account to `user`.
    pub fn user(user: impl Into<Arc<str>>) -> Self {
        Self { user: Some(user.into()), ..Self::anonymous() }
    }

    /// Replaces the account.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<Arc<str>>) -> Self {
        self.account = account.into();
        self
    }

    /// Adds permissions.
    #[must_use]
    pub fn with_permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.permissions = Some(permissions.into());
        self
    }

    /// Sets the time at which the grant ends.
    #[must_use]
    pub fn with_expiry(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Sets the time at which the account ends.
    #[must_use]
    pub fn with_account_expiry(mut self, expires: SystemTime) -> Self {
        self.account_expires = Some(expires);
        self
    }

    /// Limits the number of subscriptions.
    #[must_use]
    pub fn with_max_subscriptions(mut self, max: usize) -> Self {
        self.limits.max_subscriptions = Some(max);
        self
    }

    /// Limits the size of messages with headers, in bytes.
    #[must_use]
    pub fn with_max_payload_bytes(mut self, max: usize) -> Self {
        self.limits.max_payload_bytes = Some(max);
        self
    }

    /// Adds the identity that monitoring and events show.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<Arc<Identity>>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Adds a proof.
    #[must_use]
    pub fn with_proof<T: Any + Send + Sync>(mut self, proof: Arc<T>) -> Self {
        self.proof = Proof::new(proof);
        self
    }

    /// Grants everything in the global account under the name in the credentials.
    pub(super) fn shown_as(credentials: &Credentials) -> Self {
        Self { user: credentials.shown_as().map(Into::into), ..Self::anonymous() }
    }
}
