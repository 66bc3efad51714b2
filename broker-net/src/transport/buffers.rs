//! Memory that serving any connection needs, once per thread: an idle connection owns none of it.

use std::cell::RefCell;

use broker_core::endpoint::Scratch;

/// How much is read at once. 64 KiB cost more CPU a message in most scenarios of tests/load (more system
/// calls, smaller writes to each member of a queue group); 128 KiB were between.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// What one thread lends to the connection it serves.
pub(crate) struct Buffers {
    pub(crate) scratch: Scratch,
    pub(crate) read: Box<[u8]>,
    pub(crate) samples: Samples,
}

/// Says which chunks of input are measured: looking at the clock again for every one would be felt.
pub(crate) struct Samples {
    left: u32,
}

impl Samples {
    /// One in so many. A prime, so that it falls on everybody who takes turns on the thread.
    const EVERY: u32 = 61;

    /// Is it this one?
    pub(crate) fn is_due(&mut self) -> bool {
        self.left = self.left.checked_sub(1).unwrap_or(Self::EVERY - 1);
        self.left == 0
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        scratch: Scratch::new(),
        read: vec![0; READ_BYTES].into_boxed_slice(),
        samples: Samples { left: 1 },
    });
}

/// Lends this thread's memory. Never across an await, which a closure cannot hold.
pub(crate) fn with_buffers<R>(f: impl FnOnce(&mut Buffers) -> R) -> R {
    BUFFERS.with_borrow_mut(f)
}
