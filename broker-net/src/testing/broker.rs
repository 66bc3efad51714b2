//! The test broker's handle.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use broker_core::auth::{Authenticator, Grant};
use broker_core::proto::{Info, encode};
use broker_core::snapshot::Connection;
use broker_core::stats::Stats;
use broker_core::{Broker, Client, SubjectFilter};
use tokio::sync::oneshot;

use super::disturbance::Disturbance;
use super::fault::Fault;
use super::kit::Kit;
use super::own_thread::OwnThread;
use super::tap::Tap;
use super::wait::Wait;
use crate::apply::{ApplyError, Report};
use crate::authenticators::Authenticators;
use crate::listen::BindError;
use crate::options::ServerOptions;
use crate::phase::LameDuck;
use crate::pipe::LocalStream;
use crate::stall::Gate;
use crate::status::ServerStatus;

/// Time without events after which the broker is idle.
const IDLE: Duration = Duration::from_millis(20);

/// Number of checks without events, in addition: on a busy machine, time may pass without any task
/// having run.
const IDLE_LOOKS: u32 = 20;

/// The turns of the runtime in which what is on its way between the brokers of one thread arrives, and the answer.
const TURNS: u32 = 16;

/// A NATS broker for one test: see the [module](super).
///
/// When dropped, the broker ends at once with its port and connections. When dropped by a panic, it
/// prints the last lines of the protocol.
#[derive(Debug)]
pub struct TestBroker {
    kit: Arc<Kit>,
    thread: Option<OwnThread>,
    /// The clock of its runtime can be moved.
    has_own_clock: bool,
}

/// Parses a filter written in a test.
#[track_caller]
fn filter(text: impl AsRef<[u8]>) -> SubjectFilter {
    let text = text.as_ref();
    SubjectFilter::parse(text)
        .unwrap_or_else(|error| panic!("{:?} is no filter: {error}", String::from_utf8_lossy(text)))
}

impl TestBroker {
    pub(super) fn new(kit: Arc<Kit>, thread: Option<OwnThread>, has_own_clock: bool) -> Self {
        Self { kit, thread, has_own_clock }
    }

    /// The URL for clients: `nats://127.0.0.1:40123`, or `tls://…`. It stays the same after a
    /// [restart](Self::restart).
    pub fn url(&self) -> String {
        self.kit.url()
    }

    /// The URL for WebSocket clients; `None` unless [enabled](super::TestBrokerBuilder::websocket).
    #[cfg(feature = "websocket")]
    pub fn websocket_url(&self) -> Option<String> {
        self.kit.server()?.websocket_url()
    }

    /// Opens a connection without a socket, for code that implements the protocol itself: see
    /// [`Server::connect`](crate::Server::connect).
    ///
    /// # Panics
    ///
    /// Panics while the broker [restarts](Self::restart).
    pub fn connect(&self) -> LocalStream {
        let server = self.kit.server();
        server
            .unwrap_or_else(|| panic!("the broker is restarting, or has failed to restart"))
            .connect()
    }

    /// The address of the client listener.
    pub fn address(&self) -> SocketAddr {
        self.kit.address()
    }

    /// Returns an in-process client with all permissions in the account `$G`. Its messages are
    /// delivered when `publish` returns.
    ///
    /// It belongs to this run of the broker: after a [restart](Self::restart), request another.
    pub fn client(&self) -> Client {
        self.broker().client()
    }

    /// Returns an in-process client with this grant.
    pub fn client_as(&self, grant: Grant) -> Client {
        self.broker().client_as(grant)
    }

    /// Returns the core's broker.
    ///
    /// # Panics
    ///
    /// Panics while the broker [restarts](Self::restart).
    pub fn broker(&self) -> Broker {
        self.kit
            .broker()
            .unwrap_or_else(|| panic!("the broker is restarting, or has failed to restart"))
    }

