//! Contradictions between options that are valid individually.

use std::fmt;

use broker_core::account::MappingError;
use broker_core::auth::{PermissionsError, UsersError};
use broker_core::limits::MAX_COUNTED_SUBJECTS;
use broker_net::TlsError;
use broker_net::websocket::{BadHeader, BadOrigin};

use super::{ClusterError, ListenUnixError};

/// Options contradict each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A password without a user: the server would be open to everyone.
    #[error("authorization: a password needs a user")]
    PasswordWithoutUser,
    /// A trusted proxy without a public key, or the build cannot check signatures.
    #[error("proxy trusted key {0:?} is invalid")]
    ProxyKey(String),
    /// Only one of the two can be served.
    #[error("can't specify both HTTP and HTTPS ports")]
    HttpAndHttps,
    /// HTTPS without a certificate.
    #[error("TLS cert and key required for HTTPS")]
    HttpsWithoutTls,
    /// More filters than allowed: each adds to the cost of a new subject of a client.
    #[error("metrics_subjects: {0} are more than the {MAX_COUNTED_SUBJECTS} that can be counted")]
    TooManyCountedSubjects(usize),
    /// A user without a password, or a password without a user.
    #[error("http_user and http_password need each other")]
    HalfAnHttpUser,
    /// The messages of all accounts would be shown to everybody who reaches the port.
    #[error("http_messages needs http_token, or http_user and http_password")]
    OpenHttpMessages,
    /// Only one of the two could be required.
    #[error("authorization: a token cannot be combined with a user and password")]
    UserAndToken,
    /// Only one of the two could be required.
    #[error("authorization: a single user cannot be combined with a list of users")]
    UserAndUsers,
    /// Only one of the two could be required.
    #[error("authorization: a token cannot be combined with a list of users")]
    TokenAndUsers,
    /// The system account is none of the accounts.
    #[error("error resolving system account: account missing: {0:?}")]
    NoSystemAccount(String),
    /// Clients without credentials could reload the server and close the connections of others.
    #[error("system_account: the global account \"$G\" cannot be the system account")]
    GlobalSystemAccount,
    /// An empty list of users.
    #[error("authorization: the list of users is empty: nobody could connect")]
    NoUsers,
    /// A user without a name.
    #[error("{0}: a user needs a name")]
    NamelessUser(String),
    /// A user with a key who also has a name or a password.
    // NATS 2.14: opts.go parseUsers.
    #[error("{0}: Nkey users do not take usernames or passwords")]
    NkeyAndName(String),
    /// A key that is none.
    #[error("{0}: Not a valid public nkey for a user")]
    BadNkey(String),
    /// An auth callout without the key of its responses.
    // NATS 2.14: opts.go parseAuthCallout.
    #[error("Authorization callouts require an issuer to be specified")]
    CalloutIssuer,
    /// An auth callout whose service could not log in.
    #[error("Authorization callouts require authorized users to be specified")]
    CalloutUsers,
    /// A key of an auth callout that is none.
    #[error("auth_callout: not a public {0} key")]
    CalloutKey(&'static str),
    /// An auth callout for an account that is not configured.
    #[error("auth_callout allowed account {0:?} not found in configured accounts")]
    CalloutAccount(String),
    /// The system provides no randomness for the keys of the server.
    #[error("the system provides no randomness")]
    NoRandomness,
    /// Two users with the same name.
    #[error("there is another user {name:?}")]
    DuplicateUser {
        /// The path of the second.
        path: String,
        /// The name.
        name: String,
    },
    /// Another error in the list of users.
    #[error("authorization: {0}")]
    Users(#[from] UsersError),
    /// The list of users does not contain this one, or is missing.
    #[error("no_auth_user {0:?} needs a list of users that has this one")]
    NoAuthUserAlone(String),
    /// Permissions are invalid.
    #[error("{path}: permissions: {source}")]
    Permissions {
        /// The path of the permissions.
        path: String,
        /// The error.
        source: PermissionsError,
    },
    /// The name of a predefined account.
    #[error("accounts: {0:?} is the account of users that have none, and not for others")]
    ReservedAccount(String),
    /// An export or an import of an account cannot be in force.
    #[error("{text}")]
    Share {
        /// The path of the export or import.
        path: String,
        /// The text of the reference.
        text: String,
    },
    /// A mapping has no weight.
    // NATS 2.14: opts.go parseAccountMapDest.
    #[error("Missing weight for mapping destination {destination:?}")]
    NoWeight {
        /// The path of the mapping.
        path: String,
        /// The destination.
        destination: String,
    },
    /// A mapping is not valid.
    // NATS 2.14: opts.go parseAccountMappings.
    #[error("Error adding mapping for {mapping} : {error}")]
    Mapping {
        /// The path of the mapping.
        path: String,
        /// The source, and the destination if it is the only one.
        mapping: String,
        /// The error.
        error: MappingError,
    },
    /// A maximum-size message would not fit into a client's queue.
    #[error("max_payload ({max_payload}) is more than max_pending ({max_pending})")]
    PayloadOverPending {
        /// The maximum payload.
        max_payload: i64,
        /// The size of a client's queue.
        max_pending: u64,
    },
    /// The TLS options are invalid.
    #[error("tls: {0}")]
    Tls(TlsError),
    /// A TLS block contradicts itself.
    #[error("{path}: {source}")]
    TlsBlock {
        /// The path of the block.
        path: &'static str,
        /// The error.
        source: TlsBlockError,
    },
    /// Options of operators are invalid.
    #[cfg(feature = "jwt")]
    #[error(transparent)]
    Operator(#[from] super::operator_error::OperatorError),
    /// The options of the cluster are invalid.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The WebSocket options are invalid.
    #[error(transparent)]
    Websocket(#[from] WebsocketError),
    /// The Unix socket options are invalid.
    #[error(transparent)]
    ListenUnix(#[from] ListenUnixError),
    /// No time would remain to close clients.
    #[error(
        "lame_duck_grace_period ({}) must be shorter than lame_duck_duration ({})",
        Go(*grace), Go(*duration)
    )]
    GraceNotShorter {
        /// The grace period.
        grace: std::time::Duration,
        /// The total duration.
        duration: std::time::Duration,
    },
}

impl OptionsError {
    /// Returns the path of the option to be changed.
    pub fn path(&self) -> &str {
        match self {
            Self::PasswordWithoutUser => "authorization.password",
            Self::ProxyKey(_) => "proxies.trusted",
            Self::UserAndToken | Self::TokenAndUsers => "authorization.token",
            Self::UserAndUsers => "authorization.user",
            Self::TooManyCountedSubjects(_) => "metrics_subjects",
            Self::HalfAnHttpUser => "http_user",
            Self::OpenHttpMessages => "http_messages",
            Self::HttpAndHttps | Self::HttpsWithoutTls => "https_port",
            Self::NoUsers | Self::Users(_) => "authorization.users",
            Self::NamelessUser(path)
            | Self::NkeyAndName(path)
            | Self::BadNkey(path)
            | Self::DuplicateUser { path, .. }
            | Self::Share { path, .. }
            | Self::NoWeight { path, .. }
            | Self::Mapping { path, .. }
            | Self::Permissions { path, .. } => path,
            Self::CalloutIssuer
            | Self::CalloutUsers
            | Self::CalloutKey(_)
            | Self::CalloutAccount(_) => "authorization.auth_callout",
            Self::NoRandomness => "server_name",
            Self::NoAuthUserAlone(_) => "no_auth_user",
            Self::ReservedAccount(_) => "accounts",
            Self::NoSystemAccount(_) | Self::GlobalSystemAccount => "system_account",
            Self::PayloadOverPending { .. } => "max_payload",
            Self::Tls(_) => "tls",
            Self::TlsBlock { path, .. } => path,
            #[cfg(feature = "jwt")]
            Self::Operator(error) => error.path(),
            Self::Cluster(error) => error.path(),
            Self::Websocket(error) => error.path(),
            Self::ListenUnix(error) => error.path(),
            Self::GraceNotShorter { .. } => "lame_duck_grace_period",
        }
    }
}

/// Displays a duration as Go does.
struct Go(std::time::Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::config::duration::show(self.0))
    }
}

