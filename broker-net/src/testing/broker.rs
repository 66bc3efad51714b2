//! The broker that a test holds.

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

/// For how long nothing must happen for the broker to be idle.
const IDLE: Duration = Duration::from_millis(20);

/// And how often nothing must be seen to have happened. On a machine that does much else, time alone tells
/// nothing: it may have passed without anybody having had a turn.
const IDLE_LOOKS: u32 = 20;

/// A NATS broker for one test: see the [module](super).
///
/// Dropped, it is gone, with its port and its connections, and nobody is made to wait. Dropped by a
/// panic, it prints the last lines of the protocol.
#[derive(Debug)]
pub struct TestBroker {
    kit: Arc<Kit>,
    thread: Option<OwnThread>,
    /// Its runtime's clock can be moved.
    has_own_clock: bool,
}

/// Checks a filter that a test has written down.
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

    /// What a client connects to: `nats://127.0.0.1:40123`, or `tls://…`. The same after a [restart](Self::restart).
    pub fn url(&self) -> String {
        self.kit.url()
    }

    /// What a client connects to by WebSocket; none unless the broker
    /// [was told to](super::TestBrokerBuilder::websocket) listen for it.
    #[cfg(feature = "websocket")]
    pub fn websocket_url(&self) -> Option<String> {
        self.kit.server()?.websocket_url()
    }

    /// A connection without a socket, for what speaks the protocol by itself: see
    /// [`Server::connect`](crate::Server::connect).
    ///
    /// # Panics
    ///
    /// While it [restarts](Self::restart).
    pub fn connect(&self) -> LocalStream {
        let server = self.kit.server();
        server.unwrap_or_else(|| panic!("the broker is restarting, or could not be")).connect()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.kit.address()
    }

    /// An in-process client who may do everything in the account `$G`: no socket, the same rules. Its
    /// messages are delivered when `publish` returns.
    ///
    /// It belongs to this run of the broker: after a [restart](Self::restart), ask for another.
    pub fn client(&self) -> Client {
        self.broker().client()
    }

    /// An in-process client who may do what `grant` says.
    pub fn client_as(&self, grant: Grant) -> Client {
        self.broker().client_as(grant)
    }

    /// The broker behind it, as any program has it.
    ///
    /// # Panics
    ///
    /// While it [restarts](Self::restart): there is none then.
    pub fn broker(&self) -> Broker {
        self.kit.broker().unwrap_or_else(|| panic!("the broker is restarting, or could not be"))
    }

    /// What is seen of it as a server: see [`Server::status`](crate::Server::status). It belongs to this
    /// run of the broker.
    ///
    /// # Panics
    ///
    /// While it [restarts](Self::restart).
    pub fn status(&self) -> ServerStatus {
        let server = self.kit.server();
        server.unwrap_or_else(|| panic!("the broker is restarting, or could not be")).status()
    }

    /// Counts, added up now.
    pub fn stats(&self) -> Stats {
        self.broker().stats()
    }

    /// All connections, as monitoring sees them.
    pub fn connections(&self) -> Vec<Connection> {
        self.broker().connections()
    }

    /// The number of the newest connection whose client calls itself so; none if there is none.
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

    /// Writes down what is published from now on and matches: see [`Tap`].
    ///
    /// # Panics
    ///
    /// If it is no filter.
    #[track_caller]
    pub fn tap(&self, to: impl AsRef<[u8]>) -> Tap {
        Tap::new(Arc::clone(&self.kit), filter(to))
    }

    /// The last lines that connections have said (`<<-`) and were told (`->>`), as nats-server logs
    /// them, and what in-process clients have published. They are printed if the test panics.
    pub fn lines(&self) -> Vec<String> {
        self.kit.watcher.lines.all()
    }

    /// Waits until there are so many connections, neither more nor fewer.
    ///
    /// # Panics
    ///
    /// When it is awaited, if that is not soon.
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

    /// Waits until somebody has subscribed to all that is published to `to`, in any account: the
    /// subject or filter itself, or one that covers it. So nothing is published too early.
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
    /// If it is no filter; and when it is awaited, if nobody has subscribed soon.
    #[track_caller]
    pub fn wait_for_subscription(&self, to: impl AsRef<[u8]>) -> Wait<()> {
        let to = filter(to);
        let told = to.clone();
        Wait::new(
            &self.kit,
            move |kit| kit.broker()?.is_subscribed(&to).then_some(()),
            move |kit| {
                let count = kit.broker().map_or(0, |broker| broker.stats().subscriptions);
                format!(
                    "somebody was expected to subscribe to {told}, none of {count} subscriptions does"
                )
            },
        )
    }

    /// Waits until something is true of the broker; `what` says it in words, for the panic.
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
    /// When it is awaited, if that is not soon.
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

    /// Waits until nothing happens any more: nothing waits to be read by clients, no message is
    /// [delayed](Fault::delay), and for 20 milliseconds nobody has published or come or gone. (What
    /// clients have not sent yet the broker cannot know.)
    ///
    /// # Panics
    ///
    /// When it is awaited, if that is not soon.
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

    /// Has something befall messages on their way, whoever publishes them: see [`Fault`]. Of several
    /// faults the first one that applies does.
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
    /// If it is no filter.
    #[track_caller]
    pub fn disturb(&self, to: impl AsRef<[u8]>, fault: Fault) -> Disturbance {
        let watcher = Arc::clone(&self.kit.watcher);
        Disturbance { counts: watcher.add_fault(filter(to), fault), watcher }
    }

    /// Ends all [faults](Self::disturb). What is delayed comes when it would have.
    pub fn clear_faults(&self) {
        self.kit.watcher.end_all_faults();
    }

    /// Cuts a connection, as a network does: without a word. False if there is none of that number.
    pub fn cut(&self, id: u64) -> bool {
        self.broker().kick(id)
    }

    /// Cuts all connections, as [`Self::cut`] does.
    pub fn cut_all(&self) {
        let broker = self.broker();
        let order = broker.lame_duck_order();
        for id in order.others.into_iter().chain(order.services) {
            broker.kick(id);
        }
    }

    /// Reads nothing more of what a connection sends, as if it had not arrived, until it
    /// [goes on](Self::resume). False if there is none of that number.
    pub fn stall_reads(&self, id: u64) -> bool {
        self.gate(id).map(|gate| gate.reads.shut()).is_some()
    }

    /// Writes nothing more to a connection, as if it did not read, until it [goes on](Self::resume):
    /// with more behind it than `max_pending_bytes`, or for longer than `write_deadline`, it is a slow
    /// consumer, and cut. False if there is none of that number.
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

    /// Has a connection that was stalled go on. False if there is none of that number.
    pub fn resume(&self, id: u64) -> bool {
        let Some(gate) = self.gate(id) else { return false };
        gate.reads.open();
        gate.writes.open();
        true
    }

    fn gate(&self, id: u64) -> Option<Arc<Gate>> {
        self.kit.gates.of(id)
    }

    /// Closes the next `count` connections as soon as they come, without a word.
    pub fn refuse_connections(&self, count: usize) {
        self.kit.gates.refuse(count);
    }

    /// Turns the next `count` connections away that log in, whatever they show.
    pub fn fail_authentication(&self, count: usize) {
        self.kit.acceptor.turn_away(count);
    }

    /// Tells a connection of an error: `-ERR 'text'`. It is only told: to end it is
    /// [another call](Self::cut). False if there is none of that number.
    pub fn send_error(&self, id: u64, text: &str) -> bool {
        self.broker().tell(id, format!("-ERR '{text}'\r\n"))
    }

    /// Sends a connection another INFO: what the server says of itself, with a change. False if there is
    /// none of that number.
    pub fn send_info(&self, id: u64, change: impl FnOnce(&mut Info)) -> bool {
        let broker = self.broker();
        let mut info = broker.info();
        info.client_id = id;
        change(&mut info);
        let mut line = Vec::new();
        encode::info(&mut line, &info);
        broker.tell(id, line)
    }

    /// Has the server take leave of its clients: see [`Server::lame_duck`](crate::Server::lame_duck).
    /// Returns when all are gone.
    pub async fn lame_duck(&self, plan: LameDuck) {
        let Some(server) = self.kit.server() else { return };
        self.there(async move { server.lame_duck(plan).await }).await;
    }

    /// Ends the server, without leave, and begins another at the same address, with the same options:
    /// clients see a server that goes and comes back. Taps and faults stay.
    ///
    /// # Errors
    ///
    /// [`BindError`] if somebody has taken its port meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it takes its course.
    pub async fn restart(&self) -> Result<(), BindError> {
        let kit = Arc::clone(&self.kit);
        self.there(async move { kit.restart(None, None).await }).await.unwrap_or(Ok(()))
    }

    /// Restarts it, as [`Self::restart`] does, with other options, also such that take a restart; and with
    /// somebody else who decides who may be here, if there is anybody. Port 0 stands for the one that it
    /// has.
    ///
    /// # Errors
    ///
    /// [`BindError`] if it cannot be; then it is gone.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::restart`].
    pub async fn restart_with(
        &self,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<(), BindError> {
        let kit = Arc::clone(&self.kit);
        let restarting = async move { kit.restart(Some(options), authenticators).await };
        self.there(restarting).await.unwrap_or(Ok(()))
    }

    /// What the server was told, with the port that was chosen.
    pub fn options(&self) -> ServerOptions {
        self.kit.options()
    }

    /// Changes options while the server serves, and who decides who may be here, as a reload does: see
    /// [`Server::apply`](crate::Server::apply).
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if something takes a restart; then nothing has changed.
    ///
    /// # Panics
    ///
    /// While it [restarts](Self::restart).
    pub async fn apply(
        &self,
        options: ServerOptions,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Report, ApplyError> {
        self.apply_with(options, authenticator.map(Authenticators::from)).await
    }

    /// As [`Self::apply`], where others may decide who comes in by WebSocket.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    ///
    /// # Panics
    ///
    /// As [`Self::apply`].
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
        applied.unwrap_or_else(|| panic!("the broker is restarting, or could not be"))
    }

    /// Moves the broker's clock on, and with it all that it waits for: PINGs, deadlines, what is
    /// [delayed](Fault::delay). Takes no time. How long [waits](Wait) take is not concerned.
    ///
    /// # Panics
    ///
    /// If the broker shares its clock with a runtime of several threads: then it needs
    /// [a thread of its own](super::TestBrokerBuilder::own_thread). In a runtime whose time is paused, use
    /// `tokio::time::advance`.
    pub async fn advance(&self, by: Duration) {
        assert!(
            self.has_own_clock,
            "the clock of a runtime of several threads cannot be moved: start the broker with `own_thread()`"
        );
        let kit = Arc::clone(&self.kit);
        let moving = async move {
            tokio::time::pause();
            {
                // The clock moves when it is first polled; the rest of it would let others run before
                // time goes on, and a paused clock runs ahead when nobody does.
                let mut advancing = pin!(tokio::time::advance(by));
                poll_fn(|cx| {
                    let _ = advancing.as_mut().poll(cx);
                    Poll::Ready(())
                })
                .await;
            }
            tokio::time::resume();
            kit.note_move(by);
            // Whoever's time has come goes first.
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(
            self.there(moving).await.is_some(),
            "time is paused in the broker's runtime: use `tokio::time::advance`"
        );
    }

    /// Ends the broker as [`Server::shutdown`](crate::Server::shutdown) does. When it returns, nothing
    /// is left of it.
    pub async fn stop(mut self) {
        let Some(server) = self.kit.end() else { return };
        let (done, is_done) = oneshot::channel();
        self.kit.runtime.spawn(async move {
            server.shutdown().await;
            drop(server);
            let _ = done.send(());
        });
        // An error means that its runtime is gone, and it with it.
        let _ = is_done.await;
        if let Some(thread) = self.thread.take() {
            thread.end().await;
        }
    }

    /// Does something where the server lives; none if it has panicked or is gone.
    async fn there<T: Send + 'static>(
        &self,
        scratch: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, is_done) = oneshot::channel();
        self.kit.spawn(async move { drop(done.send(scratch.await)) });
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

/// To where a test's output goes.
fn print_lines(lines: &[String]) {
    if !lines.is_empty() {
        eprintln!("\nThe last lines of the test broker:\n{}\n", lines.join("\n"));
    }
}
