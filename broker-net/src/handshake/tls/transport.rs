//! TLS between a session and the transport below.
//!
//! Records are encrypted by whoever publishes, in memory that its thread lends, and written at once;
//! decrypted ones go straight to the reader. So an idle connection owns its keys and no buffer; a busy
//! one at most the beginning of a record, the end of another, and what the socket did not take.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use super::buffers::{
    CIPHER_BYTES, KEPT_BYTES, READ_BYTES, RECORD_BYTES, SEALED_BYTES, TlsBuffers, with_tls_buffers,
};
use super::pieces::Cursor;
use super::server_name::{self, Found};
use crate::transport::{ATTEMPTS, Socket, Transport, poll_io, yield_turn};

/// What an unfinished handshake may have sent without our being able to do something with it: a hello, or
/// a certificate with those of its issuers. All else that it costs is about 8 KiB.
const HELLO_BYTES: usize = 8 << 10;
const CHAIN_BYTES: usize = 12 << 10;

/// TLS over another transport; plain until [`Upgrade::begin`].
pub(crate) struct TlsTransport<T: Transport> {
    below: T,
    /// Whom to wake when something is left to be sent.
    task: AtomicWaker,
    /// Has TLS begun?
    is_tls: AtomicBool,
    /// Is there something to read that was taken from below already?
    has_input: AtomicBool,
    /// Is there something to send that was taken from above already?
    has_unsent: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// There once TLS has begun.
    tls: Option<Box<UnbufferedServerConnection>>,
    /// What has come and nothing could be made of yet. rustls remembers places in it, so it is changed
    /// only as it says.
    incoming: Vec<u8>,
    /// What nobody has had room for, decrypted.
    plain: Leftover,
    /// What the transport below did not take, encrypted.
    unsent: Leftover,
    /// Somebody writes to the transport below, with the lock released.
    is_writing: bool,
    /// Whoever writes must wake the task when done.
    must_wake: bool,
    /// The other side has said that no more comes.
    has_ended: bool,
    /// What came was no TLS, or not from whom it should.
    has_failed: bool,
    has_said_goodbye: bool,
    /// The next message is a ClientHello.
    awaits_hello: bool,
    /// The server name was hidden from rustls.
    hides_name: bool,
}

/// Bytes of which some have left.
#[derive(Default)]
struct Leftover {
    bytes: Vec<u8>,
    at: usize,
}

impl Leftover {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Gives its memory back once all has left.
    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at >= self.bytes.len() {
            *self = Self::default();
        }
    }

    fn put_before(&mut self, first: Self) {
        if first.is_empty() {
            return;
        }
        let later = mem::replace(self, first);
        self.bytes.extend_from_slice(later.rest());
    }
}

/// What came of a look at the records that are there.
struct Processed<R> {
    /// So much of the input is used up.
    used: usize,
    /// So much of the room is filled.
    filled: usize,
    /// What was done when TLS was ready to send.
    done: Option<R>,
    result: Result<(), rustls::Error>,
}

