//! The file that tells the process id.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes the id in decimal, without a line end: helpers parse the file as it is.
///
/// The file is left behind at exit, as nats-server does it: `--signal` and service managers take a
/// stale one for a dead process.
pub(crate) fn write(path: &Path) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(std::process::id().to_string().as_bytes())
}
