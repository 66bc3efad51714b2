//! One request for a JWT.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use broker_core::auth::jwt::MAX_TOKEN_BYTES;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::base::Base;
use super::tls::Connector;

/// The reason why there is no JWT. Contains nothing that the server has sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// The request or its answer failed.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The request could not be made.
    #[error("malformed request")]
    Request,
    /// Another status than 200.
    #[error("{0}")]
    Status(StatusCode),
    /// The answer is larger than any JWT, or no text.
    #[error("the response is no JWT")]
    Content,
    /// No answer in time.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Timeout,
}

/// The task of a connection, which ends with the request.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn fetch(
    base: &Base,
    account: &str,
    connector: &Connector,
) -> Result<Arc<str>, FetchError> {
    let stream = connector.connect(base).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driving = Driving(tokio::spawn(async move {
        // The sender gets the error.
        let _ = connection.await;
    }));
    let mut request = Request::get(base.path_of(account))
        .header(HOST, &base.authority)
        .header(USER_AGENT, concat!("natsd/", env!("CARGO_PKG_VERSION")));
    if let Some(credentials) = &base.credentials {
        request = request.header(AUTHORIZATION, credentials.expose());
    }
    let request = request.body(String::new()).map_err(|_| FetchError::Request)?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    read(response.into_body()).await
}

/// Reads a body of bounded size.
async fn read(mut body: Incoming) -> Result<Arc<str>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > MAX_TOKEN_BYTES {
                return Err(FetchError::Content);
            }
            bytes.extend_from_slice(&data);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| FetchError::Content)?;
    Ok(text.into())
}
