//! Encryption and compression: a disk whose files are stored as frames on another disk.
//!
//! The bytes that are written to a file at once become one or more *frames* ([`frame`]), each compressed, encrypted and with a checksum of its own.
//! The layers above read and write the contents of the frames, with the same places as in a file without frames: the log knows nothing
//! of it. A frame that is damaged is read as bytes that are no record; one that was being written when the machine stopped, as a record that
//! was not written as a whole.
//!
//! - A frame is never changed in place. A message is overwritten by writing its file anew.
//! - A nonce is never used twice with one key: it is a number of 96 bits, random when the store is opened, and counted up by each frame
//!   that is encrypted from then on, whether it reaches the disk or not.
//! - The tag of a frame covers its contents, their place in the file, and the number of the key. The contents are records and headers whose
//!   checksums cover the number of their segment, so that a frame of another file is noticed. An older copy of a whole file is not noticed.
//! - In a store with keys, what is not encrypted is damaged.

mod cipher;
mod file;
mod frame;
mod index;
mod keys;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use cipher::Cipher;
pub use keys::{Encryption, KeyChange, KeyError, StoreEncryption};

use cipher::{NONCE, Sealer};
use file::{FramedFile, Shared};
use frame::Header;
use index::Index;
use keys::Keys;

use super::damage::Damage;
use super::disk::{Disk, DiskFile};
use super::rewrite::REWRITTEN;
use super::scan::Scan;
use super::{format, read_all, summary};
use crate::store::StorageError;

/// The contents of an average frame, below which a file is written anew.
const SHORT_FRAME: u64 = 8 * 1024;

/// A file with fewer frames is not written anew.
const FEW_FRAMES: u64 = 8;

/// A disk of files in frames. Without encryption and compression, it is the disk below.
pub struct FramedDisk {
    disk: Arc<dyn Disk>,
    coder: Arc<Coder>,
    /// The files that are open.
    files: Mutex<HashMap<String, Weak<Shared>>>,
    damage: Vec<Damage>,
    change: KeyChange,
}

/// The way in which frames are made and read.
struct Coder {
    keys: Option<Keys>,
    compresses: AtomicBool,
    /// Frames without encryption are right, too.
    takes_plain: bool,
    nonce: Mutex<u128>,
}

impl Coder {
    fn compresses(&self) -> bool {
        self.compresses.load(Ordering::Relaxed)
    }

    fn newest_key(&self) -> Option<(u32, &Sealer)> {
        self.keys.as_ref().and_then(Keys::newest)
    }

    fn next_nonce(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        if self.keys.is_some() {
            let mut last = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
            *last = last.wrapping_add(1);
            nonce.copy_from_slice(&last.to_le_bytes()[..NONCE]);
        }
        nonce
    }

    /// Appends the contents of a frame. Returns false, and appends nothing, if it is damaged.
    fn decode(&self, header: &Header, bytes: &mut [u8], out: &mut Vec<u8>) -> bool {
        let keys = self.keys.as_ref();
        (self.takes_plain || header.is_encrypted())
            && header.decode(bytes, |number| keys?.sealer(number).cloned(), out)
    }
}

