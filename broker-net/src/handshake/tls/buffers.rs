//! Memory that reading and writing records needs, once per thread.

use std::cell::RefCell;

/// What one record can hold.
pub(super) const RECORD_BYTES: usize = 16 << 10;

/// What one record can be when it is encrypted, and a key update that may come before it.
pub(super) const SEALED_BYTES: usize = RECORD_BYTES + 1024;

/// How much of a record that has not come whole is kept: RFC 5246 allows 2 KiB more than what it holds,
/// and five bytes of header.
pub(super) const KEPT_BYTES: usize = RECORD_BYTES + 2048 + 5;

/// How much is read from below at once.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Four records, or what was kept of one and all that is read at once.
pub(super) const CIPHER_BYTES: usize = KEPT_BYTES + READ_BYTES;

/// What one thread lends.
pub(super) struct TlsBuffers {
    /// Encrypted.
    pub(super) cipher: Box<[u8]>,
    /// Small pieces that go into one record.
    pub(super) gathered: Box<[u8]>,
}

thread_local! {
    static BUFFERS: RefCell<TlsBuffers> = RefCell::new(TlsBuffers {
        cipher: vec![0; CIPHER_BYTES].into_boxed_slice(),
        gathered: vec![0; RECORD_BYTES].into_boxed_slice(),
    });
}

/// Lends this thread's memory. Never across an await, which a closure cannot hold.
pub(super) fn with_tls_buffers<R>(f: impl FnOnce(&mut TlsBuffers) -> R) -> R {
    BUFFERS.with_borrow_mut(f)
}
