//! Errors of settings: contradictions that no single value shows.

use std::fmt;

use broker_core::auth::{PermissionsError, UsersError};
use broker_core::limits::MAX_COUNTED_SUBJECTS;
use broker_net::TlsError;
use broker_net::websocket::{BadHeader, BadOrigin};

use super::ListenUnixError;

/// Settings that contradict each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A password, but nobody whose it is: the server would be open to all.
    #[error("authorization: a password needs a user")]
    PasswordWithoutUser,
    /// Only one of them is shown.
    #[error("can't specify both HTTP and HTTPS ports")]
    HttpAndHttps,
    /// There is no certificate.
    #[error("TLS cert and key required for HTTPS")]
    HttpsWithoutTls,
    /// Each costs a little for every subject that a client begins to publish to.
    #[error("metrics_subjects: {0} are more than the {MAX_COUNTED_SUBJECTS} that can be counted")]
    TooManyCountedSubjects(usize),
    /// Nobody could look, or everybody.
    #[error("http_user and http_password need each other")]
    HalfAnHttpUser,
    /// Only one of them could be asked for.
    #[error("authorization: a token cannot be combined with a user and password")]
    UserAndToken,
    /// Only one of them could be asked for.
    #[error("authorization: a single user cannot be combined with a list of users")]
    UserAndUsers,
    /// Only one of them could be asked for.
    #[error("authorization: a token cannot be combined with a list of users")]
    TokenAndUsers,
    /// A list of nobody.
    #[error("authorization: the list of users is empty: nobody could connect")]
    NoUsers,
    /// A user who cannot log in.
    #[error("{0}: a user needs a name")]
    NamelessUser(String),
    /// Users who cannot be told apart.
    #[error("there is another user {name:?}")]
    DuplicateUser {
        /// The second.
        path: String,
        /// The name of both.
        name: String,
    },
    /// Another fault of the list of users.
    #[error("authorization: {0}")]
    Users(#[from] UsersError),
    /// There is no list of users, or it has not this one.
    #[error("no_auth_user {0:?} needs a list of users that has this one")]
    NoAuthUserAlone(String),
    /// What a user may do cannot be said so.
    #[error("{path}: permissions: {source}")]
    Permissions {
        /// Whose they are.
        path: String,
        /// What is wrong.
        source: PermissionsError,
    },
    /// An account that is there anyway.
    #[error("accounts: {0:?} is the account of users that have none, and not for others")]
    ReservedAccount(String),
    /// A message could not wait to be sent.
    #[error("max_payload ({max_payload}) is more than max_pending ({max_pending})")]
    PayloadOverPending {
        /// The one.
        max_payload: i64,
        /// The other.
        max_pending: u64,
    },
    /// TLS that cannot be offered.
    #[error("tls: {0}")]
    Tls(TlsError),
    /// A block of TLS that contradicts itself.
    #[error("{path}: {source}")]
    TlsBlock {
        /// The block.
        path: &'static str,
        /// What is wrong.
        source: TlsBlockError,
    },
    /// Settings of WebSocket.
    #[error(transparent)]
    Websocket(#[from] WebsocketError),
    /// Settings of the socket in the file system.
    #[error(transparent)]
    ListenUnix(#[from] ListenUnixError),
    /// There would be no time left to close clients in.
    #[error(
        "lame_duck_grace_period ({}) must be shorter than lame_duck_duration ({})",
        Go(*grace), Go(*duration)
    )]
    GraceNotShorter {
        /// The one.
        grace: std::time::Duration,
        /// The other.
        duration: std::time::Duration,
    },
}

impl OptionsError {
    /// The option that is to be changed.
    pub fn path(&self) -> &str {
        match self {
            Self::PasswordWithoutUser => "authorization.password",
            Self::UserAndToken | Self::TokenAndUsers => "authorization.token",
            Self::UserAndUsers => "authorization.user",
            Self::TooManyCountedSubjects(_) => "metrics_subjects",
            Self::HalfAnHttpUser => "http_user",
            Self::HttpAndHttps | Self::HttpsWithoutTls => "https_port",
            Self::NoUsers | Self::Users(_) => "authorization.users",
            Self::NamelessUser(path)
            | Self::DuplicateUser { path, .. }
            | Self::Permissions { path, .. } => path,
            Self::NoAuthUserAlone(_) => "no_auth_user",
            Self::ReservedAccount(_) => "accounts",
            Self::PayloadOverPending { .. } => "max_payload",
            Self::Tls(_) => "tls",
            Self::TlsBlock { path, .. } => path,
            Self::Websocket(error) => error.path(),
            Self::ListenUnix(error) => error.path(),
            Self::GraceNotShorter { .. } => "lame_duck_grace_period",
        }
    }
}

/// Shown as Go does.
struct Go(std::time::Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::config::duration::show(self.0))
    }
}

/// A block of TLS that lacks a key, or has one that would have no effect.
// NATS 2.14: opts.go parseTLS, GenTLSConfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsBlockError {
    /// Only one of the two is shown.
    #[error("cannot combine 'cert_file' option with 'certs' option")]
    CertFileAndCerts,
    /// The key would not be used.
    #[error("cannot combine 'key_file' option with 'certs' option")]
    KeyFileAndCerts,
    /// The certificate cannot be used without its key.
    #[error("missing 'key_file' in TLS configuration")]
    NoKeyFile,
    /// The key has no certificate.
    #[error("missing 'cert_file' in TLS configuration")]
    NoCertFile,
    /// A certificate of several, or its key, is missing.
    #[error("certs: both 'cert_file' and 'key_file' options are required")]
    HalfAPair,
    /// Clients do not come from URLs that a configuration lists.
    #[error("verify_cert_and_check_known_urls not supported in this context")]
    NoKnownUrls,
}

/// Settings of WebSocket that cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WebsocketError {
    /// Passwords would be read by whoever is on the way.
    #[error(
        "websocket requires TLS configuration (or no_tls: true, where something else encrypts)"
    )]
    NoTls,
    /// TLS that cannot be offered.
    #[error("websocket.tls: {0}")]
    Tls(TlsError),
    /// Nothing that a page could come from.
    #[error("websocket: {0}")]
    Origin(BadOrigin),
    /// A line that must not be in the answer.
    #[error(transparent)]
    Header(BadHeader),
    /// There is no list of users, or it has not this one.
    #[error("websocket: no_auth_user {0:?} needs a list of users that has this one")]
    NoAuthUser(String),
    /// Only one of them could be asked for.
    #[error("websocket authentication username not compatible with presence of users/nkeys")]
    UserAndUsers,
    /// Only one of them could be asked for.
    #[error("websocket authentication token not compatible with presence of users/nkeys")]
    TokenAndUsers,
    /// Only one of them could be asked for.
    #[error("websocket.authorization: a token cannot be combined with a user and password")]
    UserAndToken,
    /// Nobody would be asked for it.
    #[error("websocket.authorization: a password needs a user")]
    PasswordWithoutUser,
}

impl WebsocketError {
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::NoTls => "websocket",
            Self::Tls(_) => "websocket.tls",
            Self::Origin(_) => "websocket.allowed_origins",
            Self::Header(_) => "websocket.headers",
            Self::NoAuthUser(_) => "websocket.no_auth_user",
            Self::UserAndUsers => "websocket.authorization.user",
            Self::TokenAndUsers | Self::UserAndToken => "websocket.authorization.token",
            Self::PasswordWithoutUser => "websocket.authorization.password",
        }
    }
}
