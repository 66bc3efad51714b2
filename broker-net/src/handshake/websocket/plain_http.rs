//! Plain HTTP where TLS is expected: a request typed by hand, or a link without an `s`.
// NATS 2.14: Go's net/http, tlsRecordHeaderLooksLikeHTTP and conn.serve.

/// The bytes that show whether input is HTTP.
pub(crate) const HEAD_BYTES: usize = 5;

/// The answer to the client.
pub(crate) const ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The reason for the log.
pub(crate) const REASON: &str = "client sent an HTTP request to an HTTPS server";

/// Returns true if `head` is the beginning of a request.
pub(crate) fn looks_like_it(head: &[u8]) -> bool {
    let head = head.get(..HEAD_BYTES).unwrap_or_default();
    [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"].iter().any(|begin| *begin == head)
}
