//! What a party that was let in may do.

mod entries;
#[cfg(test)]
mod model;
mod permissions;
#[cfg(test)]
mod property;
mod replies;

#[allow(unused_imports, reason = "for the sessions, which land apart from this")]
pub(crate) use permissions::Subscribe;
pub use permissions::{PermissionList, Permissions, PermissionsBuilder, PermissionsError};
pub use replies::AllowResponses;
#[allow(unused_imports, reason = "for the sessions, which land apart from this")]
pub(crate) use replies::Replies;
