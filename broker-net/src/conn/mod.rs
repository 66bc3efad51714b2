//! A connection: its session, of whatever kind, its socket and its timer.
//!
//! A connection is one task. Publishers write to its byte queue from their own threads, without waking the task; the
//! task writes only the bytes that the socket does not take at once.

mod reader;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use broker_core::auth::Nonce;
use broker_core::cluster::RouteDial;
use broker_core::endpoint::{Drained, Scratch, WriteHandle};
use broker_core::session::Session;
use broker_core::session::client::{Arrival, HandshakeOrder};
use broker_core::session::route::RouteArrival;
use broker_core::transport::{CompressionLevel, TransportInfo};
use broker_core::{Broker, CloseReason};
use tokio::time::Sleep;

use crate::auth_checks::{AuthChecks, Checking, Source};
use crate::clock;
use crate::handshake::{AcceptedConnection, Handshake};
use crate::transport::{
    READ_BYTES, Socket, Writer, poll_io, with_buffers, yield_long_turn, yield_turn,
};
use crate::unauthenticated::UnauthenticatedGuard;
use crate::workers::Workers;
use reader::{Read, Reader};

/// Maximum time to write the last bytes to a client, its error among them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Maximum time to read from a closed client, and maximum bytes to discard, so that bytes it still sends do not reset
/// the connection before it has read the error.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 1 << 20;

/// Maximum time to process input after a half-close at server shutdown, until the client has noticed it.
const HEAR_OUT: Duration = Duration::from_secs(1);

/// Maximum chunks read in one turn of the task.
const CHUNKS_A_TURN: usize = 2;

/// The input with which a turn ends, after which the thread looks for I/O before it serves the connection again. Looking costs
/// about a microsecond, which is at most one hundredth of such a turn.
const LONG_TURN_BYTES: usize = READ_BYTES / 2;

/// Serves a client connection until it ends. Dropping the future closes the connection.
///
/// `accepted` is boxed because a future keeps space for its arguments as long as it lives.
pub(crate) fn serve(
    accepted: Box<AcceptedConnection>,
    broker: Broker,
    auth_checks: Arc<AuthChecks>,
    unauthenticated_guard: UnauthenticatedGuard,
    workers: Arc<Workers>,
) -> impl Future<Output = ()> {
    // Only the session keeps the broker alive once it is open.
    let open = move |arrival, write_handle, scratch: &mut Scratch| {
        let arrival = Arrival { nonce: nonce(), ..arrival };
        Some(broker.open(arrival, write_handle, clock::now(), scratch))
    };
    serve_session(accepted, open, auth_checks, unauthenticated_guard, workers)
}

/// Serves a connection with another server until it ends; `dial` is the order by which it was made, if this side has
/// dialled. Dropping the future closes the connection.
pub(crate) fn serve_route(
    accepted: Box<AcceptedConnection>,
    dial: Option<RouteDial>,
    broker: Broker,
    auth_checks: Arc<AuthChecks>,
    unauthenticated_guard: UnauthenticatedGuard,
    workers: Arc<Workers>,
) -> impl Future<Output = ()> {
    let open = move |arrival: Arrival, write_handle, scratch: &mut Scratch| {
        let mut route = RouteArrival::accepted(arrival.remote);
        (route.transport, route.handshake) = (arrival.transport, arrival.handshake);
        route.dial = dial;
        broker.open_route(route, write_handle, clock::now(), scratch)
    };
    serve_session(accepted, open, auth_checks, unauthenticated_guard, workers)
}

/// Makes a nonce from the randomness of the operating system. Returns `None` if there is none; log-ins by signature
/// are then denied.
fn nonce() -> Option<Nonce> {
    let mut bytes = [0; Nonce::BYTES];
    getrandom::fill(&mut bytes).ok().map(|()| Nonce::from_random(bytes))
}

