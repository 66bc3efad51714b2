//! Buffers for reading and writing records, one set per thread.

use std::cell::RefCell;

/// The payload of the largest record.
pub(super) const RECORD_BYTES: usize = 16 << 10;

/// The size of the largest encrypted record, with a key update that may precede it.
pub(super) const SEALED_BYTES: usize = RECORD_BYTES + 1024;

/// The maximum kept bytes of an incomplete record: RFC 5246 allows 2 KiB more than its payload, and five bytes of
/// header.
pub(super) const KEPT_BYTES: usize = RECORD_BYTES + 2048 + 5;

/// The size of one read from the transport below.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Four records, or the kept bytes of one and one read.
pub(super) const CIPHER_BYTES: usize = KEPT_BYTES + READ_BYTES;

/// The buffers of one thread.
pub(super) struct TlsBuffers {
    /// The buffer of encrypted records.
    pub(super) cipher: Box<[u8]>,
    /// The buffer that gathers small pieces into one record.
    pub(super) gathered: Box<[u8]>,
}

thread_local! {
    static BUFFERS: RefCell<TlsBuffers> = RefCell::new(TlsBuffers {
        cipher: vec![0; CIPHER_BYTES].into_boxed_slice(),
        gathered: vec![0; RECORD_BYTES].into_boxed_slice(),
    });
}

/// Lends the buffers of this thread. A closure, because they must not be held across an await.
pub(super) fn with_tls_buffers<R>(f: impl FnOnce(&mut TlsBuffers) -> R) -> R {
    BUFFERS.with_borrow_mut(f)
}
