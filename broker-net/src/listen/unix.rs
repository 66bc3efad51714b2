//! Listeners on Unix domain sockets.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use broker_core::session::client::Arrival;
use broker_core::transport::TransportInfo;
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::net::UnixListener;

use super::{Accepted, Acceptor, Admission, BindError, Bound, Cause, ListenerKind};
use crate::handshake::AcceptedConnection;
use crate::options::{ServerOptions, UnixOptions};
use crate::reserve::RawConnection;

/// Maximum connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Binds the socket of the options, if there is one.
pub(crate) fn bind(options: &ServerOptions) -> Result<Option<Bound>, BindError> {
    let Some(options) = &options.unix else { return Ok(None) };
    let acceptor = UnixAcceptor::bind(options).map_err(|error| {
        let path = options.path.display().to_string();
        BindError::new(ListenerKind::Unix, path, 0, Cause::Listen(error))
    })?;
    Ok(Some(Bound { acceptor: Box::new(acceptor), handle: None }))
}

/// A bound socket. Dropping it removes the file.
#[derive(Debug)]
struct UnixAcceptor {
    listener: UnixListener,
    path: PathBuf,
    /// The identity of the file: device and inode.
    file: (u64, u64),
}

impl UnixAcceptor {
    /// No client can connect before the permissions of the file are set.
    fn bind(options: &UnixOptions) -> io::Result<Self> {
        let UnixOptions { path, mode, owner, group } = options;
        remove_stale(path)?;
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let found = fs::symlink_metadata(path)?;
        let file = (found.dev(), found.ino());
        let finish = || {
            fs::set_permissions(path, Permissions::from_mode(*mode))?;
            if owner.is_some() || group.is_some() {
                std::os::unix::fs::chown(path, *owner, *group)?;
            }
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)
        };
        if let Err(error) = finish() {
            remove_own(path, file);
            return Err(error);
        }
        let listener = UnixListener::from_std(StdListener::from(socket))?;
        Ok(Self { listener, path: path.clone(), file })
    }
}

impl Acceptor for UnixAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, _) = ready!(self.listener.poll_accept(cx))?;
        // Connections within a machine are not encrypted.
        let admit = || {
            let arrival = Arrival { transport: TransportInfo::Unix, ..Arrival::default() };
            Admission::Ready(AcceptedConnection::new(stream, arrival))
        };
        Poll::Ready(Ok(Accepted::new(None, admit)))
    }

    fn poll_accept_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<RawConnection>> {
        self.listener.poll_accept(cx).map_ok(|(stream, _)| RawConnection::unix(stream))
    }
}

impl Drop for UnixAcceptor {
    fn drop(&mut self) {
        remove_own(&self.path, self.file);
    }
}

/// Removes a socket left by an ended process; leaves any other file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            let message = "there is something else than a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match StdStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Removes the file unless another process has bound a socket there by now.
fn remove_own(path: &Path, file: (u64, u64)) {
    if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == file) {
        let _ = fs::remove_file(path);
    }
}
