//! A connection that is closed when its peer does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Time for which a connection may leave a response unread.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a connection must have read for each further second.
const BYTES_A_SECOND: u64 = 256 << 10;

/// A stream whose writes fail once they have waited too long in total.
pub(super) struct Patient<S> {
    stream: S,
    written: u64,
    waited: Duration,
    /// The current wait.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, written: 0, waited: Duration::ZERO, waiting: None }
    }

    /// Returns the remaining time.
    fn left(&self) -> Duration {
        (PATIENCE + Duration::from_secs(self.written / BYTES_A_SECOND)).saturating_sub(self.waited)
    }

    fn note<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        len: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = polled {
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            if let Ok(written) = &result {
                self.written += len(written) as u64;
            }
            return Poll::Ready(result);
        }
        let left = self.left();
        let (_, timer) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(cx, polled, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.note(cx, polled, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(cx, polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(cx, polled, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_disconnected() {
        let (near, far) = tokio::io::duplex(1024);
        let begun = Instant::now();
        let error = Patient::new(near).write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_byte_by_byte_is_disconnected_as_soon() {
        let (near, mut far) = tokio::io::duplex(1024);
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            while far.read(&mut byte).await.is_ok_and(|len| len > 0) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let error = Patient::new(near).write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < 2 * PATIENCE);
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_fast_enough_gets_everything() {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let reading = tokio::spawn(async move {
            let mut total = 0;
            let mut buffer = vec![0; 64 << 10];
            loop {
                match far.read(&mut buffer).await {
                    Ok(len) if len > 0 => total += len,
                    _ => return total,
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let mut stream = Patient::new(near);
        stream.write_all(&vec![0; 10 << 20]).await.unwrap();
        drop(stream);
        assert_eq!(reading.await.unwrap(), 10 << 20);
    }
}
