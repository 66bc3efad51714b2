//! The receiving half of a run: one thread for all receivers.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::carrier::Carrier;
use crate::check::{Checker, Disorder};
use crate::fault::{During, Fault};
use crate::frame::{Scanner, Sink};
use crate::hub::Hub;
use crate::stamp::Stamp;
use crate::stats::Latencies;
use crate::wire::{PATIENCE, Wire};

/// Maximum bytes per read, plus space for the rest of the previous one.
const BUFFER_BYTES: usize = 320 << 10;

/// Interval of checking whether the run is over.
const TICK_MS: u16 = 10;

/// The expected number of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sids {
    /// Any number.
    Any,
    /// The number of the subject plus one.
    Number,
    /// The first four digits of that number plus one.
    High,
}

/// A connection with subscriptions.
#[derive(Debug)]
pub(crate) struct Receiver {
    carrier: Carrier,
    scanner: Scanner,
    inbox: Inbox,
}

impl Receiver {
    /// Creates a receiver with its subscriptions made.
    pub(crate) fn new(
        wire: Wire,
        checker: Checker,
        sids: Sids,
        timed: Option<u64>,
    ) -> Result<Self, Fault> {
        let (carrier, scanner) = wire.into_carrier();
        carrier.stream().set_nonblocking(true).during("setting up a subscriber")?;
        let inbox = Inbox {
            checker,
            sids,
            timed,
            now_ns: 0,
            phase: 0,
            latencies: Vec::new(),
            pongs: 0,
            pings: 0,
        };
        Ok(Self { carrier, scanner, inbox })
    }

    /// Returns its checker.
    pub(crate) fn checker(&self) -> &Checker {
        &self.inbox.checker
    }

    /// Latencies by phase.
    pub(crate) fn into_latencies(self) -> Vec<Latencies> {
        self.inbox.latencies
    }

    /// Reads once.
    fn read(&mut self, buffer: &mut [u8], hub: &Hub) -> Result<(), Fault> {
        let kept = self.scanner.resume(buffer);
        let n = match self.carrier.read(&mut buffer[kept..]) {
            Ok(0) => return Err(Fault::Closed("subscriber")),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e).during("reading as a subscriber"),
        };
        if self.inbox.timed.is_some() {
            self.inbox.now_ns = hub.now_ns();
            self.inbox.phase = hub.phase();
        }
        self.scanner.scan(&buffer[..kept + n], &mut self.inbox)?;
        for _ in 0..std::mem::take(&mut self.inbox.pings) {
            self.carrier.say(b"PONG\r\n").during("answering a PING")?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Inbox {
    checker: Checker,
    sids: Sids,
    /// Stamps contain times, and one of this many messages is measured.
    timed: Option<u64>,
    now_ns: u64,
    phase: usize,
    latencies: Vec<Latencies>,
    pongs: usize,
    pings: usize,
}

impl Inbox {
    fn measure(&mut self, stamp: Stamp) {
        if self.latencies.len() <= self.phase {
            self.latencies.resize(self.phase + 1, Latencies::default());
        }
        self.latencies[self.phase].add(self.now_ns.saturating_sub(stamp.extra));
    }

    fn check_sid(&self, line: &[u8], stamp: Stamp) -> Result<(), Disorder> {
        let wanted = match self.sids {
            Sids::Any => return Ok(()),
            Sids::Number => stamp.extra + 1,
            Sids::High => stamp.extra / 10_000 + 1,
        };
        let word = line.split(|&b| b == b' ').nth(2).unwrap_or_default();
        let digits = word.iter().map(|b| u64::from(b.wrapping_sub(b'0')));
        let got = digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(digit));
        if got == wanted { Ok(()) } else { Err(Disorder::Subscription { wanted, got }) }
    }
}

impl Sink for Inbox {
    #[inline]
    fn message(&mut self, line: &[u8], stamp: &[u8]) -> Result<(), Fault> {
        let stamp = Stamp::read(stamp);
        self.checker.accept(stamp)?;
        if self.sids != Sids::Any {
            self.check_sid(line, stamp)?;
        }
        if let Some(every) = self.timed
            && stamp.sequence().is_multiple_of(every)
        {
            self.measure(stamp);
        }
        Ok(())
    }