    /// Returns the status of the server: see [`Server::status`](crate::Server::status). It belongs
    /// to this run of the broker.
    ///
    /// # Panics
    ///
    /// Panics while the broker [restarts](Self::restart).
    pub fn status(&self) -> ServerStatus {
        let server = self.kit.server();
        server
            .unwrap_or_else(|| panic!("the broker is restarting, or has failed to restart"))
            .status()
    }

    /// Returns the current counters.
    pub fn stats(&self) -> Stats {
        self.broker().stats()
    }

    /// Returns all connections, as in monitoring.
    pub fn connections(&self) -> Vec<Connection> {
        self.broker().connections()
    }

    /// Returns the id of the newest connection whose client has this name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let broker = broker_net::testing::TestBroker::start().await;
    /// let client = async_nats::ConnectOptions::new().name("billing").connect(broker.url()).await?;
    /// assert!(broker.cut(broker.id_of("billing").unwrap()));
    /// assert_eq!(broker.id_of("nobody"), None);
    /// # Ok(()) }
    /// ```
    pub fn id_of(&self, name: &str) -> Option<u64> {
        let mut connections = self.connections();
        connections.retain(|connection| *connection.client_info.name == *name);
        connections.last().map(|connection| connection.id)
    }

    /// Records published messages that match `to` from now on: see [`Tap`].
    ///
    /// # Panics
    ///
    /// Panics if `to` is not a valid filter.
    #[track_caller]
    pub fn tap(&self, to: impl AsRef<[u8]>) -> Tap {
        Tap::new(Arc::clone(&self.kit), filter(to))
    }

    /// Returns the last lines received from (`<<-`) and sent to (`->>`) connections, as nats-server
    /// logs them, and the publishes of in-process clients. They are printed if the test panics.
    pub fn lines(&self) -> Vec<String> {
        self.kit.watcher.lines.all()
    }

    /// Waits until there are exactly `count` connections.
    ///
    /// # Panics
    ///
    /// Panics when awaited, if the time is up.
    #[track_caller]
    pub fn wait_for_clients(&self, count: usize) -> Wait<()> {
        let connections = |kit: &Kit| kit.broker().map(|broker| broker.stats().connections);
        Wait::new(
            &self.kit,
            move |kit| connections(kit).filter(|now| *now == count).map(drop),
            move |kit| {
                let now = connections(kit).unwrap_or(0);
                format!("{count} connections were expected, there are {now}")
            },
        )
    }

    /// Waits until a subscription, in any account, covers `to`: the subject or filter itself, or a
    /// wider one. Messages published afterwards are not too early.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let broker = broker_net::testing::TestBroker::start().await;
    /// # let service = async_nats::connect(broker.url()).await?;
    /// let service = tokio::spawn(async move { service.subscribe("orders.*").await });
    ///
    /// broker.wait_for_subscription("orders.eu").await;
    /// let orders = service.await??;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `to` is not a valid filter; and when awaited, if the time is up.
    #[track_caller]
    pub fn wait_for_subscription(&self, to: impl AsRef<[u8]>) -> Wait<()> {
        let to = filter(to);
        let told = to.clone();
        Wait::new(
            &self.kit,
            move |kit| kit.broker()?.is_subscribed(&to).then_some(()),
            move |kit| {
                let count = kit.broker().map_or(0, |broker| broker.stats().subscriptions);
                format!("a subscription to {told} was expected, none of {count} matches")
            },
        )
    }

    /// Waits until a condition holds; `what` describes it for the panic.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let broker = broker_net::testing::TestBroker::start().await;
    /// # broker.client().publish("x", "".into()).await.unwrap();
    /// broker.wait_until("a message is counted", |broker| broker.stats().in_messages == 1).await;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics when awaited, if the time is up.
    #[track_caller]
    pub fn wait_until(
        &self,
        what: impl Into<String>,
        mut is_so: impl FnMut(&Broker) -> bool + Send + 'static,
    ) -> Wait<()> {
        let what = what.into();
        Wait::new(
            &self.kit,
            move |kit| is_so(&kit.broker()?).then_some(()),
            move |kit| match kit.broker() {
                Some(broker) => format!("it was expected that {what}, but: {broker:?}"),
                None => format!("it was expected that {what}, but the broker is gone"),
            },
        )
    }

