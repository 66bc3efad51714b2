//! The negotiation of compression: by the first INFO of each server, after which both directions are compressed.
// NATS 2.14: route.go negotiateRouteCompression, server.go selectS2AutoModeBasedOnRTT.

use std::time::{Duration, Instant};

use super::{Compressing, RouteSession};
use crate::cluster::CompressionMode;
use crate::endpoint::Scratch;
use crate::proto::route::RouteInfo;
use crate::transport::CompressionLevel;

impl RouteSession {
    /// Negotiates by the first INFO of the other server. Returns true if the driver is asked to begin: another INFO
    /// will follow, which is the first one for everything else.
    pub(super) fn begin_compression(&mut self, info: &RouteInfo, scratch: &mut Scratch) -> bool {
        if self.compressing != Compressing::Open {
            return false;
        }
        self.compressing = Compressing::Done;
        let mode = match self.cluster.choose_compression(&info.compression) {
            Ok(CompressionMode::S2Auto) => self.mode_by_rtt(scratch.now()),
            Ok(mode) => mode,
            Err(fault) => {
                self.fault(&fault, scratch);
                return true;
            }
        };
        let id = self.endpoint.id;
        self.cluster.set_compression(id, mode);
        if level(mode).is_none() {
            return false;
        }
        if self.is_dialer {
            // Sent before the switch; the other server sends it after.
            let info = self.cluster.first_info(id);
            self.send_info(&info, scratch);
        }
        self.compressing = Compressing::Asked(mode);
        true
    }

    /// Returns the level to begin with, if the driver is to begin.
    pub(super) fn wanted_level(&self) -> Option<CompressionLevel> {
        match self.compressing {
            Compressing::Asked(mode) => level(mode),
            Compressing::Open | Compressing::Done => None,
        }
    }

    /// Continues once both directions are compressed.
    pub(super) fn note_compressed(&mut self, now: Instant, scratch: &mut Scratch) {
        scratch.start(now);
        self.compressing = Compressing::Done;
        let is_first = !std::mem::replace(&mut self.is_compressed, true);
        if is_first && !self.is_dialer {
            let info = self.cluster.first_info(self.endpoint.id);
            self.send_info(&info, scratch);
            self.byte_queue.drain_own(None, now, scratch);
        }
    }

    /// Changes the level of a compressed connection, if it is chosen by the round trip and that has changed.
    // NATS 2.14: client.go updateS2AutoCompressionLevel.
    pub(super) fn follow_rtt(&mut self, rtt: Duration) {
        let options = self.cluster.options();
        if options.compression.mode != CompressionMode::S2Auto || !self.is_compressed {
            return;
        }
        let mode = by_rtt(rtt, &options.compression.rtt_thresholds);
        if self.cluster.compression_of(self.endpoint.id) != Some(mode) {
            self.cluster.set_compression(self.endpoint.id, mode);
            self.compressing = Compressing::Asked(mode);
        }
    }

    fn mode_by_rtt(&self, now: Instant) -> CompressionMode {
        let rtt = now.saturating_duration_since(self.endpoint.since);
        by_rtt(rtt, &self.cluster.options().compression.rtt_thresholds)
    }
}

/// Returns the mode for a round-trip time.
fn by_rtt(rtt: Duration, thresholds: &[Duration]) -> CompressionMode {
    let found = thresholds.iter().position(|threshold| rtt <= *threshold);
    let beyond = if thresholds.len() >= 3 { 3 } else { thresholds.len().saturating_sub(1) };
    match found.unwrap_or(beyond) {
        0 => CompressionMode::S2Uncompressed,
        1 => CompressionMode::S2Fast,
        2 => CompressionMode::S2Better,
        _ => CompressionMode::S2Best,
    }
}

fn level(mode: CompressionMode) -> Option<CompressionLevel> {
    match mode {
        CompressionMode::S2Uncompressed => Some(CompressionLevel::Uncompressed),
        CompressionMode::S2Fast => Some(CompressionLevel::Fast),
        CompressionMode::S2Better => Some(CompressionLevel::Better),
        CompressionMode::S2Best => Some(CompressionLevel::Best),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_round_trip_as_in_the_reference() {
        let ms = Duration::from_millis;
        let three = [ms(10), ms(50), ms(100)];
        for (rtt, mode) in [
            (ms(1), CompressionMode::S2Uncompressed),
            (ms(10), CompressionMode::S2Uncompressed),
            (ms(11), CompressionMode::S2Fast),
            (ms(60), CompressionMode::S2Better),
            (ms(101), CompressionMode::S2Best),
        ] {
            assert_eq!(by_rtt(rtt, &three), mode, "{rtt:?}");
        }
        assert_eq!(by_rtt(ms(100), &[ms(0), ms(0), ms(20)]), CompressionMode::S2Best);
        assert_eq!(by_rtt(ms(15), &[ms(0), ms(0), ms(20)]), CompressionMode::S2Better);
        assert_eq!(by_rtt(ms(15), &[ms(5), ms(10)]), CompressionMode::S2Fast);
    }
}
