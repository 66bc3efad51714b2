//! The pid file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

// NATS 2.14: const.go, readable by the owner only.
const MODE: u32 = 0o600;

/// Writes the process id in decimal, without a line end, because tools parse the file verbatim.
///
/// The file remains after exit, as with nats-server: `--signal` and service managers recognize a
/// stale one by its dead process. Readers see either the old id or the new one.
pub(crate) fn write(path: &Path) -> io::Result<()> {
    let id = std::process::id().to_string();
    // A pipe, a device or a link is written in place, as is a file in a directory without write
    // permission.
    if is_missing_or_a_file(path) && replace(path, &id).is_ok() {
        return Ok(());
    }
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
    file.write_all(id.as_bytes())
}

/// Writes a temporary file and renames it.
fn replace(path: &Path, id: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut unfinished_name = name.to_owned();
    unfinished_name.push(format!(".{id}.new"));
    let unfinished = path.with_file_name(unfinished_name);
    let written = create(&unfinished)
        .and_then(|mut file| file.write_all(id.as_bytes()))
        .and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

/// Creates a new file, refusing existing files and links.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

fn is_missing_or_a_file(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn id() -> String {
        std::process::id().to_string()
    }

    #[test]
    fn a_reader_of_the_old_file_reads_the_complete_old_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "8065").unwrap();
        let mut old = File::open(&path).unwrap();
        write(&path).unwrap();
        let mut read = String::new();
        old.read_to_string(&mut read).unwrap();
        assert_eq!(read, "8065");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), id());
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "8065 and more").unwrap();
        let inode = std::fs::metadata(&file).unwrap().ino();
        symlink(&file, &link).unwrap();
        write(&link).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), id());
        assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode);
    }

    #[test]
    fn without_space_for_a_temporary_file_the_file_is_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "8065 and more").unwrap();
        // Blocks the temporary file; missing permissions would not stop root.
        std::fs::create_dir(dir.path().join(format!("pid.{}.new", id()))).unwrap();
        write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), id());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("missing/pid")).is_err());
        assert!(write(dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