impl State {
    /// Does all that the records in `input` ask for. What they say goes to `room`, and what that does not
    /// hold is kept. If TLS is ready to send behind that, it calls `then`.
    fn process<R>(
        &mut self,
        input: &mut [u8],
        room: &mut [u8],
        then: impl FnOnce(WriteTraffic<'_, rustls::server::ServerConnectionData>) -> R,
    ) -> Processed<R> {
        let mut processed = Processed { used: 0, filled: 0, done: None, result: Ok(()) };
        let Some(tls) = &mut self.tls else { return processed };
        if self.has_failed {
            // rustls must not be given more after an error.
            processed.result = Err(rustls::Error::General("the connection has failed".to_owned()));
            return processed;
        }
        loop {
            let UnbufferedStatus { mut discard, state } =
                tls.process_tls_records(&mut input[processed.used..]);
            let mut goes_on = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                let payload = record.payload;
                                let fits = payload.len().min(room.len() - processed.filled);
                                let end = processed.filled + fits;
                                room[processed.filled..end].copy_from_slice(&payload[..fits]);
                                processed.filled = end;
                                self.plain.bytes.extend_from_slice(&payload[fits..]);
                            }
                            Err(error) => processed.result = Err(error),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent.bytes),
                // It lies in `unsent`, and goes before all that is encrypted after it.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                Ok(ConnectionState::Closed) => {
                    self.has_ended = true;
                    goes_on = false;
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    processed.done = Some(then(traffic));
                    processed.used += discard;
                    return processed;
                }
                Ok(_) => goes_on = false,
                Err(error) => processed.result = Err(error),
            }
            processed.used += discard;
            if processed.result.is_err() {
                self.has_failed = true;
                self.encode_alert(&mut input[processed.used..]);
                return processed;
            }
            if !goes_on {
                return processed;
            }
        }
    }

    /// Encodes the alert of an error. rustls looks at `input` once it has nothing left to send, and must
    /// not after an error: what follows may be the next error, with an alert of its own.
    fn encode_alert(&mut self, input: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        while tls.wants_write() {
            match tls.process_tls_records(input).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent.bytes),
                _ => return,
            }
        }
    }

    /// Encrypts a record into `sealed`; returns its length.
    fn seal(&mut self, plain: &[u8], sealed: &mut [u8]) -> io::Result<usize> {
        let mut incoming = mem::take(&mut self.incoming);
        // What has come whole was decrypted when it came; so nothing is used up here.
        let encrypt = |mut traffic: WriteTraffic<'_, _>| traffic.encrypt(plain, sealed);
        let processed = self.process(&mut incoming, &mut [], encrypt);
        incoming.drain(..processed.used);
        self.incoming = incoming;
        match processed.done {
            Some(Ok(len)) => Ok(len),
            Some(Err(EncryptError::InsufficientSize(_) | EncryptError::EncryptExhausted)) => {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}

fn encode(mut data: EncodeTlsData<'_, rustls::server::ServerConnectionData>, to: &mut Vec<u8>) {
    let before = to.len();
    // The first call only asks for the size.
    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
        to.resize(before + needed.required_size, 0);
        let written = data.encode(&mut to[before..]).unwrap_or(0);
        to.truncate(before + written);
    }
}

impl<T: Transport> TlsTransport<T> {
    pub(crate) fn new(below: T) -> Self {
        Self {
            below,
            task: AtomicWaker::new(),
            is_tls: AtomicBool::new(false),
            has_input: AtomicBool::new(false),
            has_unsent: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of rustls in between: its connection is an error from then on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was decrypted, or came before TLS, already.
    fn take_input(&self, room: &mut [u8]) -> Option<usize> {
        if !self.has_input.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let state = &mut *state;
        if state.tls.is_none() && state.plain.is_empty() {
            state.plain = Leftover { bytes: mem::take(&mut state.incoming), at: 0 };
        }
        let rest = state.plain.rest();
        let len = rest.len().min(room.len());
        room[..len].copy_from_slice(&rest[..len]);
        if len > 0 {
            state.plain.advance(len);
        }
        // The end stays there to be read.
        let has_input = !state.plain.is_empty() || state.has_ended;
        self.has_input.store(has_input, Ordering::Release);
        (len > 0 || state.has_ended).then_some(len)
    }

    fn read(&self, room: &mut [u8], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let mut filled = 0;
        // As many as fill the largest room, and no more: records need not carry anything.
        for _ in 0..ATTEMPTS {
            let most = (room.len() - filled).clamp(READ_BYTES / 16, READ_BYTES);
            let read = &mut buffers.cipher[KEPT_BYTES..KEPT_BYTES + most];
            let len = match self.below.try_read(read) {
                Ok(len) => len,
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            };
            if len == 0 {
                self.lock().has_ended = true;
                self.has_input.store(true, Ordering::Release);
                return Ok(filled);
            }
            filled += self.open(len, &mut room[filled..], buffers)?;
            let has_ended = self.has_input.load(Ordering::Acquire);
            if filled == room.len() || has_ended {
                return Ok(filled);
            }
            // A short read: the transport below has no more, and says when it has.
            if len < most {
                break;
            }
        }
        if filled > 0 { Ok(filled) } else { Err(io::ErrorKind::Interrupted.into()) }
    }

    /// Decrypts what was just read, and what was kept of before; returns how much room it filled.
    fn open(&self, len: usize, room: &mut [u8], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let mut state = self.lock();
        let kept = state.incoming.len();
        let begin = KEPT_BYTES - kept;
        buffers.cipher[begin..KEPT_BYTES].copy_from_slice(&state.incoming);
        let input = &mut buffers.cipher[begin..KEPT_BYTES + len];
        let processed = state.process(input, room, |_| ());
        let rest = &input[processed.used..];
        state.incoming.clear();
        if rest.is_empty() || state.has_ended {
            state.incoming = Vec::new();
        } else if rest.len() > KEPT_BYTES {
            // No record is that long, and no message of a client's after the handshake.
            return Err(io::ErrorKind::InvalidData.into());
        } else {
            state.incoming.extend_from_slice(rest);
        }
        self.has_input.store(!state.plain.is_empty() || state.has_ended, Ordering::Release);
        let must_send = !state.unsent.is_empty();
        drop(state);
        if must_send {
            self.leave_unsent();
        }
        match processed.result {
            Ok(()) => Ok(processed.filled),
            Err(error) => {
                let _ = self.send_unsent();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>], buffers: &mut TlsBuffers) -> io::Result<usize> {
        let TlsBuffers { cipher, gathered } = buffers;
        let mut pieces = Cursor::new(pieces);
        let mut taken = 0;
        loop {
            let mut state = self.lock();
            if state.has_failed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // Whoever writes comes to the end of it, and what is unsent leaves first.
            if state.is_writing || state.is_handshaking() || !state.unsent.is_empty() {
                state.must_wake |= state.is_writing;
                return if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::WouldBlock.into()) };
            }
            let mut sealed = 0;
            while sealed + SEALED_BYTES <= cipher.len() {
                let plain = pieces.take(RECORD_BYTES, gathered);
                if plain.is_empty() {
                    break;
                }
                sealed += state.seal(plain, &mut cipher[sealed..])?;
                taken += plain.len();
            }
            if sealed == 0 {
                return Ok(taken);
            }
            state.is_writing = true;
            drop(state);
            let result = self.below.try_write(&[IoSlice::new(&cipher[..sealed])]);
            self.wrote(&cipher[..sealed], result)?;
        }
    }

    /// Notes what became of `sealed`. What did not leave is kept.
    fn wrote(&self, sealed: &[u8], result: io::Result<usize>) -> io::Result<()> {
        let written = match result {
            Ok(written) => written,
            Err(error) if is_passing(&error) => 0,
            Err(error) => {
                self.lock().is_writing = false;
                return Err(error);
            }
        };
        let mut state = self.lock();
        state.is_writing = false;
        let left = &sealed[written..];
        state.unsent.put_before(Leftover { bytes: left.to_vec(), at: 0 });
        let is_left = !state.unsent.is_empty();
        let must_wake = mem::take(&mut state.must_wake);
        drop(state);
        if is_left {
            self.leave_unsent();
        } else if must_wake {
            self.task.wake();
        }
        Ok(())
    }

    /// Leaves what is unsent to the task.
    fn leave_unsent(&self) {
        self.has_unsent.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Sends what is unsent; says whether that was all.
    fn send_unsent(&self) -> io::Result<bool> {
        let mut state = self.lock();
        if state.is_writing {
            state.must_wake = true;
            return Ok(false);
        }
        if state.unsent.is_empty() {
            self.has_unsent.store(false, Ordering::Release);
            return Ok(true);
        }
        let mut unsent = mem::take(&mut state.unsent);
        state.is_writing = true;
        drop(state);
        let result = self.below.try_write(&[IoSlice::new(unsent.rest())]);
        let mut state = self.lock();
        state.is_writing = false;
        state.must_wake = false;
        match result {
            Ok(written) => unsent.advance(written),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        state.unsent.put_before(unsent);
        let is_all = state.unsent.is_empty();
        self.has_unsent.store(!is_all, Ordering::Release);
        Ok(is_all)
    }
}

/// Does it go on after that?
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<T: Transport> Transport for TlsTransport<T> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_input.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.below.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx));
        self.below.poll_write_ready(cx)
    }

    fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(len) = self.take_input(room) {
            return Ok(len);
        }
        if !self.is_tls.load(Ordering::Acquire) {
            return self.below.try_read(room);
        }
        with_tls_buffers(|buffers| self.read(room, buffers))
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_tls.load(Ordering::Acquire) {
            return self.below.try_write(pieces);
        }
        with_tls_buffers(|buffers| self.write(pieces, buffers))
    }

    fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        for _ in 0..ATTEMPTS {
            if !self.has_unsent.load(Ordering::Acquire) {
                return self.below.poll_unsent(cx);
            }
            // What is wrong shows when it is written to.
            if ready!(self.below.poll_write_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.send_unsent() {
                Ok(true) => {}
                Ok(false) if self.lock().is_writing => return Poll::Pending,
                Ok(false) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        yield_turn(cx)
    }

    fn cork(&self) {
        self.below.cork();
    }

    fn shut_down_write(&self) -> io::Result<()> {
        if self.is_tls.load(Ordering::Acquire) {
            self.say_goodbye();
        }
        self.below.shut_down_write()
    }
}

/// A connection that ends without a word may have been cut by somebody in between.
impl<T: Transport> Drop for TlsTransport<T> {
    fn drop(&mut self) {
        if *self.is_tls.get_mut() {
            self.say_goodbye();
        }
    }
}

impl<T: Transport> TlsTransport<T> {
    /// Says that nothing more comes, as far as it can be said now.
    fn say_goodbye(&self) {
        let mut state = self.lock();
        if state.has_failed || state.is_writing || mem::replace(&mut state.has_said_goodbye, true) {
            return;
        }
        let mut incoming = mem::take(&mut state.incoming);
        let mut alert = [0; 64];
        let say = |mut traffic: WriteTraffic<'_, _>| traffic.queue_close_notify(&mut alert);
        let processed = state.process(&mut incoming, &mut [], say);
        incoming.drain(..processed.used);
        state.incoming = incoming;
        if let Some(Ok(len)) = processed.done {
            state.unsent.bytes.extend_from_slice(&alert[..len]);
        }
        drop(state);
        let _ = self.send_unsent();
    }
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// It waits for the other side.
    Waits,
    /// It is over.
    Done,
}

/// What takes a transport from plain to TLS.
pub(crate) trait Upgrade: Send + Sync {
    /// The first byte that the other side sends, which stays there to be read; `None` if it has ended.
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>>;

    /// From here on all is TLS.
    fn begin(&self, config: Arc<ServerConfig>) -> Result<(), rustls::Error>;

    /// Has TLS begun?
    fn has_begun(&self) -> bool;

    /// Computes what can be computed, which may take long.
    fn advance(&self) -> Result<Progress, rustls::Error>;

    /// Reads more; 0 at the end. `shows_chain`: the other side is about to show its certificates.
    fn poll_more(&self, shows_chain: bool, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// See [`Transport::poll_unsent`].
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Tells of what was agreed upon.
    fn look(&self, look: &mut dyn FnMut(&UnbufferedServerConnection));
}

impl<T: Transport> Upgrade for Socket<TlsTransport<T>> {
    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let tls = self.transport();
        if let Some(first) = tls.lock().incoming.first() {
            return Poll::Ready(Ok(Some(*first)));
        }
        let len = ready!(self.poll_more(false, cx))?;
        tls.has_input.store(len > 0, Ordering::Release);
        Poll::Ready(Ok(tls.lock().incoming.first().copied()))
    }

    fn begin(&self, config: Arc<ServerConfig>) -> Result<(), rustls::Error> {
        let tls = self.transport();
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        let mut state = tls.lock();
        state.tls = Some(connection);
        state.awaits_hello = true;
        drop(state);
        tls.has_input.store(false, Ordering::Release);
        tls.is_tls.store(true, Ordering::Release);
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.transport().is_tls.load(Ordering::Acquire)
    }

    fn advance(&self) -> Result<Progress, rustls::Error> {
        let tls = self.transport();
        let mut state = tls.lock();
        let mut incoming = mem::take(&mut state.incoming);
        if state.awaits_hello {
            match server_name::hide(&mut incoming) {
                Found::Part => {
                    state.incoming = incoming;
                    return Ok(Progress::Waits);
                }
                Found::Hidden => state.hides_name = true,
                Found::Nothing => {}
            }
            state.awaits_hello = false;
        }
        let sent = state.unsent.bytes.len();
        let hides_name = state.hides_name;
        let processed =
            server_name::with_hidden(hides_name, || state.process(&mut incoming, &mut [], |_| ()));
        // The same name comes again.
        state.awaits_hello = hides_name && server_name::is_retry(&state.unsent.bytes[sent..]);
        incoming.drain(..processed.used);
        if incoming.is_empty() {
            incoming = Vec::new();
        }
        state.incoming = incoming;
        tls.has_unsent.store(!state.unsent.is_empty(), Ordering::Release);
        tls.has_input.store(!state.plain.is_empty() || state.has_ended, Ordering::Release);
        processed.result?;
        Ok(if state.is_handshaking() { Progress::Waits } else { Progress::Done })
    }

    fn poll_more(&self, shows_chain: bool, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = if shows_chain { CHAIN_BYTES } else { HELLO_BYTES };
        let tls = self.transport();
        let read = || {
            let room = most.saturating_sub(tls.lock().incoming.len());
            if room == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            with_tls_buffers(|buffers| {
                let read = &mut buffers.cipher[..room.min(READ_BYTES)];
                let len = tls.below.try_read(read)?;
                tls.lock().incoming.extend_from_slice(&read[..len]);
                Ok(len)
            })
        };
        poll_io(cx, |cx| tls.below.poll_read_ready(cx), read)
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport().poll_unsent(cx)
    }

    fn look(&self, look: &mut dyn FnMut(&UnbufferedServerConnection)) {
        if let Some(tls) = &self.transport().lock().tls {
            look(tls);
        }
    }
}

const _: () = assert!(CIPHER_BYTES >= KEPT_BYTES + READ_BYTES && CIPHER_BYTES >= SEALED_BYTES);
const _: () = assert!(CHAIN_BYTES <= KEPT_BYTES && HELLO_BYTES <= CHAIN_BYTES);
