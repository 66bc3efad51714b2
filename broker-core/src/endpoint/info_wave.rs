//! A changed INFO on its way to all clients, a few at a time.

use super::Endpoint;
use crate::sync::{Arc, Mutex};

/// The number of clients that are told at the same time: together they send for less than a millisecond, so that tens
/// of thousands of clients do not delay the messages of others. Each that has sent it lets the next one begin.
/// Ours: NATS 2.14 queues INFO for all clients under the lock of the server.
const AT_ONCE: usize = 64;

/// The clients that are not told yet.
pub(crate) struct InfoWave {
    left: Mutex<Vec<Arc<Endpoint>>>,
}

/// Held by the mailbox of a client until its session has sent INFO, or has ended: then the next client is told.
pub(crate) struct InfoTurn(Arc<InfoWave>);

impl Drop for InfoTurn {
    fn drop(&mut self) {
        InfoWave::tell_next(&self.0);
    }
}

impl InfoWave {
    /// Begins to tell these clients.
    pub(crate) fn begin(clients: Vec<Arc<Endpoint>>) -> Arc<Self> {
        let wave = Arc::new(Self { left: Mutex::new(clients) });
        (0..AT_ONCE).for_each(|_| Self::tell_next(&wave));
        wave
    }

    /// Tells no more clients: another wave does.
    pub(crate) fn end(&self) {
        let left = std::mem::take(&mut *self.left.lock());
        drop(left);
    }

    /// Tells clients up to one that lets the next one begin.
    fn tell_next(wave: &Arc<Self>) {
        loop {
            let next = wave.left.lock().pop();
            let Some(client) = next else { return };
            let mut has_turn = false;
            let is_open = client.control.leave(None, |control| {
                control.info = true;
                // One that an earlier wave has told gets this INFO with it.
                if control.turn.is_none() {
                    control.turn = Some(InfoTurn(Arc::clone(wave)));
                    has_turn = true;
                }
            });
            if is_open {
                client.destination.wake();
            }
            if has_turn {
                return;
            }
        }
    }
}
