//! Waiting without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Blocks the thread until a future is ready, for tests without a runtime.
///
/// Suffices for this crate's test broker and in-process client. Futures of other crates may need a
/// runtime.
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
            // A spurious return costs one more poll.
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
