//! What a party is let in with.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Credentials, Permissions};

/// The account of everybody who was given no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// What a party that was let in may do, and where.
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
    /// Who this is, for logs and monitoring.
    pub user: Option<Arc<str>>,
    /// The subject space this party lives in: [`GLOBAL_ACCOUNT`] unless said otherwise.
    pub account: Arc<str>,
    /// Where it may publish and subscribe there: everywhere if `None`.
    pub permissions: Option<Arc<Permissions>>,
    /// How its giver will know the party again.
    pub proof: Proof,
}

/// What an [`Authenticator`](super::Authenticator) wants to find again when a party that was let in is
/// [reviewed](super::Authenticator::review): which entry of which list it was, say.
///
/// A party with a proof need not be asked for its password again, so that the server forgets the
/// password. It is no part of what is granted: any two are equal. By default there is none.
#[derive(Clone, Default)]
pub struct Proof(Option<Arc<dyn Any + Send + Sync>>);

impl Proof {
    /// Keeps `what`, for whoever knows its type.
    pub fn new<T: Any + Send + Sync>(what: Arc<T>) -> Self {
        Self(Some(what))
    }

    /// Is there one?
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// What is kept, if it is of that type.
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

/// What is kept may be a secret.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

impl Grant {
    /// Everything, in the global account, for somebody without a name.
    pub fn anonymous() -> Self {
        Self {
            user: None,
            account: GLOBAL_ACCOUNT.into(),
            permissions: None,
            proof: Proof::default(),
        }
    }

    /// Everything, in the global account, for `user`.
    pub fn user(user: impl Into<Arc<str>>) -> Self {
        Self { user: Some(user.into()), ..Self::anonymous() }
    }

    /// The same in another account.
    #[must_use]
    pub fn with_account(mut self, account: impl Into<Arc<str>>) -> Self {
        self.account = account.into();
        self
    }

    /// The same under permissions.
    #[must_use]
    pub fn with_permissions(mut self, permissions: impl Into<Arc<Permissions>>) -> Self {
        self.permissions = Some(permissions.into());
        self
    }

    /// The same with what its giver will know the party by.
    #[must_use]
    pub fn with_proof<T: Any + Send + Sync>(mut self, proof: Arc<T>) -> Self {
        self.proof = Proof::new(proof);
        self
    }

    /// Everything, in the global account, for somebody who goes by what they showed.
    pub(super) fn shown_as(credentials: &Credentials) -> Self {
        Self { user: credentials.shown_as().map(Into::into), ..Self::anonymous() }
    }
}
