//! Publishers, receivers and what flows between them: most scenarios are one of these.

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

/// What may be under way to one receiver. A server cuts a receiver off when it is 64 MiB
/// behind, and ours may well be slower than the server.
const WINDOW_BYTES: u64 = 16 << 20;

/// What may be under way to all receivers, for the sake of the server's memory.
const WINDOW_TOTAL_BYTES: u64 = 48 << 20;

/// How often the sending thread looks at the clock, the server and what publishers are told.
const TICK: Duration = Duration::from_millis(10);

/// How long it waits when nothing can be sent.
const PAUSE: Duration = Duration::from_micros(50);

/// Who sends what to whom.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many publish.
    pub(crate) publishers: usize,
    /// What each of them sends.
    pub(crate) form: Form,
    /// The `SUB` lines of each receiver.
    pub(crate) subscriptions: Vec<String>,
    /// Which of the messages each receiver gets.
    pub(crate) order: Order,
    /// How many receivers get each message.
    pub(crate) fan: u64,
    /// What the numbers of the subscriptions must be.
    pub(crate) sids: Sids,
    /// Messages per second of all publishers, or as many as can be sent.
    pub(crate) rate: Option<u32>,
    /// One message of so many is timed.
    pub(crate) timed: Option<u64>,
    /// What may be under way to one receiver, if not [`WINDOW_BYTES`].
    pub(crate) window_bytes: Option<u64>,
}

/// Connections that have been set up.
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
            let mut wire = Wire::dial(server.address())?;
            wire.send(lines.as_bytes())?;
            wire.barrier()?;
            let checker = Checker::new(plan.order, plan.publishers);
            receivers.push(Receiver::new(wire, checker, plan.sids, plan.timed)?);
        }
        let publishers = (0..plan.publishers)
            .map(|origin| {
                let batch = Batch::new(plan.form.clone(), origin);
                Publisher::new(Wire::dial(server.address())?, batch)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { plan, publishers, receivers })
    }

    /// Runs `script` beside a receiving thread, then checks that everything has arrived.
    ///
    /// Returns the latencies by phase as well.
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
        // If both failed, the receiver's error is the cause: the sender only waited in vain.
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
    /// How many messages may be under way.
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

/// What a phase has sent and cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Messages published.
    pub(crate) published: u64,
    /// Messages delivered.
    pub(crate) delivered: u64,
    /// How long publishing took; the last deliveries come later.
    pub(crate) publishing: Duration,
    /// What it cost, deliveries included.
    pub(crate) cost: Cost,
}

/// The sending half of a run.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    server: &'a mut Server,
    publishers: &'a mut [Publisher],
    hub: &'a Hub,
    /// Messages that may be under way.
    window: u64,
    rate: Option<u32>,
    fan: u64,
    sent: u64,
}

impl Flow<'_> {
    /// Publishes for as long as `span` says, waits until all has arrived, and says what it cost.
    /// Latencies are filed under `number`.
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

    /// How many messages the window leaves room for: none until a good part of it is free, since
    /// many small writes would make the server's work dearer than one large one.
    fn room(&self) -> u64 {
        if self.fan == 0 {
            return u64::MAX;
        }
        // If more has come than was sent, the end of the run will tell.
        let under_way = self.sent.saturating_sub(self.hub.received() / self.fan);
        let room = self.window.saturating_sub(under_way);
        let capacity = self.publishers.first().map_or(1, |p| p.batch().capacity());
        if room >= capacity.min(self.window / 4).max(1) { room } else { 0 }
    }

    /// What has to be looked at from time to time.
    fn tick(&mut self) -> Result<(), Fault> {
        self.server.check()?;
        if self.hub.broken() {
            return Err(Fault::Closed("receiving thread"));
        }
        self.publishers.iter_mut().try_for_each(Publisher::listen)
    }

    /// Waits until one of the publishers may go on.
    fn wait(&self) -> Result<(), Fault> {
        let blocked = self.publishers.iter().filter(|p| p.is_blocked());
        let mut polled: Vec<_> =
            blocked.map(|p| PollFd::new(p.stream().as_fd(), PollFlags::POLLOUT)).collect();
        match poll(&mut polled, TICK.as_millis() as u16) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(e) => Err(e).during("waiting for a publisher"),
        }
    }

    /// Waits until all that was sent has arrived, or with no receivers, has been taken in.
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
    /// Between two messages, if there is a rate.
    step_ns: Option<u64>,
    start_ns: u64,
    sent: u64,
    /// Whether the server keeps us from sending what is due.
    late: bool,
}

impl Pace {
    fn new(rate: Option<u32>, start_ns: u64) -> Self {
        let step_ns = rate.map(|rate| 1_000_000_000 / u64::from(rate));
        Self { step_ns, start_ns, sent: 0, late: false }
    }

    /// How many messages should be sent now.
    fn due(&self, now_ns: u64) -> u64 {
        let Some(step) = self.step_ns else { return u64::MAX };
        (now_ns - self.start_ns) / step - self.sent
    }

    /// The time that the next message is stamped with: when it leaves, or if the server has kept
    /// it from leaving, when it should have left. (If we overslept, that is our own delay.)
    fn time_ns(&self, now_ns: u64) -> u64 {
        match self.step_ns {
            Some(step) if self.late => now_ns.min(self.start_ns + (self.sent + 1) * step),
            _ => now_ns,
        }
    }

    /// How much later each further message of a batch should have left.
    fn step_ns(&self) -> u64 {
        if self.late { self.step_ns.unwrap_or_default() } else { 0 }
    }

    /// How long to sleep when nothing can be sent.
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
    fn a_message_the_server_held_up_is_timed_from_when_it_was_due() {
        let mut pace = Pace::new(Some(1_000_000), 0);
        pace.sent = 4;
        assert_eq!(pace.time_ns(9_000), 9_000, "our own delay does not count");
        pace.late = true;
        assert_eq!((pace.time_ns(9_000), pace.step_ns()), (5_000, 1_000));
    }
}