    /// Waits until the broker is idle: no bytes are queued for clients, no message is
    /// [delayed](Fault::delay), and for 20 milliseconds no client has published, connected or
    /// disconnected. (The broker cannot know what clients have not sent yet.)
    ///
    /// # Panics
    ///
    /// Panics when awaited, if the time is up.
    #[track_caller]
    pub fn wait_idle(&self) -> Wait<()> {
        let mut last = None;
        let is_idle = move |kit: &Kit| {
            let stats = kit.broker()?.stats();
            let now = kit.now();
            let (before, since, looks) = last.get_or_insert((stats, now, 0));
            if *before != stats || stats.pending_bytes > 0 || kit.watcher.holds_messages() {
                last = Some((stats, now, 0));
                return None;
            }
            *looks += 1;
            (*looks >= IDLE_LOOKS && now.saturating_sub(*since) >= IDLE).then_some(())
        };
        Wait::new(&self.kit, is_idle, |kit| {
            let stats = kit.broker().map(|broker| broker.stats());
            format!("the broker was expected to be idle, but is not: {stats:?}")
        })
    }

    /// Applies a fault to messages of all publishers: see [`Fault`]. Of several faults the first
    /// applicable one is used.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use broker_net::testing::{Fault, TestBroker};
    ///
    /// let broker = TestBroker::start().await;
    /// let client = broker.client();
    /// let mut orders = client.subscribe("orders.*").await?;
    /// let lost = broker.disturb("orders.eu", Fault::lose().once());
    ///
    /// client.publish("orders.eu", "one".into()).await?;
    /// client.publish("orders.eu", "two".into()).await?;
    /// assert_eq!(orders.next().await.unwrap().payload, "two");
    /// assert_eq!(lost.count(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `to` is not a valid filter.
    #[track_caller]
    pub fn disturb(&self, to: impl AsRef<[u8]>, fault: Fault) -> Disturbance {
        let watcher = Arc::clone(&self.kit.watcher);
        Disturbance { counts: watcher.add_fault(filter(to), fault), watcher }
    }

    /// Ends all [faults](Self::disturb). Delayed messages arrive when due.
    pub fn clear_faults(&self) {
        self.kit.watcher.end_all_faults();
    }

    /// Closes a connection without an error, like a network failure. Returns false if the id is
    /// unknown.
    pub fn cut(&self, id: u64) -> bool {
        self.broker().kick(id)
    }

    /// Closes all connections like [`Self::cut`].
    pub fn cut_all(&self) {
        let broker = self.broker();
        let order = broker.lame_duck_order();
        for id in order.others.into_iter().chain(order.services) {
            broker.kick(id);
        }
    }

    /// Stops reading from a connection, as if nothing arrived, until it is [resumed](Self::resume).
    /// Returns false if the id is unknown.
    pub fn stall_reads(&self, id: u64) -> bool {
        self.gate(id).map(|gate| gate.reads.shut()).is_some()
    }

    /// Stops writing to a connection, as if it did not read, until it is [resumed](Self::resume):
    /// beyond `max_pending_bytes` or `write_deadline` it is closed as a slow consumer. Returns
    /// false if the id is unknown.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use broker_net::testing::TestBroker;
    /// let builder = TestBroker::builder().limits(|limits| limits.max_pending_bytes = 1_000);
    /// let broker = builder.start().await?;
    /// let client = async_nats::connect(broker.url()).await?;
    /// let mut orders = client.subscribe("orders").await?;
    /// broker.wait_for_subscription("orders").await;
    ///
    /// broker.stall_writes(client.server_info().client_id);
    /// for _ in 0..2 {
    ///     broker.client().publish("orders", vec![0; 900].into()).await?;
    /// }
    /// broker.wait_until("it is cut", |broker| broker.stats().slow_consumers == 1).await;
    /// # Ok(()) }
    /// ```
    pub fn stall_writes(&self, id: u64) -> bool {
        self.gate(id).map(|gate| gate.writes.shut()).is_some()
    }

