//! Waiting without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Waits for a future by blocking the thread: for tests that have no runtime.
///
/// What this crate's tests kit and in-process client return needs no more. The futures of other crates
/// may need a runtime around them.
///
/// ```
/// use broker_net::testing::{TestBroker, block_on};
///
/// let broker = TestBroker::start_blocking();
/// let client = broker.client();
/// let mut orders = block_on(client.subscribe("orders.*")).unwrap();
/// block_on(client.publish("orders.eu", "one".into())).unwrap();
/// assert_eq!(block_on(orders.next()).unwrap().payload, "one");
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            // It may return without a reason, which costs one look.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
