//! Client metadata.

use crate::auth::Identity;
use crate::sync::Arc;

/// Client metadata from CONNECT: name, language, version, user. Holds no secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The name of the client.
    pub name: Box<str>,
    /// The language of its library.
    pub lang: Box<str>,
    /// The version of its library.
    pub version: Box<str>,
    /// The user as monitoring shows it: a name or a public key; `[REDACTED]` for a token.
    pub user: Option<Arc<str>>,
    /// The proven identity, if there is one.
    pub identity: Option<Arc<Identity>>,
    /// The public key of the trusted proxy that the client comes through, if it does.
    pub proxy: Option<Arc<str>>,
}