    /// Resumes a stalled connection. Returns false if the id is unknown.
    pub fn resume(&self, id: u64) -> bool {
        let Some(gate) = self.gate(id) else { return false };
        gate.reads.open();
        gate.writes.open();
        true
    }

    fn gate(&self, id: u64) -> Option<Arc<Gate>> {
        self.kit.gates.of(id)
    }

    /// Closes the next `count` connections as soon as they are accepted, without an error.
    pub fn refuse_connections(&self, count: usize) {
        self.kit.gates.refuse(count);
    }

    /// Rejects the next `count` authentications, regardless of credentials.
    pub fn fail_authentication(&self, count: usize) {
        self.kit.acceptor.turn_away(count);
    }

    /// Sends an error to a connection: `-ERR 'text'`. Does not [close](Self::cut) it. Returns false
    /// if the id is unknown.
    pub fn send_error(&self, id: u64, text: &str) -> bool {
        self.broker().tell(id, format!("-ERR '{text}'\r\n"))
    }

    /// Sends another INFO with a change to a connection. Returns false if the id is unknown.
    pub fn send_info(&self, id: u64, change: impl FnOnce(&mut Info)) -> bool {
        let broker = self.broker();
        let mut info = broker.info();
        info.client_id = id;
        change(&mut info);
        let mut line = Vec::new();
        encode::info(&mut line, &info);
        broker.tell(id, line)
    }

    /// Enters lame duck mode: see [`Server::lame_duck`](crate::Server::lame_duck). Returns when all
    /// clients have disconnected.
    pub async fn lame_duck(&self, plan: LameDuck) {
        let Some(server) = self.kit.server() else { return };
        self.there(async move { server.lame_duck(plan).await }).await;
    }

    /// Ends the server abruptly, and starts another at the same address with the same options:
    /// clients see a server that restarts. Taps and faults stay. What streams have taken is stored before; a
    /// crash (`crash()`, cargo feature `streams`) stores nothing, and is ended by this.
    ///
    /// # Errors
    ///
    /// Returns [`BindError`] if the port was taken in the meantime.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the restart continues.
    pub async fn restart(&self) -> Result<(), BindError> {
        let kit = Arc::clone(&self.kit);
        self.there(async move { kit.restart(None, None).await }).await.unwrap_or(Ok(()))
    }