/// A TLS block lacks a key, or contains one without effect.
// NATS 2.14: opts.go parseTLS, GenTLSConfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsBlockError {
    /// Only one of the two can be used.
    #[error("cannot combine 'cert_file' option with 'certs' option")]
    CertFileAndCerts,
    /// The key would not be used.
    #[error("cannot combine 'key_file' option with 'certs' option")]
    KeyFileAndCerts,
    /// The certificate has no key.
    #[error("missing 'key_file' in TLS configuration")]
    NoKeyFile,
    /// The key has no certificate.
    #[error("missing 'cert_file' in TLS configuration")]
    NoCertFile,
    /// One of several certificates, or its key, is missing.
    #[error("certs: both 'cert_file' and 'key_file' options are required")]
    HalfAPair,
    /// Clients have no URLs listed in the configuration.
    #[error("verify_cert_and_check_known_urls not supported in this context")]
    NoKnownUrls,
    /// Certificate stores exist on Windows.
    #[error("cert_store not compatible with current operating system")]
    NoCertStore,
}

/// WebSocket options are invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WebsocketError {
    /// Passwords would be sent in clear text.
    #[error(
        "websocket requires TLS configuration (or no_tls: true, where something else encrypts)"
    )]
    NoTls,
    /// The TLS options are invalid.
    #[error("websocket.tls: {0}")]
    Tls(TlsError),
    /// Not a valid origin.
    #[error("websocket: {0}")]
    Origin(BadOrigin),
    /// Not a valid response header.
    #[error(transparent)]
    Header(BadHeader),
    /// The list of users does not contain this one, or is missing.
    #[error("websocket: no_auth_user {0:?} needs a list of users that has this one")]
    NoAuthUser(String),
    /// Only one of the two could be required.
    #[error("websocket authentication username not compatible with presence of users/nkeys")]
    UserAndUsers,
    /// Only one of the two could be required.
    #[error("websocket authentication token not compatible with presence of users/nkeys")]
    TokenAndUsers,
    /// Only one of the two could be required.
    #[error("websocket.authorization: a token cannot be combined with a user and password")]
    UserAndToken,
    /// The password would never be required.
    #[error("websocket.authorization: a password needs a user")]
    PasswordWithoutUser,
    /// JWTs in cookies are checked only where operators are trusted.
    #[error(
        "trusted operators or trusted keys configuration is required for JWT authentication via cookie {0:?}"
    )]
    JwtCookieAlone(String),
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
            Self::JwtCookieAlone(_) => "websocket.jwt_cookie",
        }
    }
}