impl FramedDisk {
    /// Opens a disk of frames on a disk, with encryption or without.
    ///
    /// The first time with encryption, what is stored already is encrypted, which takes the time to read and write it. With another key or
    /// cipher than before, only the file of keys is written; what is stored keeps its keys.
    ///
    /// # Errors
    ///
    /// [`StorageError::Key`] if the store is encrypted with keys that are not given. Nothing was changed then. [`StorageError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        encryption: Option<&StoreEncryption>,
    ) -> Result<Self, StorageError> {
        let opened = Keys::open(&*disk, encryption)?;
        let mut damage = Vec::new();
        let mut change = opened.as_ref().map(|opened| opened.change).unwrap_or_default();
        if opened.as_ref().is_some_and(|opened| opened.was_damaged) {
            damage.push(keys::damage());
        }
        let keys = opened.map(|opened| opened.keys);
        let is_complete = keys.as_ref().is_none_or(|keys| keys.is_complete);
        let mut framed = Self::with(disk, keys, damage)?;
        if let Some(encryption) = encryption.filter(|_| !is_complete) {
            if framed.encrypt_all()? {
                change = KeyChange::Encrypted;
            }
            let (disk, damage) = (framed.disk, framed.damage);
            let mut keys = framed.coder.keys.clone();
            if let Some(keys) = &mut keys {
                keys.is_complete = true;
                keys.store(&*disk, encryption)?;
            }
            framed = Self::with(disk, keys, damage)?;
        }
        framed.change = change;
        Ok(framed)
    }

    /// Returns what changed when it was opened.
    pub fn change(&self) -> KeyChange {
        self.change
    }

    fn with(
        disk: Arc<dyn Disk>,
        keys: Option<Keys>,
        damage: Vec<Damage>,
    ) -> Result<Self, StorageError> {
        let mut nonce = [0; 16];
        if keys.is_some() {
            keys::random(&mut nonce[..NONCE])?;
        }
        let takes_plain = keys.as_ref().is_none_or(|keys| !keys.is_complete);
        let (nonce, compresses) = (Mutex::new(u128::from_le_bytes(nonce)), AtomicBool::new(false));
        let coder = Arc::new(Coder { keys, compresses, takes_plain, nonce });
        let change = KeyChange::Nothing;
        Ok(Self { disk, coder, files: Mutex::default(), damage, change })
    }

    /// Encrypts the files that are not. Returns true if there was one. One that is interrupted is as it was.
    fn encrypt_all(&self) -> Result<bool, StorageError> {
        let mut has_encrypted = false;
        let names = self.disk.names()?;
        let last = names.iter().filter_map(|name| format::segment_of(name)).max();
        for name in names {
            let Some(number) = format::segment_of(&name) else {
                // Summaries are made again.
                if summary::is_summary(&name) {
                    self.disk.remove(&name)?;
                }
                continue;
            };
            let file = self.disk.open(&name)?;
            let is_encrypted = !is_plain(&*file)? && Index::read(&*file)?.is_encrypted;
            if !is_encrypted {
                self.encrypt(number, Some(number) == last)?;
                self.rename(REWRITTEN, &name)?;
                has_encrypted = true;
            }
        }
        // Encrypted contents are durable before the file of keys says so.
        self.disk.sync()?;
        Ok(has_encrypted)
    }

    /// Writes a segment anew under another name, up to the end of its last record: to cut what is behind it later, in the middle of a
    /// frame, would take the records of the frame away for a moment.
    fn encrypt(&self, number: u64, is_last: bool) -> io::Result<()> {
        let mut bytes = read_all(&*self.open(&format::name_of(number))?)?;
        let mut scan = Scan::new(&bytes, number);
        scan.settle(&bytes, is_last);
        bytes.truncate(scan.end);
        self.store_copy(&bytes).map(drop)
    }

    /// Writes a file anew, with some bytes of its contents replaced, under another name.
    fn copy(&self, name: &str, by: &[u8], offset: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut bytes = read_all(&*self.open(name)?)?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(part) = bytes.get_mut(at..at.saturating_add(by.len())) {
            part.copy_from_slice(by);
        }
        self.store_copy(&bytes)
    }

    fn store_copy(&self, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let copy = self.create(REWRITTEN)?;
        // A file that is complete before it has its name is not judged as one write, of which a part may be missing.
        for (number, part) in bytes.chunks(frame::CONTENTS).enumerate() {
            copy.write_at(part, (number * frame::CONTENTS) as u64)?;
        }
        copy.sync()?;
        Ok(copy)
    }

    /// Returns true if new files have frames.
    fn frames(&self) -> bool {
        self.coder.keys.is_some() || self.coder.compresses()
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Shared>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file with a name; `None` if it has no frames.
    fn shared(&self, name: &str, file: &Arc<dyn DiskFile>) -> io::Result<Option<Arc<Shared>>> {
        if let Some(shared) = self.files().get(name).and_then(Weak::upgrade) {
            return Ok(Some(shared));
        }
        let takes_plain = self.coder.takes_plain;
        if takes_plain && is_plain(&**file)? {
            return Ok(None);
        }
        let index = Index::read(&**file)?;
        if takes_plain && index.frames == 0 {
            return Ok(None);
        }
        let shared = Shared::new(file.clone(), index);
        self.register(name, &shared);
        Ok(Some(shared))
    }

    fn register(&self, name: &str, shared: &Arc<Shared>) {
        let mut files = self.files();
        files.retain(|_, file| file.strong_count() > 0);
        files.insert(name.to_owned(), Arc::downgrade(shared));
    }

    fn handle(&self, shared: Arc<Shared>) -> Arc<dyn DiskFile> {
        Arc::new(FramedFile { coder: self.coder.clone(), shared })
    }
}

