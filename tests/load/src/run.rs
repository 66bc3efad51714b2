//! Publishers, receivers and the messages between them, used by most scenarios.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use crate::batch::{Batch, Form};
use crate::check::{self, Checker, Order};
use crate::fault::{During, Fault};
use crate::hub::Hub;
use crate::receive::{Receiver, Sids, receive, until};
use crate::sample::{Cost, Span, Start};
use crate::send::Publisher;
use crate::server::Server;
use crate::stats::Latencies;
use crate::wire::{PATIENCE, Wire};

/// Maximum bytes in flight to one receiver. A server closes a receiver that is 64 MiB behind, and
/// the generator's may be slower than the server.
const WINDOW_BYTES: u64 = 16 << 20;

/// Maximum bytes in flight to all receivers, to limit the server's memory.
const WINDOW_TOTAL_BYTES: u64 = 48 << 20;

/// Interval at which the sending thread checks the clock, the server and the input of publishers.
const TICK: Duration = Duration::from_millis(10);

/// Pause when nothing can be sent.
const PAUSE: Duration = Duration::from_micros(50);

/// The publishers, receivers and messages of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The number of publishers.
    pub(crate) publishers: usize,
    /// Their messages.
    pub(crate) form: Form,
    /// The `SUB` lines of each receiver.
    pub(crate) subscriptions: Vec<String>,
    /// The messages that each receiver gets.
    pub(crate) order: Order,
    /// The number of receivers of each message.
    pub(crate) fan: u64,
    /// The expected numbers of the subscriptions.
    pub(crate) sids: Sids,
    /// Messages per second of all publishers; `None` for as many as possible.
    pub(crate) rate: Option<u32>,
    /// One of this many messages is timed.
    pub(crate) timed: Option<u64>,
    /// Maximum bytes in flight to one receiver, if not [`WINDOW_BYTES`].
    pub(crate) window_bytes: Option<u64>,
}

/// The connections of a run.
#[derive(Debug)]
pub(crate) struct Run {
    plan: Plan,
    publishers: Vec<Publisher>,
    receivers: Vec<Receiver>,
}

impl Run {
    /// Connects and subscribes.
    pub(crate) fn open(server: &Server, plan: Plan) -> Result<Self, Fault> {
        let mut receivers = Vec::new();
        for lines in &plan.subscriptions {
            let mut wire = Wire::dial(server.far_address())?;
            wire.send(lines.as_bytes())?;
            wire.barrier()?;
            let checker = Checker::new(plan.order, plan.publishers);
            receivers.push(Receiver::new(wire, checker, plan.sids, plan.timed)?);
        }
        server.await_interest();
        let publishers = (0..plan.publishers)
            .map(|origin| {
                let batch = Batch::new(plan.form.clone(), origin);
                Publisher::new(Wire::dial(server.address())?, batch)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { plan, publishers, receivers })
    }

    /// Runs `script` beside a receiving thread, then checks that all messages arrived.
    ///
    /// Also returns the latencies by phase.
    pub(crate) fn go<T>(
        mut self,
        server: &mut Server,
        script: impl FnOnce(&mut Flow<'_>) -> Result<T, Fault>,
    ) -> Result<(T, Vec<Latencies>), Fault> {
        let hub = Hub::new();
        let receivers = std::mem::take(&mut self.receivers);
        let receivers_count = receivers.len() as u64;
        let (scripted, received) = thread::scope(|scope| {
            let thread = scope.spawn(|| receive(receivers, &hub).inspect_err(|_| hub.set_broken()));
            let _guard = hub.guard();
            let mut flow = Flow {
                server,
                hub: &hub,
                window: self.plan.window(receivers_count, &self.publishers),
                rate: self.plan.rate,
                fan: self.plan.fan,
                publishers: &mut self.publishers,
                sent: 0,
            };
            let scripted = script(&mut flow);
            match scripted {
                Ok(_) => hub.finish(),
                Err(_) => hub.set_broken(),
            }
            (scripted, thread.join())
        });
        let Ok(received) = received else {
            return Err(Fault::Garbled("the receiving thread panicked".into()));
        };
        // If both failed, the receiver's error is the cause: the sender then waited in vain.
        let receivers = received?;
        let result = scripted?;
        let sent: Vec<_> = self.publishers.iter().map(|p| p.batch().sequence()).collect();
        check::settle(&sent, receivers.iter().map(Receiver::checker))?;
        let mut latencies = Vec::new();
        for of_receiver in receivers.into_iter().map(Receiver::into_latencies) {
            latencies.resize(of_receiver.len().max(latencies.len()), Latencies::default());
            latencies.iter_mut().zip(of_receiver).for_each(|(all, one)| all.merge(one));
        }
        Ok((result, latencies))
    }
}

impl Plan {
    /// Returns the maximum number of messages in flight.
    fn window(&self, receivers: u64, publishers: &[Publisher]) -> u64 {
        let Some(message_bytes) = publishers.first().map(|p| p.batch().stride() as u64) else {
            return u64::MAX;
        };
        if self.fan == 0 {
            return u64::MAX;
        }
        let bytes = self.window_bytes.unwrap_or(WINDOW_BYTES) * receivers;
        (bytes.min(WINDOW_TOTAL_BYTES) / (message_bytes * self.fan)).max(2)
    }
}

/// Volume and cost of a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Messages published.
    pub(crate) published: u64,
    /// Messages delivered.
    pub(crate) delivered: u64,
    /// Duration of publishing; the last deliveries come later.
    pub(crate) publishing: Duration,
    /// The cost, including deliveries.
    pub(crate) cost: Cost,
}

/// The sending half of a run.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    server: &'a mut Server,
    publishers: &'a mut [Publisher],
    hub: &'a Hub,
    /// Maximum number of messages in flight.
    window: u64,
    rate: Option<u32>,
    fan: u64,
    sent: u64,
}