/// Serves the session that `open` creates for a connection, of any kind; if it creates none, the connection is closed.
async fn serve_session<S: Session>(
    accepted: Box<AcceptedConnection>,
    open: impl FnOnce(Arrival, Box<dyn WriteHandle>, &mut Scratch) -> Option<S>,
    auth_checks: Arc<AuthChecks>,
    unauthenticated_guard: UnauthenticatedGuard,
    workers: Arc<Workers>,
) {
    let AcceptedConnection { socket, arrival, handshake } = *accepted;
    let order = arrival.handshake;
    let source = match arrival.transport {
        TransportInfo::Unix => Source::Unix,
        _ => Source::of(arrival.remote),
    };
    // No more than one statement holds the option, so that the future has no room for it.
    let session = match with_buffers(|buffers| {
        open(arrival, Box::new(Writer(Arc::clone(&socket))), &mut buffers.scratch)
    }) {
        Some(session) => session,
        None => return,
    };
    workers.note_id(session.id());
    drop(workers);
    #[cfg(feature = "testing")]
    socket.transport.note_id(session.id());
    let unauthenticated_guard =
        Some(unauthenticated_guard).filter(|_| session.is_unauthenticated());
    if let Some(unauthenticated_guard) = &unauthenticated_guard {
        unauthenticated_guard.has_session(session.byte_queue());
    }
    let mut connection = Connection {
        session,
        reader: Reader::default(),
        socket,
        auth_checks,
        source,
        checking: None,
        unauthenticated_guard,
        must_flush: false,
    };
    if let Some(handshake) = handshake {
        // Boxed, as the end is, because only the beginning needs this memory.
        Box::pin(connection.handshake(handshake, order)).await;
    }
    let reason = {
        let mut timer = pin!(tokio::time::sleep_until(connection.session.next_timeout().into()));
        poll_fn(|cx| connection.poll(timer.as_mut(), cx)).await
    };
    // Boxed, because memory that only the end needs must not be held for the whole life of every connection.
    Box::pin(connection.end(reason)).await;
}

/// Returns true if the client is sent an error line for the close reason.
// NATS 2.14: a server that shuts down just closes.
fn is_sent_error(reason: CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::ClientClosed
            | CloseReason::ReadError
            | CloseReason::WriteError
            | CloseReason::SlowConsumerPendingBytes
            | CloseReason::SlowConsumerWriteDeadline
            | CloseReason::ServerShutdown
            | CloseReason::Kicked
    )
}

/// Returns true if the transport may send the close reason, if it has a form for it.
fn may_send_reason(reason: CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::WriteError
            | CloseReason::SlowConsumerPendingBytes
            | CloseReason::SlowConsumerWriteDeadline
    )
}

struct Connection<S> {
    session: S,
    reader: Reader,
    socket: Arc<Socket>,
    auth_checks: Arc<AuthChecks>,
    /// The source that checks of credentials are charged to.
    source: Source,
    /// The check of credentials under way.
    checking: Option<Box<Checking>>,
    /// Held until the client has authenticated.
    unauthenticated_guard: Option<UnauthenticatedGuard>,
    /// Deliveries are flushed at the end of the turn.
    must_flush: bool,
}

impl<S: Session> Connection<S> {
    /// Runs the handshake before input is read; if it fails the session is closing.
    async fn handshake(&mut self, mut handshake: Box<dyn Handshake>, order: HandshakeOrder) {
        // The session may already be closing, because the connection exceeds a limit.
        if self.session.closing().is_some() {
            return;
        }
        let (socket, byte_queue) =
            (Arc::clone(&self.socket), Arc::clone(self.session.byte_queue()));
        let ending = || {
            poll_fn(|cx| {
                socket.register(cx.waker());
                byte_queue.ending().map_or(Poll::Pending, |_| Poll::Ready(()))
            })
        };
        if order == HandshakeOrder::BeforeInfo {
            let begins = tokio::select! {
                biased;
                () = ending() => return,
                begins = handshake.client_begins() => begins,
            };
            if !begins {
                with_buffers(|buffers| self.session.greet(clock::now(), &mut buffers.scratch));
            }
        }
        let agreed = tokio::select! {
            biased;
            () = ending() => return,
            agreed = handshake.run() => agreed,
        };
        let (session, now) = (&mut self.session, clock::now());
        with_buffers(|buffers| match agreed {
            Ok(security) => session.handle_secured(security, now, &mut buffers.scratch),
            Err(fault) => session.handle_insecure(&fault, now, &mut buffers.scratch),
        });
    }

    /// Serves until the connection must end. Pending until then.
    fn poll(&mut self, timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let polled = self.take_turn(timer, cx);
        if self.unauthenticated_guard.is_some() && !self.session.is_unauthenticated() {
            self.unauthenticated_guard = None;
        }
        // Flushes what was delivered from a full read, for which more input was expected.
        if std::mem::take(&mut self.must_flush) {
            with_buffers(|buffers| self.session.flush(clock::now(), &mut buffers.scratch));
            self.reader.note_flush(&mut self.session);
        }
        polled
    }

