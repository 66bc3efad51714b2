//! Who is let in, and with what: credentials in, a grant out.
//!
//! An [`Authenticator`] looks at what a connection showed ([`Credentials`]) and says who that is
//! ([`Grant`]: name, account, [`Permissions`]) or that it is nobody ([`Denied`]). [`NoAuth`],
//! [`Token`] and [`Users`] are built in; an embedder brings their own by implementing the trait:
//!
//! ```
//! use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant};
//!
//! /// Lets in who says the magic word.
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
//! Every way in asks the same question: CONNECT, a second CONNECT that changes the user, and, where
//! nothing need be shown, a first operation that is no CONNECT (with [`Credentials::default`]).
//!
//! # What comes later
//!
//! Each kind is a file and a type beside `users.rs`, and nothing else changes:
//!
//! - nkeys and JWTs ask for the nonce ([`Authenticator::nonce_required`]) and check `sig` against
//!   it; a JWT's end becomes a field of [`Grant`], and a timer of the session.
//! - A callout asks a service over the broker itself and has to wait for it: a variant of
//!   [`Decision`] that says what to ask.
//!
//! Where several stand side by side they are asked in NATS's order: one's own, JWTs, nkeys, users,
//! token.

mod certificate;
mod credentials;
mod entries;
mod grant;
#[cfg(test)]
mod model;
mod password;
mod permissions;
#[cfg(test)]
mod property;
mod replies;
mod secret;
mod token;
mod users;

use std::fmt;
use std::sync::Arc;

pub use certificate::{Certificate, DistinguishedName};
pub use credentials::{ConnectionKind, Credentials, UnknownConnectionKind};
pub use grant::{GLOBAL_ACCOUNT, Grant, Proof};
pub(crate) use permissions::Subscribe;
pub use permissions::{PermissionList, Permissions, PermissionsBuilder, PermissionsError};
pub use replies::AllowResponses;
pub(crate) use replies::Replies;
pub use secret::Secret;
pub use token::Token;
pub use users::{User, Users, UsersBuilder, UsersError};

/// Decides who is let in.
pub trait Authenticator: Send + Sync + 'static {
    /// Must a connection show anything? It is told so in INFO (`auth_required`).
    ///
    /// If not, one that showed nothing is let in with what [`Credentials::default`] is granted.
    fn is_required(&self) -> bool;

    /// Who is this?
    ///
    /// Called on the connection's own task: what takes more than some microseconds belongs in a
    /// [`Decision::compute`]. What is there to wait for (a network, a disk) should be known before,
    /// or be waited for there, with an end.
    fn authenticate(&self, credentials: &Credentials) -> Decision;

    /// What has somebody now whom the authenticator before this one let in with `held`? Asked for every
    /// connection when the broker [gets](crate::Broker::apply) this authenticator.
    ///
    /// `credentials` are those that were shown then. Of a party with a [`Proof`] the secrets among them
    /// have been forgotten: only the proof can tell whether they are still right. Nothing may be
    /// [computed](Decision::Compute) here, as it would be for thousands at once: it counts as denied.
    ///
    /// Who is denied is told so and cut, and comes back to be asked as everybody is. Who is
    /// [unknown](Denied::Unknown) now, or granted another account, is cut without a word.
    ///
    /// By default who has no proof is [asked](Self::authenticate) as at first, and others are denied.
    fn review(&self, held: &Grant, credentials: &Credentials) -> Decision {
        if !held.proof.is_some() {
            return self.authenticate(credentials);
        }
        Denied::Credentials.into()
    }

    /// Must INFO carry a nonce for the client to sign?
    fn nonce_required(&self) -> bool {
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
}

/// What an [`Authenticator`] says.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Decision {
    /// Let in, with this.
    Grant(Grant),
    /// Not let in.
    Deny(Denied),
    /// It takes some computing to tell.
    Compute(Compute),
}

impl Decision {
    /// A decision that takes long, to be run where that hurts nobody.
    pub fn compute(scratch: impl FnOnce() -> Result<Grant, Denied> + Send + 'static) -> Self {
        Self::Compute(Compute(Box::new(scratch)))
    }

    /// Decides, if need be by computing here and now.
    ///
    /// # Errors
    ///
    /// [`Denied`] if that is the decision.
    pub fn resolve(self) -> Result<Grant, Denied> {
        match self {
            Self::Grant(grant) => Ok(grant),
            Self::Deny(denied) => Err(denied),
            Self::Compute(compute) => compute.run(),
        }
    }
}

impl From<Grant> for Decision {
    fn from(grant: Grant) -> Self {
        Self::Grant(grant)
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

/// An expensive check, such as bcrypt's: tens to hundreds of milliseconds of one core.
///
/// Whoever drives the session runs it on a bounded pool, so that wrong passwords, which anybody may
/// send, slow down log-ins at most. If there is no room in time, [`Denied::Unavailable`] is the
/// answer.
#[must_use]
pub struct Compute(Box<dyn FnOnce() -> Result<Grant, Denied> + Send>);

impl Compute {
    /// Takes its time.
    ///
    /// # Errors
    ///
    /// [`Denied`] if that is the decision.
    pub fn run(self) -> Result<Grant, Denied> {
        (self.0)()
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compute")
    }
}

/// Why somebody is not let in: for the log. They themselves are told `Authorization Violation`,
/// whatever it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No such user, a wrong password, nothing shown: which of them stays unsaid.
    #[error("wrong or no credentials")]
    Credentials,
    /// The user may not come over this kind of connection.
    #[error("the user may not use this kind of connection")]
    ConnectionKind,
    /// A user who was let in is not on the list any more.
    #[error("the user is no longer known")]
    Unknown,
    /// The check could not be made, or not in time.
    #[error("the credentials could not be checked")]
    Unavailable,
}

/// Lets everybody in, into the global account, to do everything.
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

    /// Everybody stays, and is known again should there be users once more.
    // NATS 2.14: whoever had shown a name is cut when the users go.
    fn review(&self, held: &Grant, _: &Credentials) -> Decision {
        Grant { user: held.user.clone(), proof: held.proof.clone(), ..Grant::anonymous() }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_authentication_everybody_goes_by_the_name_they_give() {
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
}