    fn control(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line {
            b"PONG" => self.pongs += 1,
            b"PING" => self.pings += 1,
            _ => refuse_errors(line)?,
        }
        Ok(())
    }
}

/// Accepts `INFO`, which a server may send at any time.
pub(crate) fn refuse_errors(line: &[u8]) -> Result<(), Fault> {
    let text = || String::from_utf8_lossy(line).into_owned();
    if line.starts_with(b"-ERR") {
        Err(Fault::Refused(text()))
    } else if line.starts_with(b"INFO ") {
        Ok(())
    } else {
        Err(Fault::Garbled(text()))
    }
}

/// Receives until the run is finished and each receiver has had a response to a last `PING`, so
/// that surplus messages are noticed.
pub(crate) fn receive(mut receivers: Vec<Receiver>, hub: &Hub) -> Result<Vec<Receiver>, Fault> {
    const WHAT: &str = "waiting for messages";
    let epoll = Epoll::new(EpollCreateFlags::empty()).during(WHAT)?;
    for (index, receiver) in receivers.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        epoll.add(receiver.carrier.stream(), event).during(WHAT)?;
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = vec![EpollEvent::empty(); 256];
    let mut received = 0;
    let mut deadline = None;
    loop {
        let n = match epoll.wait(&mut events, EpollTimeout::from(TICK_MS)) {
            Ok(n) => n,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(e) => return Err(e).during(WHAT),
        };
        for event in &events[..n] {
            let receiver = &mut receivers[event.data() as usize];
            let before = receiver.inbox.checker.count();
            receiver.read(&mut buffer, hub)?;
            received += receiver.inbox.checker.count() - before;
        }
        if n > 0 {
            hub.set_received(received);
        }
        if hub.broken() {
            return Ok(receivers);
        }
        match deadline {
            None if hub.finished() => {
                for receiver in &mut receivers {
                    receiver.carrier.say(b"PING\r\n").during("sending a last PING")?;
                }
                deadline = Some(Instant::now() + PATIENCE);
            }
            None => {}
            Some(_) if receivers.iter().all(|r| r.inbox.pongs > 0) => return Ok(receivers),
            Some(deadline) if Instant::now() > deadline => {
                return Err(Fault::Late(PATIENCE, "the answers to the last PING"));
            }
            Some(_) => {}
        }
    }
}

/// Waits for `done`, as long as `progress` changes within the timeout.
pub(crate) fn until(
    what: &'static str,
    mut progress: impl FnMut() -> Result<(bool, u64), Fault>,
) -> Result<(), Fault> {
    let mut last = (u64::MAX, Instant::now());
    loop {
        let (done, count) = progress()?;
        if done {
            return Ok(());
        }
        if count != last.0 {
            last = (count, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            return Err(Fault::Late(PATIENCE, what));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Order;

    fn inbox(sids: Sids) -> Inbox {
        let checker = Checker::new(Order::Share, 1);
        let latencies = Vec::new();
        Inbox { checker, sids, timed: Some(2), now_ns: 50, phase: 1, latencies, pongs: 0, pings: 0 }
    }

    fn stamp(sequence: u64, extra: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        Stamp::new(0, sequence, extra).write(&mut bytes);
        bytes
    }

    #[test]
    fn a_message_for_another_subscription_is_noticed() {
        let mut inbox = inbox(Sids::Number);
        inbox.message(b"MSG s.0000.0041 42 16", &stamp(0, 41)).unwrap();
        assert!(inbox.message(b"MSG s.0000.0041 43 16", &stamp(1, 41)).is_err());
    }

    #[test]
    fn one_message_of_so_many_is_timed_in_its_phase() {
        let mut inbox = inbox(Sids::Any);
        for sequence in 0..4 {
            inbox.message(b"MSG s 1 16", &stamp(sequence, 10 + sequence)).unwrap();
        }
        let got = inbox.latencies.remove(1).percentiles().unwrap();
        assert_eq!((got.p50.as_nanos(), got.max.as_nanos()), (38, 40));
        assert!(inbox.latencies.remove(0).percentiles().is_none());
    }

    #[test]
    fn an_error_of_the_server_ends_the_run() {
        let error = inbox(Sids::Any).control(b"-ERR 'Slow Consumer'").unwrap_err().to_string();
        assert!(error.contains("Slow Consumer"), "{error}");
        assert!(inbox(Sids::Any).control(b"INFO {}").is_ok());
        assert!(inbox(Sids::Any).control(b"+OK").is_err());
    }
}
