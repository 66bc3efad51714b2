//! TLS for connections without TLS support: a thread per connection, between the server and a
//! second connection within the machine.
//!
//! This costs the generator far more than a client would pay, but the server nothing; only the
//! server is measured.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::fault::{During, Fault};

/// There may be thousands of these threads.
const STACK_BYTES: usize = 128 << 10;

/// Bytes moved at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Performs the handshake, and returns the unencrypted end.
pub(crate) fn cross(stream: TcpStream) -> Result<TcpStream, Fault> {
    let tls = shake(&mut &stream)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("building a bridge")?;
    let address = listener.local_addr().during("building a bridge")?;
    let near = TcpStream::connect(address).during("building a bridge")?;
    let (far, _) = listener.accept().during("building a bridge")?;
    far.set_nodelay(true).during("building a bridge")?;
    far.set_nonblocking(true).during("building a bridge")?;
    stream.set_nonblocking(true).during("building a bridge")?;
    let bridge = Bridge { tls, server: stream, client: far, opened: Vec::new() };
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        // It ends when either connection ends.
        .spawn(move || bridge.carry().unwrap_or_default())
        .during("building a bridge")?;
    Ok(near)
}

/// Performs the handshake only.
pub(crate) fn shake(stream: &mut (impl Read + Write)) -> Result<ClientConnection, Fault> {
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let tls = ClientConnection::new(config(), name).map_err(io::Error::other);
    let mut tls = tls.during("beginning TLS")?;
    while tls.is_handshaking() {
        tls.complete_io(stream).during("shaking hands")?;
    }
    Ok(tls)
}

struct Bridge {
    tls: ClientConnection,
    server: TcpStream,
    client: TcpStream,
    /// Decrypted bytes not taken by the client yet.
    opened: Vec<u8>,
}

impl Bridge {
    fn carry(mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let from_server = self.read_server(&mut chunk)?;
            let from_client = self.read_client(&mut chunk)?;
            if !from_server && !from_client {
                self.wait()?;
            }
        }
    }

    fn read_server(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        let mut moved = false;
        if self.opened.is_empty()
            && let Some(len) = ready(self.server.read(chunk))?
        {
            let mut sealed = ended(&chunk[..len])?;
            while !sealed.is_empty() {
                self.tls.read_tls(&mut sealed)?;
                let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                let before = self.opened.len();
                self.opened.resize(before + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut self.opened[before..])?;
            }
            moved = true;
        }
        if !self.opened.is_empty()
            && let Some(len) = ready(self.client.write(&self.opened))?
        {
            self.opened.drain(..len);
            moved = true;
        }
        Ok(moved)
    }

    fn read_client(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        let mut moved = false;
        if !self.tls.wants_write()
            && let Some(len) = ready(self.client.read(chunk))?
        {
            self.tls.writer().write_all(ended(&chunk[..len])?)?;
            moved = true;
        }
        while self.tls.wants_write() {
            match ready(self.tls.write_tls(&mut self.server))? {
                Some(_) => moved = true,
                None => break,
            }
        }
        Ok(moved)
    }

    fn wait(&self) -> io::Result<()> {
        let flags = |read, write| {
            let read = if read { PollFlags::POLLIN } else { PollFlags::empty() };
            read | if write { PollFlags::POLLOUT } else { PollFlags::empty() }
        };
        let is_full = !self.opened.is_empty();
        let is_behind = self.tls.wants_write();
        let mut fds = [
            PollFd::new(self.server.as_fd(), flags(!is_full, is_behind)),
            PollFd::new(self.client.as_fd(), flags(!is_behind, is_full)),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        Ok(())
    }
}

/// Returns `None` if the operation would block.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Treats zero bytes as the end.
fn ended(read: &[u8]) -> io::Result<&[u8]> {
    if read.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
}

fn config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusting = Arc::new(Trusting(Arc::clone(&provider)));
        let builder = ClientConfig::builder_with_provider(provider);
        #[expect(clippy::expect_used, reason = "both are what the provider has")]
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = builder.dangerous().with_custom_certificate_verifier(trusting);
        let mut config = builder.with_no_client_auth();
        // Disables resumption, so that each connection costs the server the same.
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    });
    Arc::clone(config)
}

/// Trusts any server, since the generator started it.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
