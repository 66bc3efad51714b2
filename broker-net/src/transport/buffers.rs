//! Buffers that serving a connection takes, one set per thread: an idle connection owns none.

use std::cell::RefCell;

use broker_core::endpoint::Scratch;

/// The size of one read. 64 KiB cost more CPU a message in most scenarios of tests/load (more system calls, smaller
/// writes to each member of a queue group); 128 KiB were between.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// The buffers that a thread lends to the connection that it serves.
pub(crate) struct Buffers {
    pub(crate) scratch: Scratch,
    pub(crate) read: Box<[u8]>,
    pub(crate) samples: Samples,
}

/// Selects the chunks of input that are timed: a second clock read for each chunk would cost too much.
pub(crate) struct Samples {
    left: u32,
}

impl Samples {
    /// The interval of timed chunks. A prime, so that it hits every connection that takes turns on the thread.
    const EVERY: u32 = 61;

    /// Returns true if this chunk is timed.
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

/// Lends the buffers of this thread. A closure, because they must not be held across an await.
pub(crate) fn with_buffers<R>(f: impl FnOnce(&mut Buffers) -> R) -> R {
    BUFFERS.with_borrow_mut(f)
}