impl Flow<'_> {
    /// Publishes for the duration of `span`, waits until all messages arrived, and returns the
    /// cost. Latencies are recorded under `number`.
    pub(crate) fn phase(&mut self, number: usize, span: Span) -> Result<Outcome, Fault> {
        let before = self.sent;
        let start = Start::now(self.server)?;
        self.hub.set_phase(number);
        self.send(&start, span)?;
        let publishing = start.elapsed();
        self.drain()?;
        let cost = start.cost(self.server)?;
        let published = self.sent - before;
        Ok(Outcome { published, delivered: published * self.fan, publishing, cost })
    }

    fn send(&mut self, start: &Start, span: Span) -> Result<(), Fault> {
        let mut pace = Pace::new(self.rate, self.hub.now_ns());
        let mut tick = Instant::now();
        let mut last = (0, tick);
        let mut open = true;
        loop {
            let now = Instant::now();
            if now >= tick {
                tick = now + TICK;
                self.tick()?;
                open = open && !span.is_over(start, self.server)?;
                let progress = self.sent + self.hub.received();
                if progress != last.0 {
                    last = (progress, now);
                } else if now - last.1 > PATIENCE {
                    return Err(Fault::Late(PATIENCE, "a single message going through"));
                }
            }
            if !open && !self.publishers.iter().any(Publisher::is_blocked) {
                return Ok(());
            }
            let now_ns = self.hub.now_ns();
            let due = if open { pace.due(now_ns) } else { 0 };
            let room = self.room();
            let mut budget = due.min(room);
            let time_ns = pace.time_ns(now_ns);
            let mut written = 0;
            for publisher in self.publishers.iter_mut() {
                let turn = publisher.pump(budget, time_ns, pace.step_ns())?;
                budget -= turn.started;
                self.sent += turn.started;
                pace.sent += turn.started;
                written += turn.written;
            }
            let blocked = self.publishers.iter().any(Publisher::is_blocked);
            pace.late = blocked || room < due;
            if written == 0 && blocked {
                self.wait()?;
            } else if written == 0 {
                thread::sleep(if due > 0 { PAUSE } else { pace.pause(now_ns) });
            }
        }
    }

    /// Returns how many messages the window allows: none until a good part of it is free, since
    /// many small writes would cost the server more than one large one.
    fn room(&self) -> u64 {
        if self.fan == 0 {
            return u64::MAX;
        }
        // A surplus is detected at the end of the run.
        let under_way = self.sent.saturating_sub(self.hub.received() / self.fan);
        let room = self.window.saturating_sub(under_way);
        let capacity = self.publishers.first().map_or(1, |p| p.batch().capacity());
        if room >= capacity.min(self.window / 4).max(1) { room } else { 0 }
    }

    /// Performs the periodic checks.
    fn tick(&mut self) -> Result<(), Fault> {
        self.server.check()?;
        if self.hub.broken() {
            return Err(Fault::Closed("receiving thread"));
        }
        self.publishers.iter_mut().try_for_each(Publisher::listen)
    }

    /// Waits until one of the publishers can write.
    fn wait(&self) -> Result<(), Fault> {
        let blocked = self.publishers.iter().filter(|p| p.is_blocked());
        let mut polled: Vec<_> =
            blocked.map(|p| PollFd::new(p.stream().as_fd(), PollFlags::POLLOUT)).collect();
        match poll(&mut polled, TICK.as_millis() as u16) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(e).during("waiting for a publisher"),
        }
    }

    /// Waits until all messages have arrived, or without receivers, have been processed.
    fn drain(&mut self) -> Result<(), Fault> {
        if self.fan == 0 {
            self.publishers.iter_mut().try_for_each(Publisher::ping)?;
            return until("the server taking all messages in", || {
                self.tick()?;
                let pongs = self.publishers.iter().filter(|p| p.has_pong()).count();
                Ok((pongs == self.publishers.len(), pongs as u64))
            });
        }
        let due = self.sent * self.fan;
        until("the last messages", || {
            self.tick()?;
            let received = self.hub.received();
            Ok((received >= due, received))
        })
    }
}

