//! The part of a handshake that both sides share.

use std::io;
use std::mem;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use rustls::CommonState;

use super::buffers::{READ_BYTES, with_tls_buffers};
use super::side::Side;
use super::state::State;
use super::transport::TlsTransport;
use crate::transport::{Transport, poll_io};

/// The progress of a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// It waits for the peer.
    Waits,
    /// It is complete.
    Done,
}

impl<T: Transport, D: Side> TlsTransport<T, D> {
    /// Peeks at the first byte that the peer sends; `None` if its stream has ended.
    pub(super) fn poll_first(
        &self,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<u8>>> {
        if let Some(first) = self.lock().incoming.first() {
            return Poll::Ready(Ok(Some(*first)));
        }
        let len = ready!(self.poll_more(most, cx))?;
        self.has_input.store(len > 0, Ordering::Release);
        Poll::Ready(Ok(self.lock().incoming.first().copied()))
    }

    /// Begins TLS.
    pub(super) fn begin(&self, connection: Box<D::Connection>) {
        self.lock().tls = Some(connection);
        self.has_input.store(false, Ordering::Release);
        self.is_tls.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.is_tls.load(Ordering::Acquire)
    }

    /// Processes the buffered input, which may take milliseconds of a core. `state` is that of this transport.
    pub(super) fn advance(
        &self,
        state: &mut MutexGuard<'_, State<D>>,
    ) -> Result<Progress, rustls::Error> {
        let mut incoming = mem::take(&mut state.incoming);
        let processed = state.process(&mut incoming, &mut [], |_| ());
        incoming.drain(..processed.used);
        if incoming.is_empty() {
            incoming = Vec::new();
        }
        state.incoming = incoming;
        self.has_unsent.store(!state.unsent.is_empty(), Ordering::Release);
        self.has_input.store(!state.plain.is_empty() || state.has_ended, Ordering::Release);
        processed.result?;
        Ok(if state.is_handshaking() { Progress::Waits } else { Progress::Done })
    }

    /// Reads more, up to `most` unprocessed bytes; returns 0 at the end.
    pub(super) fn poll_more(&self, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = || {
            let room = most.saturating_sub(self.lock().incoming.len());
            if room == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            with_tls_buffers(|buffers| {
                let read = &mut buffers.cipher[..room.min(READ_BYTES)];
                let len = self.below.try_read(read)?;
                self.lock().incoming.extend_from_slice(&read[..len]);
                Ok(len)
            })
        };
        poll_io(cx, |cx| self.below.poll_read_ready(cx), read)
    }

    /// Passes the state of the connection to a callback.
    pub(super) fn look(&self, look: &mut dyn FnMut(&CommonState)) {
        if let Some(tls) = &self.lock().tls {
            look(tls);
        }
    }
}
