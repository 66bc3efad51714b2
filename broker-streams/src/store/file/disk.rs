//! The files of a store, behind a trait that tests simulate.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::Damage;

/// A directory of files.
pub trait Disk: Send + Sync {
    /// Opens a file to read and write.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, in place of another one with this name.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Returns the names of all files.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until all names are durable.
    ///
    /// # Errors
    ///
    /// Those of the disk. It is then unknown which names are durable.
    fn sync(&self) -> io::Result<()>;

    /// Overwrites bytes of a file, durably: what was there is not on the disk any more. If that is interrupted, the bytes may be damaged;
    /// others are not.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn overwrite(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = self.open(name)?;
        file.write_at(bytes, offset)?;
        file.sync()
    }

    /// Decides whether files are compressed that are created from now on.
    fn compress(&self, _compresses: bool) {}

    /// Returns true if a file that does not change any more would take less room, or would be read faster, if it were written anew.
    fn should_rewrite(&self, _name: &str) -> bool {
        false
    }

    /// Returns what was found damaged when the disk was opened.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }
}

/// A file.
pub trait DiskFile: Send + Sync {
    /// Returns its length.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn size(&self) -> io::Result<u64>;

    /// Reads as much as there is. Returns the number of bytes: fewer than asked for only at the end.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes.
    ///
    /// # Errors
    ///
    /// Those of the disk. It is then unknown which bytes are written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes of several parts, one behind the other. Parts are no more than a way to avoid a copy: what is written is one piece.
    ///
    /// # Errors
    ///
    /// As for [`Self::write_at`].
    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        match parts {
            [bytes] => self.write_at(bytes, offset),
            parts => self.write_at(&parts.concat(), offset),
        }
    }

    /// Makes the file at least this long, so that writes up to there find room. New bytes are zeros.
    ///
    /// # Errors
    ///
    /// Those of the disk; nothing has changed if it is full.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes the file at least this long, as [`Self::allocate`], and writes the zeros from `from` on, which no bytes follow: to make bytes
    /// durable that are written there, the disk need not record that they were written for the first time.
    ///
    /// # Errors
    ///
    /// As for [`Self::allocate`].
    fn fill(&self, from: u64, length: u64) -> io::Result<()> {
        let _ = from;
        self.allocate(length)
    }

    /// Cuts the file to a length.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Waits until all written bytes are durable.
    ///
    /// # Errors
    ///
    /// Those of the disk. It is then unknown which bytes are durable, and another call does not tell.
    fn sync(&self) -> io::Result<()>;
}

/// Returns true if the error means that the disk is full, after which it may have room again.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A directory of the operating system.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
}

impl FileDisk {
    /// Opens a directory, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let missing: Vec<_> = path.ancestors().take_while(|path| !path.is_dir()).collect();
        std::fs::create_dir_all(&path)?;
        for parent in missing.iter().filter_map(|path| path.parent()) {
            // The name of a directory is durable once the one above is.
            let is_current = parent.as_os_str().is_empty();
            File::open(if is_current { Path::new(".") } else { parent })?.sync_all()?;
        }
        Ok(Self { path })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(file.open(self.path.join(name))?))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for part in parts {
            self.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        allocate(self, length)
    }

    fn fill(&self, from: u64, length: u64) -> io::Result<()> {
        // There is room for the zeros, or nothing changes.
        allocate(self, length)?;
        write_zeros(self, from, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, length: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};

    let length = length.try_into().map_err(|_| io::ErrorKind::FileTooLarge)?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => extend(file, length.cast_unsigned()),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, length: u64) -> io::Result<()> {
    extend(file, length)
}

/// Makes a file longer by writing to it, on systems without another way to reserve room.
fn extend(file: &File, length: u64) -> io::Result<()> {
    write_zeros(file, file.metadata()?.len(), length)
}

fn write_zeros(file: &File, from: u64, length: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let mut at = from;
    while at < length {
        let part = (length - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..part as usize], at)?;
        at += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_allocated_written_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(directory.path().join("a/b")).unwrap();
        let file = disk.create("x").unwrap();
        file.allocate(10_000).unwrap();
        file.write_at(b"abc", 9_999).unwrap();
        file.sync().unwrap();
        disk.sync().unwrap();
        let mut buffer = [1; 8];
        assert_eq!(file.read_at(&mut buffer, 9_997).unwrap(), 5);
        assert_eq!(buffer[..5], *b"\0\0abc");
        assert_eq!(file.size().unwrap(), 10_002);
        disk.rename("x", "y").unwrap();
        assert_eq!(disk.names().unwrap(), ["y"]);
        assert!(disk.open("x").is_err());
        disk.open("y").unwrap().truncate(1).unwrap();
        assert_eq!(file.size().unwrap(), 1);
        disk.remove("y").unwrap();
        assert!(disk.names().unwrap().is_empty());
        extend(&File::create(disk.path().join("z")).unwrap(), 9000).unwrap();
        let file = disk.open("z").unwrap();
        assert_eq!(file.size().unwrap(), 9000);
        file.write_parts_at(&[b"a", b"", b"bc"], 0).unwrap();
        file.fill(3, 40_000).unwrap();
        file.fill(3, 10_000).unwrap();
        let mut bytes = vec![1; 40_001];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 40_000);
        assert!(bytes.starts_with(b"abc\0\0") && bytes[5..40_000].iter().all(|byte| *byte == 0));
    }
}
