//! Contradictions between options of operators.

use broker_core::auth::jwt::JwtError;
use broker_core::operator::TrustError;

/// Options of operators are invalid. The texts are those of nats-server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The JWT of an operator is not valid.
    #[error("error parsing operator JWT: {0}")]
    Operator(String),
    /// There is no source of accounts.
    #[error("operators require an account resolver to be configured")]
    NoResolver,
    /// Accounts of the configuration would not be signed.
    #[error("operators do not allow Accounts to be configured directly")]
    Accounts,
    /// Users of the configuration would not be signed.
    #[error("operators do not allow users to be configured directly")]
    Users,
    /// The claims of accounts name their services.
    #[error("operators do not allow authorization callouts to be configured directly")]
    Callout,
    /// Only one of the two can be given.
    #[error("conflicting options for 'TrustedKeys' and 'TrustedOperators'")]
    KeysAndOperators,
    /// Each client would be a user of the configuration.
    #[error("no_auth_user not compatible with Trusted Operator")]
    NoAuthUser,
    /// The system account is not that of the operator.
    #[error("system_account in config and operator JWT must be identical")]
    SystemAccount,
    /// A directory of accounts is filled by requests in the system account.
    #[error(
        "using nats based account resolver - the system account needs to be specified in configuration or the operator jwt"
    )]
    NoSystemAccount,
    /// A sentinel without operators.
    #[error("default sentinel requires operators and accounts")]
    SentinelAlone,
    /// The sentinel is no JWT of a user.
    #[error("default sentinel JWT not valid")]
    Sentinel,
    /// A client that uses the sentinel cannot sign.
    #[error("default sentinel must be a bearer token")]
    SentinelNotBearer,
    /// A key is not that of an account.
    #[error("pinned account key {0:?} is not a valid public account nkey")]
    PinnedAccount(String),
    /// The JWT of an account is not valid.
    #[error("preload account error for {0:?}: invalid account JWT: {1}")]
    Preload(String, JwtError),
    /// Options of the resolver contradict each other.
    #[error("{0}")]
    Resolver(&'static str),
    /// A directory of accounts needs an operator.
    #[error("no operator key found")]
    NoKey,
    /// The directory of accounts cannot be used.
    #[error("{dir}: {reason}")]
    Directory {
        /// The directory.
        dir: String,
        /// The error of the system.
        reason: String,
    },
    /// Accounts of the configuration cannot be stored by requests.
    #[error("resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR")]
    ReadOnly,
    /// The URL is none.
    #[error("{0}")]
    Url(String),
    /// The certificates cannot be used.
    #[error("resolver_tls: {0}")]
    Tls(String),
    /// The operators cannot be served.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl OperatorError {
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::Operator(_) | Self::Accounts | Self::Users | Self::Trust(_) => "operator",
            Self::NoResolver
            | Self::Resolver(_)
            | Self::NoKey
            | Self::Directory { .. }
            | Self::Url(_) => "resolver",
            Self::Tls(_) => "resolver_tls",
            Self::ReadOnly => "resolver_preload",
            Self::KeysAndOperators => "trusted_keys",
            Self::NoAuthUser => "no_auth_user",
            Self::Callout => "authorization.auth_callout",
            Self::SystemAccount | Self::NoSystemAccount => "system_account",
            Self::SentinelAlone | Self::Sentinel | Self::SentinelNotBearer => "default_sentinel",
            Self::PinnedAccount(_) => "resolver_pinned_accounts",
            Self::Preload(..) => "resolver_preload",
        }
    }
}
