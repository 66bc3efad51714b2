//! What a party is let in with.

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
}

impl Grant {
    /// Everything, in the global account, for somebody without a name.
    pub fn anonymous() -> Self {
        Self { user: None, account: GLOBAL_ACCOUNT.into(), permissions: None }
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

    /// Everything, in the global account, for somebody who goes by what they showed.
    pub(super) fn shown_as(credentials: &Credentials) -> Self {
        Self { user: credentials.shown_as().map(Into::into), ..Self::anonymous() }
    }
}
