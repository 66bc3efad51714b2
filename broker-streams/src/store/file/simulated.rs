//! A disk in memory that crashes, fails, is full, and loses what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::disk::{Disk, DiskFile};
use crate::random::Random;

/// The unit of a write that is not torn, in bytes.
const SECTOR: usize = 512;

/// A simulated disk, or a directory of it. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    /// The prefix of the names of its files.
    prefix: Arc<str>,
    /// The number of crashes before it was opened; `None` if it survives them.
    opened: Option<u64>,
}

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
    /// Syncs report success and do nothing.
    loses_syncs: bool,
    crashes: u64,
    user: Weak<()>,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// The range in which the two may differ: from, to.
    dirty: (usize, usize),
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    /// The number of crashes before it was opened.
    opened: u64,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            files: Vec::new(),
            operations: 0,
            crash_at: u64::MAX,
            fail_at: (u64::MAX, io::ErrorKind::Other),
            capacity: usize::MAX,
            is_crashed: false,
            loses_syncs: false,
            crashes: 0,
            user: Weak::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), prefix: "".into(), opened: None }
    }

    /// Returns a directory, which ends with the next crash as all files do.
    pub(crate) fn directory(&self, path: &str) -> Self {
        let prefix = format!("{}{path}/", self.prefix).into();
        Self { state: Arc::clone(&self.state), prefix, opened: Some(self.state().crashes) }
    }

    /// Returns the names of the directories.
    pub(crate) fn directories(&self) -> BTreeSet<String> {
        let state = self.state();
        let names = state.names.keys().filter_map(|name| name.strip_prefix(&*self.prefix));
        names.filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect()
    }

    /// Removes all files, which no crash brings back.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        let mut state = self.state();
        let is_here = |name: &String| name.starts_with(&*self.prefix);
        if !state.names.keys().chain(state.durable_names.keys()).any(is_here) {
            return Ok(());
        }
        state.change(self.opened)?;
        state.names.retain(|name, _| !is_here(name));
        state.durable_names.retain(|name, _| !is_here(name));
        Ok(())
    }

    /// Moves all files to another directory, in place of what is there, which no crash undoes.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) fn move_all(&self, to: &Self) -> io::Result<()> {
        let mut state = self.state();
        state.change(self.opened)?;
        let state = &mut *state;
        for names in [&mut state.names, &mut state.durable_names] {
            names.retain(|name, _| !name.starts_with(&*to.prefix));
            let all: Vec<_> =
                names.keys().filter(|name| name.starts_with(&*self.prefix)).cloned().collect();
            for name in all {
                let moved = format!("{}{}", to.prefix, &name[self.prefix.len()..]);
                let file = names.remove(&name);
                names.extend(file.map(|file| (moved, file)));
            }
        }
        Ok(())
    }

    /// Lets somebody use the disk; `None` if somebody does.
    pub(crate) fn lease(&self) -> Option<Arc<()>> {
        let (mut state, lease) = (self.state(), Arc::new(()));
        let is_free = state.user.strong_count() == 0;
        if is_free {
            state.user = Arc::downgrade(&lease);
        }
        is_free.then_some(lease)
    }

    /// Has syncs report success and do nothing.
    pub(crate) fn set_loses_syncs(&self, loses: bool) {
        self.state().loses_syncs = loses;
    }

    /// Flips a bit in the first place that holds these bytes. Returns false if there is none.
    pub(crate) fn damage(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        for contents in &mut state.files {
            let place = memchr::memmem::find(&contents.bytes, bytes);
            if let Some(byte) = place.and_then(|place| contents.bytes.get_mut(place)) {
                *byte ^= 1;
                contents.durable.clone_from(&contents.bytes);
                return true;
            }
        }
        false
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
    #[cfg(test)]
    pub(crate) fn is_crashed(&self) -> bool {
        self.state().is_crashed
    }

    /// Returns the bytes of all files.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// Flips a bit of a file.
    #[cfg(test)]
    pub(crate) fn flip(&self, name: &str, byte: usize, bit: u8) {
        let mut state = self.state();
        let file = state.names[name];
        let contents = &mut state.files[file];
        contents.bytes[byte] ^= 1 << bit;
        contents.durable.clone_from(&contents.bytes);
    }

    /// Returns another disk with the same files.
    #[cfg(test)]
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
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        self.state().files.iter().map(|file| file.bytes.clone()).collect()
    }

    /// Returns the length of a file.
    #[cfg(test)]
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
        state.crashes += 1;
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

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn write(&mut self, bytes: &[u8], from: usize) {
        let to = from + bytes.len();
        self.bytes[from..to].copy_from_slice(bytes);
        self.touch(from, to);
    }

    fn touch(&mut self, from: usize, to: usize) {
        let (first, last) = self.dirty;
        self.dirty = if first == last { (from, to) } else { (first.min(from), last.max(to)) };
    }

    fn sync(&mut self) {
        self.durable.resize(self.bytes.len(), 0);
        let to = self.dirty.1.min(self.bytes.len());
        let from = self.dirty.0.min(to);
        self.durable[from..to].copy_from_slice(&self.bytes[from..to]);
        self.dirty = (0, 0);
    }

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
        self.dirty = (0, 0);
    }
}

impl State {
    /// Counts a change; fails if it is the one to fail. A change at the crash may be made.
    fn change(&mut self, opened: Option<u64>) -> io::Result<()> {
        self.read(opened)?;
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

    /// Fails after the crash, and for what was opened before.
    fn read(&self, opened: Option<u64>) -> io::Result<()> {
        if self.is_crashed || opened.is_some_and(|opened| opened != self.crashes) {
            return Err(io::Error::other("crashed"));
        }
        Ok(())
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
        state.read(self.opened)?;
        let file = *state.names.get(&self.full(name)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file, opened: state.crashes }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.change(self.opened)?;
        let file = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(self.full(name), file);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file, opened: state.crashes }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.read(self.opened)?;
        let names = state.names.keys().filter_map(|name| name.strip_prefix(&*self.prefix));
        Ok(names.map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change(self.opened)?;
        let file = state.names.remove(&self.full(from)).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(self.full(to), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change(self.opened)?;
        state.names.remove(&self.full(name)).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change(self.opened)?;
        if !state.loses_syncs {
            let state = &mut *state;
            let here = |name: &String| name.starts_with(&*self.prefix);
            state.durable_names.retain(|name, _| !here(name));
            let names = state.names.iter().filter(|(name, _)| here(name));
            state.durable_names.extend(names.map(|(name, file)| (name.clone(), *file)));
        }
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.read(Some(self.opened))?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.read(Some(self.opened))?;
        let bytes = state.files[self.file].bytes.get(offset as usize..).unwrap_or_default();
        let read = buffer.len().min(bytes.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change(Some(self.opened))?;
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        state.grow(self.file, to)?;
        state.files[self.file].write(bytes, from);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change(Some(self.opened))?;
        state.grow(self.file, length as usize)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change(Some(self.opened))?;
        let contents = &mut state.files[self.file];
        let from = contents.bytes.len().min(length as usize);
        contents.bytes.resize(length as usize, 0);
        // Bytes that are written there later are zeros on the disk, or what was there.
        let durable = contents.durable.len();
        if from < durable {
            contents.touch(from, durable);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change(Some(self.opened))?;
        if !state.loses_syncs {
            state.files[self.file].sync();
        }
        Ok(())
    }
}
