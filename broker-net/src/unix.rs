//! A listener in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Where to listen in the file system. `listen_unix`; NATS 2.14 does not.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnixOptions {
    /// The socket's path. What is there already is replaced if it is a socket at which nobody listens.
    pub path: PathBuf,
    /// Who may connect: the permissions of the file. The default, `0o600`, is the user of the process;
    /// whoever may write to it may connect.
    pub mode: u32,
    /// Its owner, by number, if not the user of the process.
    pub owner: Option<u32>,
    /// Its group, by number.
    pub group: Option<u32>,
}

impl UnixOptions {
    /// A socket for the user of the process.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o600, owner: None, group: None }
    }
}

/// A bound socket. Dropped, it takes its file away.
#[derive(Debug)]
pub(crate) struct UnixAcceptor {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Which file is ours: device and inode.
    file: (u64, u64),
}

impl UnixAcceptor {
    /// Nobody can connect before the file's permissions are what they should be.
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

/// Takes away what another process has left behind, and nothing else.
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

/// Somebody else may listen there by now.
fn remove_own(path: &Path, file: (u64, u64)) {
    if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == file) {
        let _ = fs::remove_file(path);
    }
}