    /// Restarts like [`Self::restart`] with other options, including those that take a restart, and
    /// with another authenticator, if given. Port 0 keeps the current port.
    ///
    /// # Errors
    ///
    /// Returns [`BindError`] if the server cannot start; then the broker has ended.
    ///
    /// # Cancel safety
    ///
    /// See [`Self::restart`].
    pub async fn restart_with(
        &self,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<(), BindError> {
        let kit = Arc::clone(&self.kit);
        let restarting = async move { kit.restart(Some(options), authenticators).await };
        self.there(restarting).await.unwrap_or(Ok(()))
    }

    /// Sets the operator mode whose accounts the server has from the next [restart](Self::restart_with) on, which is
    /// given its authenticator.
    #[cfg(feature = "jwt")]
    pub fn set_operator_mode(&self, mode: Option<broker_core::operator::OperatorMode>) {
        self.kit.set_operator_mode(mode);
    }

    /// Returns the server's options, with the bound ports.
    pub fn options(&self) -> ServerOptions {
        self.kit.options()
    }

    /// Changes options and the authenticator while the server runs, like a reload: see
    /// [`Server::apply`](crate::Server::apply).
    ///
    /// # Errors
    ///
    /// Returns [`ApplyError`] if a change takes a restart; then nothing has changed.
    ///
    /// # Panics
    ///
    /// Panics while the broker [restarts](Self::restart).
    pub async fn apply(
        &self,
        options: ServerOptions,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Report, ApplyError> {
        self.apply_with(options, authenticator.map(Authenticators::from)).await
    }

    /// Like [`Self::apply`], with a separate authenticator for WebSocket.
    ///
    /// # Errors
    ///
    /// See [`Self::apply`].
    ///
    /// # Panics
    ///
    /// See [`Self::apply`].
    pub async fn apply_with(
        &self,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<Report, ApplyError> {
        let kit = Arc::clone(&self.kit);
        let applying = async move {
            let server = kit.server()?;
            Some(kit.apply(&server, options, authenticators).await)
        };
        let applied = self.there(applying).await.flatten();
        applied.unwrap_or_else(|| panic!("the broker is restarting, or has failed to restart"))
    }

    /// Moves the broker's clock, and with it all timers: PINGs, deadlines, [delayed](Fault::delay)
    /// messages. Takes no time. Does not affect [waits](Wait).
    ///
    /// # Panics
    ///
    /// Panics if the broker shares its clock with a runtime of several threads: then it needs [its
    /// own thread](super::TestBrokerBuilder::own_thread). In a runtime with paused time, use
    /// `tokio::time::advance`.
    pub async fn advance(&self, by: Duration) {
        self.move_clock(by, vec![Arc::clone(&self.kit)]).await;
    }

    /// Moves the clock of its runtime; `sharing` are all brokers that use it.
    pub(super) async fn move_clock(&self, by: Duration, sharing: Vec<Arc<Kit>>) {
        assert!(
            self.has_own_clock,
            "the clock of a runtime of several threads cannot be moved: start the broker with `own_thread()`"
        );
        let moving = async move {
            crate::clock::note_move();
            tokio::time::pause();
            {
                // The first poll moves the clock; the rest would let other tasks run first, and a
                // paused clock runs ahead when all are idle.
                let mut advancing = pin!(tokio::time::advance(by));
                poll_fn(|cx| {
                    let _ = advancing.as_mut().poll(cx);
                    Poll::Ready(())
                })
                .await;
            }
            tokio::time::resume();
            sharing.iter().for_each(|kit| kit.note_move(by));
            // Due timers fire first.
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(
            self.there(moving).await.is_some(),
            "time is paused in the broker's runtime: use `tokio::time::advance`"
        );
    }

    /// Returns true if it runs on its own thread.
    pub(super) fn has_own_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// Returns when each task that could run has run several times.
    pub(super) async fn run_tasks(&self) {
        let running = async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        };
        self.there(running).await;
    }

    pub(super) fn kit(&self) -> &Arc<Kit> {
        &self.kit
    }

    /// Stops the broker like [`Server::shutdown`](crate::Server::shutdown). When it returns,
    /// nothing is left running.
    pub async fn stop(mut self) {
        let Some(server) = self.kit.end() else { return };
        let (done, is_done) = oneshot::channel();
        self.kit.runtime.spawn(async move {
            server.shutdown().await;
            drop(server);
            let _ = done.send(());
        });
        // An error means that its runtime has ended, and the server with it.
        let _ = is_done.await;
        if let Some(thread) = self.thread.take() {
            thread.end().await;
        }
    }

    /// Runs a function in the server's runtime; `None` if it panicked or the runtime has ended.
    pub(super) async fn there<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, is_done) = oneshot::channel();
        self.kit.spawn(async move { drop(done.send(task.await)) });
        is_done.await.ok()
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        drop(self.kit.end());
        if thread::panicking() {
            print_lines(&self.lines());
        }
    }
}

/// Prints to the test's captured output.
fn print_lines(lines: &[String]) {
    if !lines.is_empty() {
        eprintln!("\nThe last lines of the test broker:\n{}\n", lines.join("\n"));
    }
}
