//! Why TLS options were refused.

use std::path::PathBuf;

/// Why [`TlsOptions`](super::TlsOptions) were refused. Names the file and what is wrong with it, and
/// never shows what is in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate for clients.
    #[error("TLS needs a certificate and its key")]
    NoCertificate,
    /// A file that cannot be read.
    #[error("cannot read the {what} {}: {reason}", path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file without what it should hold.
    #[error("there is no {what} in {name}")]
    Missing {
        /// What it should hold.
        what: &'static str,
        /// The file.
        name: String,
    },
    /// A file that holds something else, or is damaged.
    #[error("{what} number {number} in {name} cannot be used: {reason}")]
    Invalid {
        /// What it should hold.
        what: &'static str,
        /// The first is 1.
        number: usize,
        /// The file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that is encrypted with a passphrase.
    #[error(
        "the key in {name} is encrypted: decrypt it, nobody is there to ask for the passphrase"
    )]
    EncryptedKey {
        /// The file.
        name: String,
    },
    /// The key of another certificate.
    #[error("the key in {key} does not belong to the certificate in {chain}")]
    KeyMismatch {
        /// The file of the certificate.
        chain: String,
        /// The file of the key.
        key: String,
    },
    /// An unknown name.
    #[error("unknown {what} {name:?}")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// What it was.
        name: String,
    },
    /// A name that NATS knows and natsd does not support.
    #[error("{what} {name} is not supported: {reason}")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A version that is too old, or none.
    #[error("TLS version {0:?} is not supported: it is 1.2 or 1.3")]
    UnsupportedVersion(String),
    /// Not the SHA-256 of a public key.
    #[error("pinned certificate {0:?} is not the SHA-256 of a public key in 64 hexadecimal digits")]
    InvalidPin(String),
    /// Client certificates are to be verified, and no authority is configured.
    #[error(
        "client certificates can only be verified with a file of those who sign them (ca_file)"
    )]
    NoAuthority,
    /// A server is to be verified, and no authority is configured.
    #[error(
        "a server can only be verified with the certificates of those who sign its own (ca_file); insecure_skip_verify does without"
    )]
    NoServerAuthority,
    /// A name that no certificate can hold.
    #[error("{0:?} is no name that a server can be verified by: set a host name or an address")]
    InvalidServerName(String),
    /// Something that only makes sense where client certificates are checked.
    #[error("{0} needs client certificates to be verified (verify)")]
    NeedsVerify(&'static str),
    /// The choice of algorithms leaves nothing to speak.
    #[error("nothing can be agreed upon with these options: {0}")]
    Unusable(String),
}
