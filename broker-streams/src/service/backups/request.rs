//! A request that is answered later.

use crate::api::ApiRequest;

/// A request with its own memory.
pub(in super::super) struct OwnedRequest {
    subject: String,
    reply: Box<[u8]>,
    headers: Box<[u8]>,
    payload: Box<[u8]>,
    client: Box<[u8]>,
    account: String,
}

impl OwnedRequest {
    /// Copies a request.
    pub(in super::super) fn of(request: &ApiRequest<'_>) -> Self {
        Self {
            subject: request.subject.to_owned(),
            reply: request.reply.into(),
            headers: request.headers.into(),
            payload: request.payload.into(),
            client: request.client.into(),
            account: request.account.to_owned(),
        }
    }

    /// Returns the request.
    pub(super) fn get(&self) -> ApiRequest<'_> {
        ApiRequest {
            subject: &self.subject,
            reply: &self.reply,
            headers: &self.headers,
            payload: &self.payload,
            client: &self.client,
            account: &self.account,
        }
    }
}
