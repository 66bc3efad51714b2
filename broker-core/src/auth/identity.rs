//! The proven identity of a client.

use crate::sync::Arc;

/// The keys and names that a client has proven by its signature or its token. Contains nothing secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// The public key of the user.
    pub nkey: Option<Arc<str>>,
    /// The key that has issued the token of the user.
    pub issuer_key: Option<Arc<str>>,
    /// The public key of the account of the user, if its name is another one.
    pub account_key: Option<Arc<str>>,
    /// The name in the token of its account.
    pub account_name: Option<Arc<str>>,
    /// The name in the token of the user.
    pub name_tag: Option<Arc<str>>,
    /// The tags in the token of the user.
    pub tags: Arc<[Arc<str>]>,
    /// The name that an authorization service has given the client, in place of the one that it sent.
    pub user: Option<Arc<str>>,
    /// True if a token has proven it.
    pub is_by_token: bool,
}