impl Disk for FramedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        Ok(match self.shared(name, &file)? {
            Some(shared) => self.handle(shared),
            None => file,
        })
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        if !self.frames() {
            self.files().remove(name);
            return Ok(file);
        }
        let shared = Shared::new(file, Index::default());
        self.register(name, &shared);
        Ok(self.handle(shared))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.names()?;
        names.retain(|name| !keys::is_of_keys(name));
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)?;
        let mut files = self.files();
        files.remove(to);
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)?;
        self.files().remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    /// Writes the file anew, and then overwrites all of the former one.
    fn overwrite(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = self.disk.open(name)?;
        let Some(shared) = self.shared(name, &file)? else {
            return self.disk.overwrite(name, bytes, offset);
        };
        let copy = self.copy(name, bytes, offset);
        let by = self.files().get(REWRITTEN).and_then(Weak::upgrade);
        let (Ok(_copy), Some(by)) = (&copy, by) else {
            let _ = self.disk.remove(REWRITTEN);
            return copy.and(Err(io::ErrorKind::NotFound.into()));
        };
        self.disk.rename(REWRITTEN, name)?;
        self.disk.sync()?;
        self.files().remove(REWRITTEN);
        let former = shared.replace(&by);
        let zeros = vec![0; usize::try_from(former.size()?).unwrap_or(0)];
        former.write_at(&zeros, 0)?;
        former.sync()
    }

    fn compress(&self, compresses: bool) {
        self.coder.compresses.store(compresses, Ordering::Relaxed);
    }

    fn should_rewrite(&self, name: &str) -> bool {
        let is_short = || -> io::Result<bool> {
            let file = self.disk.open(name)?;
            let Some(shared) = self.shared(name, &file)? else { return Ok(true) };
            let (frames, contents) = shared.frames();
            Ok(frames > FEW_FRAMES && frames * SHORT_FRAME > contents)
        };
        self.frames() && is_short().unwrap_or(false)
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.clone()
    }
}

