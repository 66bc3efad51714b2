//! Errors of TLS options.

use std::path::PathBuf;

/// Reasons why [`TlsOptions`](super::TlsOptions) were refused. The text names the file and its fault, and never shows
/// its contents.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate of the server is missing.
    #[error("TLS needs a certificate and its key")]
    NoCertificate,
    /// A file that cannot be read.
    #[error("cannot read the {what} {}: {reason}", path.display())]
    Unreadable {
        /// The expected contents.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file that lacks the expected contents.
    #[error("there is no {what} in {name}")]
    Missing {
        /// The expected contents.
        what: &'static str,
        /// The file.
        name: String,
    },
    /// A file with other contents, or a damaged one.
    #[error("{what} number {number} in {name} cannot be used: {reason}")]
    Invalid {
        /// The expected contents.
        what: &'static str,
        /// The number of the item in the file, from 1.
        number: usize,
        /// The file.
        name: String,
        /// The reason.
        reason: String,
    },
    /// A key that is encrypted with a passphrase.
    #[error("the key in {name} is encrypted: decrypt it, passphrases are not supported")]
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
        /// The expected kind of name.
        what: &'static str,
        /// The unknown name.
        name: String,
    },
    /// A name that NATS knows and natsd does not support.
    #[error("{what} {name} is not supported: {reason}")]
    Unsupported {
        /// The kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// The reason.
        reason: &'static str,
    },
    /// A version that is too old, or not a version.
    #[error("TLS version {0:?} is not supported: it is 1.2 or 1.3")]
    UnsupportedVersion(String),
    /// A text that is not the SHA-256 of a public key.
    #[error("pinned certificate {0:?} is not the SHA-256 of a public key in 64 hexadecimal digits")]
    InvalidPin(String),
    /// Client certificates must be verified, but no authority is configured.
    #[error(
        "client certificates can only be verified with a file of those who sign them (ca_file)"
    )]
    NoAuthority,
    /// A server must be verified, but no authority is configured.
    #[error(
        "a server can only be verified with the certificates of those who sign its own (ca_file); insecure_skip_verify does without"
    )]
    NoServerAuthority,
    /// A name that no certificate can hold.
    #[error("{0:?} is no name that a server can be verified by: set a host name or an address")]
    InvalidServerName(String),
    /// An option that requires the verification of client certificates.
    #[error("{0} needs client certificates to be verified (verify)")]
    NeedsVerify(&'static str),
    /// The selected algorithms allow no handshake.
    #[error("nothing can be agreed upon with these options: {0}")]
    Unusable(String),
}
