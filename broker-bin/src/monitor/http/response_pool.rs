//! Generates responses: a few at a time, off the threads that serve clients, and within a memory
//! limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Cores per response that is generated at the same time: a single one on a machine with few cores.
const CORES_PER_RESPONSE: usize = 4;

/// Bytes of large responses that may wait to be read.
const LARGE_ANSWERS_BYTES: usize = 64 << 20;

/// Smaller responses do not count: at the maximum number of connections they take 16 MiB.
const LARGE_BYTES: usize = 64 << 10;

/// The unit in which memory is counted.
const PIECE_BYTES: usize = 1 << 10;

/// Timeout of a large response waiting for memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct ResponsePool {
    permits: Semaphore,
    room: Arc<Semaphore>,
}

/// The response could not be generated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failed {
    /// Too many bytes of other responses wait to be read.
    Full,
    /// Generating it failed.
    Broken,
}

impl ResponsePool {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            permits: Semaphore::new(cores.div_ceil(CORES_PER_RESPONSE)),
            room: Arc::new(Semaphore::new(LARGE_ANSWERS_BYTES / PIECE_BYTES)),
        }
    }

    /// Generates a response.
    pub(super) async fn make(
        &self,
        make: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Bytes, Failed> {
        let made = {
            // The semaphore is never closed.
            let _permit = self.permits.acquire().await;
            tokio::task::spawn_blocking(make).await
        };
        let answer = made.ok().flatten().ok_or(Failed::Broken)?;
        if answer.len() <= LARGE_BYTES {
            return Ok(answer.into());
        }
        let pieces = answer.len().min(LARGE_ANSWERS_BYTES) / PIECE_BYTES;
        let room = Arc::clone(&self.room).acquire_many_owned(pieces as u32);
        match tokio::time::timeout(PATIENCE, room).await {
            Ok(Ok(room)) => Ok(Bytes::from_owner(Served { answer, _room: room })),
            _ => Err(Failed::Full),
        }
    }
}

/// A large response being sent; releases its memory when it is sent or dropped.
struct Served {
    answer: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Served {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_responses_wait_for_memory_and_release_it() {
        let response_pool = ResponsePool::new();
        let large = || Some(vec![0; LARGE_ANSWERS_BYTES / 2]);
        let first = response_pool.make(large).await.unwrap();
        let second = response_pool.make(large).await.unwrap();
        assert_eq!(response_pool.make(large).await, Err(Failed::Full));
        assert_eq!(
            response_pool.make(|| Some(vec![1; 100])).await.unwrap().len(),
            100,
            "small ones pass"
        );
        drop(first);
        let third = response_pool.make(large).await.unwrap();
        assert_eq!(third.len(), second.len());
    }

    #[tokio::test]
    async fn a_failed_response_releases_its_permit() {
        let response_pool = ResponsePool::new();
        for _ in 0..10 {
            assert_eq!(response_pool.make(|| None).await, Err(Failed::Broken));
        }
        assert!(response_pool.make(|| Some(Vec::new())).await.is_ok());
    }
}