    fn take_turn(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.socket.register(cx.waker());
        // The unsent rest of a record or a frame goes first; the transport wakes this task when it is sent.
        let _ = self.socket.transport.poll_unsent(cx);
        let mut read_bytes = 0;
        for _ in 0..CHUNKS_A_TURN {
            if let Some(reason) = self.session.closing() {
                return Poll::Ready(reason);
            }
            if self.session.has_update() {
                self.have_decided(S::handle_update);
                timer.as_mut().reset(self.session.next_timeout().into());
                continue;
            }
            if timer.as_mut().poll(cx).is_ready() {
                self.handle_timeout();
                timer.as_mut().reset(self.session.next_timeout().into());
                continue;
            }
            if let Some(deadline) = self.session.byte_queue().write_deadline() {
                if timer.deadline() > deadline.into() {
                    timer.as_mut().reset(deadline.into());
                    continue;
                }
                self.poll_write(cx);
                // A slow connection may have recovered.
                let next = self.session.byte_queue().write_deadline();
                if next.is_some_and(|next| timer.deadline() > next.into()) {
                    continue;
                }
            }
            if self.session.has_chores() {
                self.do_chores();
                timer.as_mut().reset(self.session.next_timeout().into());
                // One slice a turn, so that other tasks are not delayed.
                return yield_long_turn(cx);
            }
            if self.poll_check(cx).is_ready() {
                timer.as_mut().reset(self.session.next_timeout().into());
                continue;
            }
            if let Some(level) = self.session.wants_compression() {
                if let Err(reason) = ready!(self.poll_compress(level, cx)) {
                    return Poll::Ready(reason);
                }
                timer.as_mut().reset(self.session.next_timeout().into());
                continue;
            }
            if !self.session.wants_input() {
                return Poll::Pending;
            }
            let timeout_before = self.session.next_timeout();
            if self.session.is_patient() {
                let next = self.session.next_timeout().into();
                if timer.deadline() > next {
                    timer.as_mut().reset(next);
                    continue;
                }
                return Poll::Pending;
            }
            match ready!(self.reader.poll_read(&self.socket, &mut self.session, cx)) {
                Read::Some(len) => {
                    self.must_flush = false;
                    read_bytes += len;
                }
                Read::Full => {
                    self.must_flush = true;
                    read_bytes += READ_BYTES;
                }
                Read::End => return Poll::Ready(CloseReason::ClientClosed),
                Read::Failed => return Poll::Ready(CloseReason::ReadError),
            }
            self.start_check();
            // CONNECT brings the first PING forward.
            let next = self.session.next_timeout();
            if next < timeout_before {
                timer.as_mut().reset(next.into());
            }
            if read_bytes >= LONG_TURN_BYTES {
                return yield_long_turn(cx);
            }
        }
        yield_turn(cx)
    }

    /// Runs a slice of the work that the session has deferred.
    fn do_chores(&mut self) {
        let now = clock::now();
        with_buffers(|buffers| self.session.do_chores(now, &mut buffers.scratch));
        if self.session.has_chores() {
            return;
        }
        self.start_check();
        self.reader.look_again();
    }

    fn handle_timeout(&mut self) {
        self.reader.give_up_idle_memory();
        let now = clock::now();
        with_buffers(|buffers| self.session.handle_timeout(now, &mut buffers.scratch));
    }

