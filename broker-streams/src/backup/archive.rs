//! Archives of files: tar.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::BackupError;
use super::limits::EXTENSION_BYTES;
use crate::config::Time;

/// The unit of an archive.
const BLOCK: usize = 512;

/// A file of an archive: what follows in it until the next one.
#[derive(Debug)]
pub(super) struct File {
    /// The name, with `/` between its parts.
    pub(super) name: String,
    /// The number of bytes.
    pub(super) size: u64,
}

/// Reads an archive.
pub(super) struct Reader<R> {
    inner: R,
    account: String,
    /// The bytes of the present file that were not read, and those that fill its last block.
    left: u64,
    padding: u64,
}

/// The contents of an extended header, about the file behind it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// Begins to read an archive for a stream of an account.
    pub(super) fn new(inner: R, account: &str) -> Self {
        Self { inner, account: account.to_owned(), left: 0, padding: 0 }
    }

    /// Returns the next file; `None` at the end. What was not read of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<File>, BackupError> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| BackupError::Archive("length"))?;
            let kind = header.entry_type();
            let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
            let size = extension.size.filter(|_| is_file).unwrap_or(size);
            self.left = size;
            self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
            match kind {
                EntryType::XHeader => extension.read(&self.extension()?)?,
                EntryType::GNULongName => {
                    let mut name = self.extension()?;
                    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                    extension.name = Some(name);
                }
                EntryType::Regular => {
                    let name = extension.name.unwrap_or_else(|| header.path_bytes().into_owned());
                    return Ok(Some(File { name: self.checked(&name)?, size }));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn unexpected(&self) -> BackupError {
        BackupError::UnexpectedContent(self.account.clone())
    }

    /// Passes over the rest of the present file.
    fn skip(&mut self) -> Result<(), BackupError> {
        let rest = self.left.checked_add(self.padding).ok_or(BackupError::Archive("length"))?;
        let skipped = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())?;
        (self.left, self.padding) = (0, 0);
        if skipped == rest { Ok(()) } else { Err(BackupError::Truncated) }
    }

    /// Reads a header; `None` at the end of the archive, which is marked.
    fn header(&mut self) -> Result<Option<Header>, BackupError> {
        let mut bytes = [0; BLOCK];
        self.inner.read_exact(&mut bytes).map_err(truncated)?;
        if bytes == [0; BLOCK] {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&bytes).clone();
        let mut sealed = header.clone();
        sealed.set_cksum();
        let is_sealed = header.cksum().ok() == sealed.cksum().ok();
        if is_sealed { Ok(Some(header)) } else { Err(BackupError::Archive("header")) }
    }

    /// Reads an extended header.
    fn extension(&mut self) -> Result<Vec<u8>, BackupError> {
        if self.left > EXTENSION_BYTES {
            return Err(BackupError::Archive("extended header"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns the name of a file within the archive.
    fn checked(&self, name: &[u8]) -> Result<String, BackupError> {
        let name = str::from_utf8(name).map_err(|_| self.unexpected())?;
        let parts = name.split('/').filter(|part| *part != ".");
        let parts: Vec<_> = parts.collect();
        let is_within = parts.iter().all(|part| !matches!(*part, "" | ".."));
        let is_plain = !name.contains(['\\', '\0']);
        if is_within && is_plain && !parts.is_empty() {
            Ok(parts.join("/"))
        } else {
            Err(self.unexpected())
        }
    }
}

/// Reads the present file.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, BackupError::Truncated));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn truncated(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Truncated,
        _ => error.into(),
    }
}

impl Extension {
    /// Reads records of the form `<length> <key>=<value>\n`.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        let invalid = BackupError::Archive("extended header");
        while !bytes.is_empty() {
            let Some((record, rest)) = split_record(bytes) else { return Err(invalid) };
            bytes = rest;
            let Some(at) = record.iter().position(|byte| *byte == b'=') else {
                return Err(invalid);
            };
            let value = &record[at + 1..];
            match &record[..at] {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => {
                    self.size = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Splits a record, without its length and its end, from those behind it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

/// Writes an archive.
pub(super) struct Writer<W> {
    inner: W,
    modified_at: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive whose files were changed at `now`.
    pub(super) fn new(inner: W, now: Time) -> Self {
        let modified_at = u64::try_from(now.0 / 1_000_000_000).unwrap_or_default();
        Self { inner, modified_at }
    }

    /// Writes a file.
    pub(super) fn file(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, contents.len());
        if header.set_path(name).is_err() {
            // The form that the reference reads: a record with the name before the file.
            let record = record("path", name);
            let mut extension = self.header(EntryType::XHeader, record.len());
            extension.set_path("PaxHeaders.0/long")?;
            self.entry(extension, record.as_bytes())?;
            header.set_path("long")?;
        }
        self.entry(header, contents)
    }

    fn header(&self, kind: EntryType, size: usize) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.modified_at);
        header.set_size(size as u64);
        // Short names fit.
        let _ = (header.set_username("nats"), header.set_groupname("nats"));
        header
    }

    fn entry(&mut self, mut header: Header, contents: &[u8]) -> io::Result<()> {
        header.set_cksum();
        self.inner.write_all(header.as_bytes())?;
        self.inner.write_all(contents)?;
        let padding = (BLOCK - contents.len() % BLOCK) % BLOCK;
        self.inner.write_all(&[0; BLOCK][..padding])
    }

    /// Marks the end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }
}

/// Returns a record of an extended header, whose length includes its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length < rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}