/// Returns true if a file has no frames.
fn is_plain(file: &dyn DiskFile) -> io::Result<bool> {
    let mut magic = [0; 8];
    let read = file.read_at(&mut magic, 0)?;
    Ok(read == magic.len() && (magic == *format::MAGIC || magic == *summary::MAGIC))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::simulated::SimulatedDisk;
    use super::*;

    fn open(disk: &SimulatedDisk) -> FramedDisk {
        let encryption = Encryption { key: "a key".into(), ..Encryption::default() };
        FramedDisk::open(Arc::new(disk.clone()), Some(&encryption.of_store("A", "S"))).unwrap()
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let disk = SimulatedDisk::new(1);
        let mut nonces = HashSet::new();
        let mut frames = HashSet::new();
        for round in 0..20 {
            let framed = open(&disk);
            // The same bytes at the same place, which the crash takes away.
            let file = framed.create("x.log").unwrap();
            file.write_at(&[7; 200_000], 0).unwrap();
            let bytes = disk.contents().pop().unwrap();
            let mut place = 0;
            while let Some(header) = Header::parse(&bytes[place..], place as u64) {
                assert!(nonces.insert(bytes[place + 32..place + 44].to_vec()), "{round}");
                assert!(
                    frames.insert(bytes[place + frame::HEADER..place + header.length].to_vec())
                );
                place += header.length;
            }
            // A write that fails takes nonces, too.
            disk.fail_after(1, io::ErrorKind::StorageFull);
            assert!(file.write_at(&[7; 9], 200_000).is_err());
            file.write_at(&[7; 9], 200_000).unwrap();
            let bytes = disk.contents().pop().unwrap();
            assert!(nonces.insert(bytes[place + 32..place + 44].to_vec()));
        }
        assert_eq!(nonces.len(), 20 * 5);
    }

    #[test]
    fn a_file_of_frames_is_read_as_it_was_written() {
        let disk = SimulatedDisk::new(1);
        let framed = open(&disk);
        framed.compress(true);
        let file = framed.create("x.log").unwrap();
        let mut expected = Vec::new();
        for length in [1, 100, 70_000, 3, 131_072, 5000] {
            let part: Vec<u8> = (0..length).map(|at: usize| (at / 7) as u8).collect();
            file.write_at(&part, expected.len() as u64).unwrap();
            expected.extend(part);
        }
        assert!(file.write_at(b"x", 5).is_err(), "frames do not change");
        file.allocate(expected.len() as u64 + 4096).unwrap();
        for file in [file, open(&disk).open("x.log").unwrap()] {
            assert_eq!(read_all(&*file).unwrap(), expected);
            for at in (0..expected.len()).rev().step_by(997) {
                let mut buffer = vec![0; 1500];
                let read = file.read_at(&mut buffer, at as u64).unwrap();
                assert_eq!(buffer[..read], expected[at..expected.len().min(at + 1500)]);
            }
        }
        let framed = open(&disk);
        framed.overwrite("x.log", b"other", 70_000).unwrap();
        expected[70_000..70_005].copy_from_slice(b"other");
        let file = framed.open("x.log").unwrap();
        assert_eq!(read_all(&*file).unwrap(), expected);
        for length in [180_000, 150_000, 100_001, 101, 0] {
            file.truncate(length).unwrap();
            expected.truncate(length as usize);
            assert_eq!(read_all(&*open(&disk).open("x.log").unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn bytes_that_were_not_written_as_a_whole_are_read_as_such() {
        let disk = SimulatedDisk::new(1);
        let framed = open(&disk);
        let file = framed.create("x.log").unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        file.write_at(&[2; 100_000], 1000).unwrap();
        let (raw, length) = (disk.open("x.log").unwrap(), disk.length("x.log"));
        let read = || read_all(&*open(&disk).open("x.log").unwrap()).unwrap();
        let intact = read();
        for at in [2048, 40_960, 70_144] {
            let mut sector = [0; 512];
            raw.read_at(&mut sector, at).unwrap();
            raw.write_at(&[0; 512], at).unwrap();
            // The frames before it are there; what follows is read as a record of which sectors are missing.
            let kept = if at < 66_000 { 1000 } else { 1000 + frame::CONTENTS };
            let torn = read();
            assert_eq!(torn.len(), kept + file::TORN as usize, "{at}");
            assert_eq!(torn[..kept], intact[..kept]);
            assert_eq!(torn[kept..kept + 8], [0xff; 8]);
            raw.write_at(&sector, at).unwrap();
        }
        raw.truncate(length as u64 - 8).unwrap();
        assert_eq!(read().len(), 1000 + frame::CONTENTS + file::TORN as usize);
    }
}
