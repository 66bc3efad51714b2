//! INFO and PONG: the first PONG is followed by the INFO with the account.

use std::time::Duration;

use super::{ClientSession, Phase};
use crate::endpoint::Scratch;
use crate::proto::{Info, encode};
use crate::sync::{Arc, Ordering};

impl ClientSession {
    pub(super) fn pong(&mut self, scratch: &mut Scratch) {
        if self.has_changed_interest {
            self.write_interest(scratch);
        }
        self.reply_writer().pong(scratch);
        if !self.has_connected || self.has_ponged {
            return;
        }
        self.has_ponged = true;
        self.endpoint.follows_info.store(self.options.protocol >= 1, Ordering::Relaxed);
        // NATS 2.14: the first PONG is followed by INFO with the values unknown to the client before CONNECT.
        if self.options.protocol >= 1
            && let Phase::Served(served) = &self.phase
        {
            let account = Arc::clone(&served.member.account);
            self.send_info(
                |info| {
                    info.connect_info = true;
                    info.remote_account = String::from(&*account.name);
                    info.acc_is_sys = account.is_system;
                },
                scratch,
            );
        }
    }

    /// Sends the first INFO. It alone carries the nonce.
    // NATS 2.14: server.go createClient.
    pub(super) fn send_greeting(&mut self, change: impl FnOnce(&mut Info), scratch: &mut Scratch) {
        if !self.authenticator().nonce_required() {
            self.nonce = None;
        }
        let nonce = self.shown_nonce();
        self.send_info(
            |info| {
                info.nonce = nonce;
                change(info);
            },
            scratch,
        );
    }

    /// Returns the nonce that INFO contained; empty if it contained none.
    pub(super) fn shown_nonce(&self) -> String {
        self.nonce.as_ref().map(|nonce| nonce.to_string()).unwrap_or_default()
    }

    pub(super) fn send_info(&self, change: impl FnOnce(&mut Info), scratch: &mut Scratch) {
        let mut info = (**self.shared.info.load()).clone();
        info.max_payload = self.limits.max_payload_bytes;
        info.auth_required = self.authenticator().is_required();
        info.client_id = self.endpoint.id;
        info.client_ip =
            self.endpoint.remote.map(|remote| remote.ip().to_string()).unwrap_or_default();
        let urls = self.shared.websocket_urls.load();
        let urls = urls.as_ref().map(|urls| urls.as_slice());
        self.endpoint.transport.change_info(&mut info, urls);
        change(&mut info);
        self.byte_queue.send(scratch, |out| encode::info(out, &info));
    }

    pub(super) fn note_rtt(&self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.endpoint.rtt_nanos.store(nanos.max(1), Ordering::Relaxed);
    }
}