    /// Writes bytes that the socket did not take before, if it takes them now.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        // The session sees the outcome in its byte queue.
        let _ = self.poll_drain(cx);
    }

    /// Pending while the socket takes no more. Takes `&mut self` because a shared reference must not be held across
    /// an await.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A blocked write was falsely ready: asking again registers the waker.
        poll_io(
            cx,
            |cx| self.socket.poll_write_ready(cx),
            || match self.drain() {
                Drained::Blocked => Err(io::ErrorKind::WouldBlock.into()),
                Drained::Empty | Drained::Busy | Drained::Failed(_) => Ok(()),
            },
        )
    }

    fn drain(&self) -> Drained {
        let byte_queue = self.session.byte_queue();
        with_buffers(|buffers| byte_queue.drain(clock::now(), true, &mut buffers.scratch))
    }

    /// Begins compression when all queued bytes are written, or changes its level.
    fn poll_compress(
        &mut self,
        level: CompressionLevel,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CloseReason>> {
        let socket = Arc::clone(&self.socket);
        let Some(compression) = socket.transport.compression() else {
            // The layer was not put in place, or it is not compiled.
            return Poll::Ready(Err(CloseReason::ReadError));
        };
        if compression.has_begun() {
            compression.set_level(level);
            self.reader.look_again();
        } else {
            ready!(self.poll_empty(cx))?;
            compression.begin(level, &self.reader.take_kept());
        }
        with_buffers(|buffers| self.session.handle_compressed(clock::now(), &mut buffers.scratch));
        Poll::Ready(Ok(()))
    }

    /// Ready when all queued bytes are written.
    fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let byte_queue = self.session.byte_queue();
        if byte_queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // This turn has registered the task and the deadline, or the thread that filled the socket wakes the task.
        if byte_queue.write_deadline().is_some() {
            return Poll::Pending;
        }
        match self.drain() {
            Drained::Empty => Poll::Ready(Ok(())),
            Drained::Failed(_) => Poll::Ready(Err(CloseReason::WriteError)),
            // The next turn sees the result.
            Drained::Blocked | Drained::Busy => yield_turn(cx),
        }
    }

    /// Ready when a check of credentials has completed.
    fn poll_check(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(checking) = &mut self.checking else { return Poll::Pending };
        let result = ready!(Pin::new(checking).poll(cx));
        self.checking = None;
        self.have_decided(|session, now, scratch| session.handle_checked(result, now, scratch));
        Poll::Ready(())
    }

    /// Calls the session with a result that may be the decision its input waits for.
    fn have_decided(&mut self, call: impl FnOnce(&mut S, Instant, &mut Scratch)) {
        let has_waited = !self.session.wants_input();
        with_buffers(|buffers| call(&mut self.session, clock::now(), &mut buffers.scratch));
        if has_waited && self.session.wants_input() {
            self.reader.look_again();
        }
        self.start_check();
    }

    /// Starts the check that the session requests, in place of any earlier one.
    fn start_check(&mut self) {
        if let Some(check) = self.session.take_check() {
            self.checking = Some(Box::new(self.auth_checks.start(self.source, check)));
        }
    }

    /// Flushes the last bytes and closes.
    async fn end(mut self, reason: CloseReason) {
        // An update must not wait for this connection.
        self.session.ignore_updates();
        match reason {
            _ if self.session.has_half_closed() => self.half_close().await,
            CloseReason::ClientClosed | CloseReason::ReadError => {}
            // The server has a deadline for all of its connections.
            CloseReason::ServerShutdown => self.flush().await,
            _ => {
                // A client that does not read in time does not get the error.
                let _ = tokio::time::timeout(LAST_WORDS, self.flush()).await;
            }
        }
        let Self { session, reader, socket, .. } = self;
        // Unread input is freed, and the subscriptions end while the socket lingers, not after it.
        drop(reader);
        tokio::join!(depart(session, reason), say_why(socket, reason));
    }

    /// Half-closes a client that lame duck mode has not made disconnect: sends all queued bytes followed by the end of the
    /// stream, and processes input the client has sent by the time it notices.
    async fn half_close(&mut self) {
        let patience = self.session.patience();
        // Corked, both leave in one piece, so that the client does not act on the bytes before it reads the end.
        self.socket.transport.cork();
        self.session.byte_queue().release();
        let _ = tokio::time::timeout(patience, self.flush()).await;
        let _ = self.socket.say_why(CloseReason::ServerShutdown, patience).await;
        // If it fails, the client has disconnected, and there is no more input either.
        let _ = self.socket.transport.shut_down_write();
        let hearing_out = poll_fn(|cx| {
            for _ in 0..CHUNKS_A_TURN {
                if !self.session.has_half_closed() {
                    return Poll::Ready(());
                }
                match ready!(self.reader.poll_read(&self.socket, &mut self.session, cx)) {
                    Read::Some(_) | Read::Full => with_buffers(|buffers| {
                        self.session.flush(clock::now(), &mut buffers.scratch);
                    }),
                    Read::End | Read::Failed => return Poll::Ready(()),
                }
            }
            yield_turn(cx)
        });
        let _ = tokio::time::timeout(HEAR_OUT, hearing_out).await;
    }

    /// Writes all queued bytes. A publisher that is writing meanwhile also writes the bytes behind its own.
    async fn flush(&mut self) {
        self.session.byte_queue().release();
        loop {
            match self.drain() {
                Drained::Empty | Drained::Failed(_) => break,
                Drained::Busy => tokio::task::yield_now().await,
                Drained::Blocked => {
                    if poll_fn(|cx| self.poll_drain(cx)).await.is_err() {
                        return;
                    }
                }
            }
        }
        poll_fn(|cx| self.socket.transport.poll_unsent(cx)).await;
    }
}

/// Ends the session. With many subscriptions this takes several turns, between which other tasks run.
async fn depart(mut session: impl Session, reason: CloseReason) {
    while session.depart(reason) {
        tokio::task::yield_now().await;
    }
}

/// Sends the close reason to the client, and lingers so that it can be read.
async fn say_why(socket: Arc<Socket>, reason: CloseReason) {
    let is_told = may_send_reason(reason) && socket.say_why(reason, LAST_WORDS).await;
    if is_sent_error(reason) || (is_told && reason != CloseReason::ServerShutdown) {
        socket.linger(LINGER, LINGER_BYTES).await;
    }
}
