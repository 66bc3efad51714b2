//! Errors of TLS as a client.

use std::io;

use rustls::{CertificateError, Error};

use super::verify::NotPinned;

/// Reasons why a TLS handshake with a server failed. The text suggests a remedy, and never shows a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsClientError {
    /// The server's certificate is signed by none of the configured authorities.
    #[error(
        "the certificate of the server is signed by an unknown authority: `ca` must hold the one that signed it"
    )]
    UnknownAuthority,
    /// The server's certificate is for other names.
    #[error(
        "the certificate of the server is not for {name}: dial a name that it holds, or set `server_name`"
    )]
    WrongName {
        /// The expected name.
        name: String,
    },
    /// The server's certificate has expired, or is not valid yet.
    #[error(
        "the certificate of the server has expired or does not hold yet: renew it, and check both clocks"
    )]
    Expired,
    /// The server's public key is not in `pinned_certs`.
    #[error(
        "the public key of the server is not pinned: add it to `pinned_certs` if it is the right one"
    )]
    NotPinned,
    /// The server's certificate is invalid for another reason.
    #[error("the certificate of the server is not valid: {reason}")]
    Certificate {
        /// The reason.
        reason: String,
    },
    /// The server sent bytes that are not TLS.
    #[error(
        "the server answers with something else than TLS: it may offer none at this port, or only after INFO"
    )]
    NotTls,
    /// The server ended the handshake with an alert.
    #[error(
        "the server has refused the handshake ({alert}): check the certificate that it is shown, versions and cipher suites"
    )]
    Refused {
        /// The name of the alert.
        alert: String,
    },
    /// The two sides have no algorithm in common, or one of them broke the protocol.
    #[error("the handshake has failed: {reason}")]
    Handshake {
        /// The reason.
        reason: String,
    },
    /// The server closed the connection during the handshake.
    #[error("the server has closed the connection during the handshake: its log may say why")]
    Closed,
    /// The connection failed during the handshake.
    #[error("the connection has failed during the handshake")]
    Io(#[source] io::Error),
    /// The handshake took too long.
    #[error("the handshake has not ended in time")]
    Timeout,
    /// The connection has no TLS options, or TLS has begun already.
    #[error("the connection cannot be upgraded: it was dialled without TLS, or has it already")]
    NotOffered,
}

impl TlsClientError {
    /// Maps an error of rustls. `name` is the name that the server must have.
    pub(super) fn of(error: &Error, name: &str) -> Self {
        let reason = error.to_string();
        match error {
            Error::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName { name: name.to_owned() }
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::Other(error) if error.0.is::<NotPinned>() => Self::NotPinned,
                _ => Self::Certificate { reason },
            },
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(alert) => Self::Refused { alert: format!("{alert:?}") },
            _ => Self::Handshake { reason },
        }
    }
}