/// Spreads messages evenly over time.
#[derive(Debug)]
struct Pace {
    /// The interval between two messages, if there is a rate.
    step_ns: Option<u64>,
    start_ns: u64,
    sent: u64,
    /// True if the server delays sending.
    late: bool,
}

impl Pace {
    fn new(rate: Option<u32>, start_ns: u64) -> Self {
        let step_ns = rate.map(|rate| 1_000_000_000 / u64::from(rate));
        Self { step_ns, start_ns, sent: 0, late: false }
    }

    /// Returns how many messages are due.
    fn due(&self, now_ns: u64) -> u64 {
        let Some(step) = self.step_ns else { return u64::MAX };
        (now_ns - self.start_ns) / step - self.sent
    }

    /// Returns the time for the next message's stamp: the time of sending or, if the server delayed
    /// it, the time at which it was due. (Delays by oversleeping are the generator's own.)
    fn time_ns(&self, now_ns: u64) -> u64 {
        match self.step_ns {
            Some(step) if self.late => now_ns.min(self.start_ns + (self.sent + 1) * step),
            _ => now_ns,
        }
    }

    /// Returns the interval between the due times of a batch's messages.
    fn step_ns(&self) -> u64 {
        if self.late { self.step_ns.unwrap_or_default() } else { 0 }
    }

    /// Returns how long to sleep when nothing can be sent.
    fn pause(&self, now_ns: u64) -> Duration {
        let Some(step) = self.step_ns else { return PAUSE };
        let next = self.start_ns + (self.sent + 1) * step;
        Duration::from_nanos(next.saturating_sub(now_ns)).min(TICK).max(Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_messages_due_one_by_one() {
        let mut pace = Pace::new(Some(1_000_000), 500);
        assert_eq!(pace.due(500), 0);
        assert_eq!(pace.pause(500), Duration::from_micros(1));
        assert_eq!(pace.due(3_600), 3);
        pace.sent = 3;
        assert_eq!(pace.due(3_600), 0);
        assert_eq!(pace.pause(3_600), Duration::from_nanos(900));
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        assert_eq!(Pace::new(None, 0).due(0), u64::MAX);
    }

    #[test]
    fn a_message_delayed_by_the_server_is_timed_from_its_due_time() {
        let mut pace = Pace::new(Some(1_000_000), 0);
        pace.sent = 4;
        assert_eq!(pace.time_ns(9_000), 9_000, "our own delay does not count");
        pace.late = true;
        assert_eq!((pace.time_ns(9_000), pace.step_ns()), (5_000, 1_000));
    }
}
