//! Listeners on Unix domain sockets.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// The backlog of the kernel.
const BACKLOG: i32 = 1024;

/// A listener on a Unix domain socket. `listen_unix`; NATS 2.14 has none.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnixOptions {
    /// The path of the socket. A socket without a listener at this path is replaced.
    pub path: PathBuf,
    /// The permissions of the file: users that may write to it may connect. The default is `0o600`, the
    /// user of the process.
    pub mode: u32,
    /// Its owner, by number; by default the user of the process.
    pub owner: Option<u32>,
    /// Its group, by number.
    pub group: Option<u32>,
}

impl UnixOptions {
    /// Creates options for a socket that only the user of the process can use.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o600, owner: None, group: None }
    }
}

/// A bound socket. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct UnixAcceptor {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// The identity of the file: device and inode.
    file: (u64, u64),
}

impl UnixAcceptor {
    /// No client can connect before the permissions of the file are set.
    pub(crate) fn bind(options: &UnixOptions) -> io::Result<Self> {
        let UnixOptions { path, mode, owner, group } = options;
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
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

impl Drop for UnixAcceptor {
    fn drop(&mut self) {
        remove_own(&self.path, self.file);
    }
}

/// Removes the socket that an ended process has left, and nothing else.
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

/// Another process may listen there by now.
fn remove_own(path: &Path, file: (u64, u64)) {
    if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == file) {
        let _ = fs::remove_file(path);
    }
}
