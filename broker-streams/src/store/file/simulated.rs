//! A disk in memory that crashes, fails, is full, and loses what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};
use crate::store::tests::Random;

/// The unit of a write that is not torn, in bytes.
const SECTOR: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// The files by name: as programs see them, and as they are after a crash.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Contents>,
    operations: u64,
    crash_at: u64,
    /// An operation that fails, and its error.
    fail_at: (u64, io::ErrorKind),
    capacity: usize,
    is_crashed: bool,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            files: Vec::new(),
            operations: 0,
            crash_at: u64::MAX,
            fail_at: (u64::MAX, io::ErrorKind::Other),
            capacity: usize::MAX,
            is_crashed: false,
        })))
    }

    /// Crashes at an operation, counted from now.
    pub(crate) fn crash_after(&self, operations: u64) {
        let mut state = self.state();
        state.crash_at = state.operations + operations;
    }

    /// Fails one operation, counted from now.
    pub(crate) fn fail_after(&self, operations: u64, error: io::ErrorKind) {
        let mut state = self.state();
        state.fail_at = (state.operations + operations, error);
    }

    /// Limits the bytes of all files.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        self.state().capacity = bytes;
    }

    /// Returns true after the crash.
    pub(crate) fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// Returns the bytes of all files.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// Flips a bit of a file.
    pub(crate) fn flip(&self, name: &str, byte: usize, bit: u8) {
        let mut state = self.state();
        let file = state.names[name];
        let contents = &mut state.files[file];
        contents.bytes[byte] ^= 1 << bit;
        contents.durable.clone_from(&contents.bytes);
    }

    /// Returns another disk with the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(0);
        let (state, mut new) = (self.state(), copy.state());
        new.names.clone_from(&state.names);
        new.durable_names.clone_from(&state.names);
        new.files.clone_from(&state.files);
        drop(new);
        copy
    }

    /// Returns the bytes of all files that there ever were.
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        self.state().files.iter().map(|file| file.bytes.clone()).collect()
    }

    /// Returns the length of a file.
    pub(crate) fn length(&self, name: &str) -> usize {
        let state = self.state();
        state.files[state.names[name]].bytes.len()
    }

    /// Starts again after a crash: each change that was not synced is there or not.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        let state = &mut *state;
        for contents in &mut state.files {
            contents.restart(&mut state.random);
        }
        let (names, durable) = (&state.names, &state.durable_names);
        let all: Vec<_> = names.keys().chain(durable.keys()).cloned().collect();
        let mut after = BTreeMap::new();
        for name in all {
            let chosen = if state.random.below(2) == 0 { names } else { durable };
            let known = after.contains_key(&name);
            if let Some(file) = chosen.get(&name).filter(|_| !known) {
                after.insert(name, *file);
            }
        }
        (state.names, state.durable_names) = (after.clone(), after);
        (state.is_crashed, state.crash_at) = (false, u64::MAX);
        state.fail_at.0 = u64::MAX;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Contents {
    fn restart(&mut self, random: &mut Random) {
        let (new, old) = (self.bytes.len(), self.durable.len());
        let length = if random.below(2) == 0 { new } else { old };
        self.bytes.resize(length, 0);
        self.durable.resize(length, 0);
        for (new, old) in self.bytes.chunks_mut(SECTOR).zip(self.durable.chunks(SECTOR)) {
            if random.below(2) == 0 {
                new.copy_from_slice(old);
            }
        }
        self.durable.clone_from(&self.bytes);
    }
}

impl State {
    /// Counts a change; fails if it is the one to fail. A change at the crash may be made.
    fn change(&mut self) -> io::Result<()> {
        self.read()?;
        self.operations += 1;
        self.is_crashed = self.operations >= self.crash_at;
        if self.operations == self.fail_at.0 {
            return Err(self.fail_at.1.into());
        }
        if self.is_crashed && self.random.below(2) == 0 {
            return Err(io::Error::other("crashed"));
        }
        Ok(())
    }

    /// Fails after the crash.
    fn read(&self) -> io::Result<()> {
        if self.is_crashed { Err(io::Error::other("crashed")) } else { Ok(()) }
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].bytes.len()).sum()
    }

    fn grow(&mut self, file: usize, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.files[file].bytes.len());
        if more > 0 && self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if more > 0 {
            self.files[file].bytes.resize(length, 0);
        }
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.read()?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.change()?;
        let file = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(name.to_owned(), file);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.read()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.names.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.read()?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.read()?;
        let bytes = state.files[self.file].bytes.get(offset as usize..).unwrap_or_default();
        let read = buffer.len().min(bytes.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        state.grow(self.file, to)?;
        state.files[self.file].bytes[from..to].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        state.grow(self.file, length as usize)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        state.files[self.file].bytes.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change()?;
        let contents = &mut state.files[self.file];
        contents.durable.clone_from(&contents.bytes);
        Ok(())
    }
}
