use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Serves one connection with `answer`. Returns the URL, and the head of the request.
async fn serve(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://u:p@{}/jwt", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // The other side may have had enough.
        let _ = stream.write_all(answer).await;
        String::from_utf8(head).unwrap()
    });
    (url, serving)
}

async fn found(url: &str) -> Result<Arc<str>, AccountError> {
    let (tell, told) = mpsc::channel();
    let resolver = UrlResolver::new(url, ResolverTls::default()).unwrap();
    let (done, is_done) = tokio::sync::oneshot::channel();
    resolver.lookup(
        "KEY",
        Box::new(move |result| {
            tell.send(result).unwrap();
            done.send(()).unwrap();
        }),
    );
    is_done.await.unwrap();
    told.recv().unwrap()
}

#[tokio::test]
async fn the_answer_to_a_request_for_the_key_is_the_jwt() {
    let (url, serving) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\neyJ").await;
    assert_eq!(found(&url).await.as_deref(), Ok("eyJ"));
    let head = serving.await.unwrap();
    assert!(head.starts_with("GET /jwt/KEY HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Basic dTpw\r\n"), "{head}");
}

#[tokio::test]
async fn another_status_is_no_account_and_everything_else_a_failure() {
    for (answer, error) in [
        (&b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..], AccountError::Missing),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", AccountError::Missing),
        (b"HTTP/1.1 302 There\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", AccountError::Missing),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xff", AccountError::Unavailable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\neyJ", AccountError::Unavailable),
        (b"nonsense", AccountError::Unavailable),
        (b"", AccountError::Unavailable),
    ] {
        let (url, _) = serve(answer).await;
        assert_eq!(found(&url).await, Err(error), "{}", String::from_utf8_lossy(answer));
    }
    assert_eq!(found("http://127.0.0.1:1/").await, Err(AccountError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    assert_eq!(found(&url).await, Err(AccountError::Unavailable));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    assert_eq!(found(&url).await, Err(AccountError::Unavailable));
}
