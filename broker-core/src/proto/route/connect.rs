//! The first operation of the server that has dialled: `CONNECT {json}`.

use crate::auth::Secret;

/// The fields of CONNECT between servers, in the order of NATS 2.14.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteConnect {
    /// Always true.
    pub echo: bool,
    /// Asks for `+OK`.
    pub verbose: bool,
    /// Asks for stricter checks.
    pub pedantic: bool,
    /// The user.
    pub user: String,
    /// The password.
    pub pass: Secret,
    /// True if the route uses TLS.
    pub tls_required: bool,
    /// True if headers are supported.
    pub headers: bool,
    /// The id of the server.
    pub name: String,
    /// The name of the cluster.
    pub cluster: String,
    /// True if that name was generated.
    pub cluster_dynamic: bool,
    /// True if the server understands `LS+` and `LMSG`.
    pub lnoc: bool,
    /// True if the server understands `LS-` with the origin.
    pub lnocu: bool,
    /// The cluster of a gateway that connects to the wrong port.
    pub gateway: String,
    /// The language of a client that connects to the wrong port.
    pub lang: String,
}
