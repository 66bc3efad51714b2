//! Errors of TLS as a client.

use std::io;

use rustls::{CertificateError, Error};

use super::verify::NotPinned;

/// Reasons why no TLS connection to a server came about. It says what to do, and never shows a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsClientError {
    /// The server's certificate is signed by no authority of the options.
    #[error(
        "the certificate of the server is signed by an unknown authority: `ca` must hold the one that signed it"
    )]
    UnknownAuthority,
    /// The server's certificate is for other names.
    #[error(
        "the certificate of the server is not for {name}: dial a name that it holds, or set `server_name`"
    )]
    WrongName {
        /// The name that it should hold.
        name: String,
    },
    /// The server's certificate has expired, or does not hold yet.
    #[error(
        "the certificate of the server has expired or does not hold yet: renew it, and check both clocks"
    )]
    Expired,
    /// The server's public key is not in `pinned_certs`.
    #[error(
        "the public key of the server is not pinned: add it to `pinned_certs` if it is the right one"
    )]
    NotPinned,
    /// The server's certificate cannot be used for another reason.
    #[error("the certificate of the server is not valid: {reason}")]
    Certificate {
        /// The reason.
        reason: String,
    },
    /// The other side has sent something that is no TLS.
    #[error(
        "the server answers with something else than TLS: it may offer none at this port, or only after INFO"
    )]
    NotTls,
    /// The other side has ended the handshake with an alert.
    #[error(
        "the server has refused the handshake ({alert}): check the certificate that it is shown, versions and cipher suites"
    )]
    Refused {
        /// The name of the alert.
        alert: String,
    },
    /// Both sides have nothing in common, or one of them breaks the protocol.
    #[error("the handshake has failed: {reason}")]
    Handshake {
        /// The reason.
        reason: String,
    },
    /// The other side has closed the connection in the middle of the handshake.
    #[error("the server has closed the connection during the handshake: its log may say why")]
    Closed,
    /// The connection has failed in the middle of the handshake.
    #[error("the connection has failed during the handshake")]
    Io(#[source] io::Error),
    /// The handshake took too long.
    #[error("the handshake has not ended in time")]
    Timeout,
    /// There are no options for TLS, or TLS has begun already.
    #[error("the connection cannot be upgraded: it was dialled without TLS, or has it already")]
    NotOffered,
}

impl TlsClientError {
    /// Tells what an error of rustls means for one who dials. `name` is the one that the server must have.
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
