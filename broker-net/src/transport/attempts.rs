//! Bounded attempts at a transport that claims to be ready, so that none holds the thread.
//!
//! A layer may be wrong about its readiness: an error path that forgets a flag is enough. A loop that trusts it never
//! ends, and its thread serves no other task. So every loop over a transport is either one of these functions, or
//! ends by itself, or counts its rounds and then [yields](yield_turn).

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

/// Maximum attempts at a transport in one turn of a task. A socket fails twice when its readiness dates from before
/// the last read; layers above it take some attempts whose input carries nothing for the session.
pub(crate) const ATTEMPTS: usize = 8;

/// Attempts an operation until it has a result, or the transport is not ready.
///
/// [`io::ErrorKind::WouldBlock`] means that there was nothing to do, although the transport was ready;
/// [`io::ErrorKind::Interrupted`] that the attempt made progress without a result yet. After [`ATTEMPTS`] of either
/// the task yields, and continues in its next turn.
pub(crate) fn poll_io<R>(
    cx: &mut Context<'_>,
    mut poll_ready: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    mut attempt: impl FnMut() -> io::Result<R>,
) -> Poll<io::Result<R>> {
    let mut did_anything = false;
    for _ in 0..ATTEMPTS {
        ready!(poll_ready(cx))?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => did_anything = true,
            result => return Poll::Ready(result),
        }
    }
    if !did_anything {
        note_false_readiness();
    }
    yield_turn(cx)
}

/// Ends the task's turn; it is polled again once others have had theirs.
pub(crate) fn yield_turn<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// As [`yield_turn`], after a turn that has taken long; the thread also looks for I/O before the next one. By itself tokio looks
/// after 61 turns if there are always tasks to be run: beside eight clients that send as fast as they can, another
/// one's PING would wait for as many turns of them.
pub(crate) fn yield_long_turn<T>(cx: &mut Context<'_>) -> Poll<T> {
    // Hands the waker to the runtime, which calls it when it has looked.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static FALSE_READINESS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a turn in which a transport was ready again and again without progress.
fn note_false_readiness() {
    #[cfg(any(test, feature = "testing"))]
    FALSE_READINESS.set(FALSE_READINESS.get() + 1);
}

/// Returns how many turns on this thread have ended because of false readiness.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn false_readiness() -> u64 {
    FALSE_READINESS.get()
}
