//! The state of one TLS connection, behind the lock of its transport.

use std::{io, mem};

use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use super::leftover::Leftover;
use super::side::Side;

pub(super) struct State<D: Side> {
    /// The connection of rustls; `None` before TLS has begun.
    pub(super) tls: Option<Box<D::Connection>>,
    /// Input that rustls has not consumed. rustls keeps offsets into it, so it is changed only as rustls demands.
    pub(super) incoming: Vec<u8>,
    /// Decrypted bytes for which no read had room.
    pub(super) plain: Leftover,
    /// Encrypted bytes that the transport below did not take.
    pub(super) unsent: Leftover,
    /// A thread is writing to the transport below, with the lock released.
    pub(super) is_writing: bool,
    /// The writing thread must wake the task when it is done.
    pub(super) must_wake: bool,
    /// The peer has ended its stream.
    pub(super) has_ended: bool,
    /// The input was not TLS, or the handshake failed.
    pub(super) has_failed: bool,
    pub(super) has_said_goodbye: bool,
    /// The next message is a ClientHello.
    pub(super) awaits_hello: bool,
    /// The server name is hidden from rustls.
    pub(super) hides_name: bool,
}

/// The outcome of processing records.
pub(super) struct Processed<R> {
    /// The number of input bytes consumed.
    pub(super) used: usize,
    /// The number of bytes written to the room.
    pub(super) filled: usize,
    /// The result of the callback, if TLS was ready to send.
    pub(super) done: Option<R>,
    pub(super) result: Result<(), rustls::Error>,
}

impl<D: Side> Default for State<D> {
    fn default() -> Self {
        Self {
            tls: None,
            incoming: Vec::new(),
            plain: Leftover::default(),
            unsent: Leftover::default(),
            is_writing: false,
            must_wake: false,
            has_ended: false,
            has_failed: false,
            has_said_goodbye: false,
            awaits_hello: false,
            hides_name: false,
        }
    }
}

impl<D: Side> State<D> {
    /// Processes the records in `input`. Decrypted data goes to `room`, and the rest of it is kept. If TLS is ready
    /// to send after that, calls `then`.
    pub(super) fn process<R>(
        &mut self,
        input: &mut [u8],
        room: &mut [u8],
        then: impl FnOnce(WriteTraffic<'_, D>) -> R,
    ) -> Processed<R> {
        let mut processed = Processed { used: 0, filled: 0, done: None, result: Ok(()) };
        let Some(tls) = &mut self.tls else { return processed };
        if self.has_failed {
            // rustls must not be called again after an error.
            processed.result = Err(rustls::Error::General("the connection has failed".to_owned()));
            return processed;
        }
        loop {
            let UnbufferedStatus { mut discard, state } =
                D::process(tls, &mut input[processed.used..]);
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
                // The data is in `unsent`, and goes before all that is encrypted after it.
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

    /// Encodes the alert of an error. rustls looks at `input` once it has nothing left to send, and must not after an
    /// error: the following bytes may be the next error, with an alert of its own.
    fn encode_alert(&mut self, input: &mut [u8]) {
        let Some(tls) = &mut self.tls else { return };
        while tls.wants_write() {
            match D::process(tls, input).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent.bytes),
                _ => return,
            }
        }
    }

    /// Encrypts a record into `sealed`; returns its length.
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut [u8]) -> io::Result<usize> {
        let mut incoming = mem::take(&mut self.incoming);
        // Complete records were decrypted on arrival, so no input is consumed here.
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

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, to: &mut Vec<u8>) {
    let before = to.len();
    // The first call only returns the size.
    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
        to.resize(before + needed.required_size, 0);
        let written = data.encode(&mut to[before..]).unwrap_or(0);
        to.truncate(before + written);
    }
}
