//! A file of frames, read and written as the contents of the frames.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::disk::DiskFile;
use super::Coder;
use super::cipher::TAG;
use super::frame::{CONTENTS, Form, HEADER, Header, encode};
use super::index::{Found, Index, Mark, Window};

/// The byte that is read in place of a damaged one: no record begins with it.
const DAMAGED: u8 = 0xff;

/// The bytes that are read behind the end in place of what was being written when the machine stopped. Most are zeros, as those of a
/// record of which a sector is missing.
pub(super) const TORN: u64 = 2048;

/// The bytes by which a frame is longer than its contents.
const OVERHEAD: u64 = (HEADER + TAG + 8) as u64;

/// A file. All handles of a file share it.
pub(super) struct Shared(Mutex<State>);

struct State {
    file: Arc<dyn DiskFile>,
    index: Index,
    window: Window,
    /// The contents that were read last, at each of two places.
    decoded: [Decoded; 2],
    last: usize,
    /// The place up to which zeros are written behind the end.
    filled: u64,
}

#[derive(Default)]
struct Decoded {
    at: u64,
    contents: Vec<u8>,
    /// The place after it.
    next: Mark,
}

impl Decoded {
    fn has(&self, at: u64) -> bool {
        (self.at..self.at + self.contents.len() as u64).contains(&at)
    }
}

impl Shared {
    /// Creates the state of a file.
    pub(super) fn new(file: Arc<dyn DiskFile>, index: Index) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            file,
            index,
            window: Window::default(),
            decoded: Default::default(),
            last: 0,
            filled: 0,
        })))
    }

    /// Puts another file in its place, for all handles. Returns the former one.
    pub(super) fn replace(&self, by: &Self) -> Arc<dyn DiskFile> {
        let mut new = by.state();
        let (file, index) = (new.file.clone(), std::mem::take(&mut new.index));
        drop(new);
        let mut state = self.state();
        (state.index, state.window, state.decoded) = (index, Window::default(), Default::default());
        state.filled = 0;
        std::mem::replace(&mut state.file, file)
    }

    /// Returns the number of frames, and the length of their contents.
    pub(super) fn frames(&self) -> (u64, u64) {
        let state = self.state();
        (state.index.frames, state.index.end.at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn size(&self) -> u64 {
        self.index.end.at + if self.index.is_torn { TORN } else { 0 }
    }

    /// Copies contents from a place on, which is before the end. Returns their number.
    fn copy(&mut self, coder: &Coder, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if at >= self.index.end.at {
            return Ok(torn(at - self.index.end.at, buffer));
        }
        if let Some(here) = self.decoded.iter().position(|decoded| decoded.has(at)) {
            self.last = here;
        } else {
            self.decode(coder, at)?;
        }
        let decoded = &self.decoded[self.last];
        let from = (at - decoded.at) as usize;
        let length = buffer.len().min(decoded.contents.len().saturating_sub(from));
        buffer[..length].copy_from_slice(&decoded.contents[from..from + length]);
        Ok(length)
    }

    /// Reads the contents around a place.
    fn decode(&mut self, coder: &Coder, at: u64) -> io::Result<()> {
        let next = self.decoded.iter().position(|decoded| decoded.next.at == at && at > 0);
        let mark = next.map_or_else(|| self.index.before(at), |next| self.decoded[next].next);
        self.last = next.unwrap_or(1 - self.last);
        let found = self.index.find(&*self.file, &mut self.window, mark, at)?;
        let decoded = &mut self.decoded[self.last];
        decoded.contents.clear();
        let (header, place) = match found {
            Found::Frame(place, header) => (header, place),
            Found::Gap(from, end) => {
                // No more than a frame at a time.
                let from = from.max(at);
                let length = (end.at.max(at + 1) - from).min(CONTENTS as u64);
                decoded.at = from;
                decoded.contents.resize(length as usize, DAMAGED);
                decoded.next = if from + length == end.at { end } else { Mark::default() };
                return Ok(());
            }
        };
        let end = self.index.end.place;
        let mut bytes = self.window.get(&*self.file, place, header.length, end)?.to_vec();
        decoded.at = header.at;
        if !coder.decode(&header, &mut bytes, &mut decoded.contents) {
            decoded.contents.clear();
            decoded.contents.resize(header.contents, DAMAGED);
        }
        let at = header.at + header.contents as u64;
        decoded.next = Mark { at, place: place + header.length as u64 };
        Ok(())
    }
}

/// Fills a buffer with what is read in place of torn bytes, from a place of them on. Returns the number of bytes.
fn torn(from: u64, buffer: &mut [u8]) -> usize {
    let length = buffer.len().min(TORN.saturating_sub(from) as usize);
    for (at, byte) in (from..).zip(&mut buffer[..length]) {
        *byte = if (8..TORN - 8).contains(&at) { 0 } else { DAMAGED };
    }
    length
}

/// A handle of a file.
pub(super) struct FramedFile {
    pub(super) coder: Arc<Coder>,
    pub(super) shared: Arc<Shared>,
}

impl DiskFile for FramedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.shared.state().size())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.shared.state();
        let mut read = 0;
        while read < buffer.len() && offset + (read as u64) < state.size() {
            read += state.copy(&self.coder, offset + read as u64, &mut buffer[read..])?;
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_parts_at(&[bytes], offset)
    }

    /// Appends contents: frames cannot be changed.
    fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let (file, end) = {
            let state = self.shared.state();
            (state.file.clone(), state.index.end)
        };
        if offset != end.at {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let frames = self.coder.encode(parts, end)?;
        file.write_at(&frames, end.place)?;
        let mut state = self.shared.state();
        let mut place = 0;
        while let Some(header) = Header::parse(&frames[place..], end.place + place as u64) {
            state.index.push(end.place + place as u64, &header);
            place += header.length;
        }
        // Behind it, there may be bytes of a write that failed.
        (state.window, state.index.is_torn) = (Window::default(), false);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let (file, end) = {
            let state = self.shared.state();
            (state.file.clone(), state.index.end)
        };
        end.room_for(length).map_or(Ok(()), |length| file.allocate(length))
    }

    fn fill(&self, _: u64, length: u64) -> io::Result<()> {
        let (file, end, filled) = {
            let state = self.shared.state();
            (state.file.clone(), state.index.end, state.filled)
        };
        let Some(length) = end.room_for(length) else { return Ok(()) };
        file.fill(filled.max(end.place), length)?;
        self.shared.state().filled = length;
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let end = self.shared.state().index.end;
        if length < end.at {
            return self.cut(length);
        }
        let mut state = self.shared.state();
        state.index.is_torn = false;
        state.filled = 0;
        state.file.truncate(end.place)
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.shared.state().file.clone();
        file.sync()
    }
}

impl Mark {
    /// Returns the length of a file that has room for contents up to a length; `None` if it is reached.
    fn room_for(self, length: u64) -> Option<u64> {
        let more = length.checked_sub(self.at).filter(|more| *more > 0)?;
        Some(self.place + more + (more / CONTENTS as u64 + 1) * OVERHEAD)
    }
}

impl FramedFile {
    /// Cuts contents: those at the end of a store that were not written as a whole.
    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        state.decode(&self.coder, length)?;
        let decoded = &state.decoded[state.last];
        let start = state.index.before(length);
        let kept = decoded.contents[..(length - decoded.at) as usize].to_vec();
        let at = decoded.at;
        let file = state.file.clone();
        let found = state.place_of(start, at)?;
        state.index.cut(Mark { at, place: found });
        state.filled = 0;
        (state.window, state.decoded) = (Window::default(), Default::default());
        drop(state);
        file.truncate(found)?;
        if kept.is_empty() { Ok(()) } else { self.write_at(&kept, at) }
    }
}

impl State {
    /// Returns the place of the frame or the gap that begins with a place of the contents.
    fn place_of(&mut self, from: Mark, at: u64) -> io::Result<u64> {
        let mut mark = from;
        while mark.at < at {
            mark = match self.index.find(&*self.file, &mut self.window, mark, mark.at)? {
                Found::Frame(place, header) => Mark {
                    at: mark.at + header.contents as u64,
                    place: place + header.length as u64,
                },
                Found::Gap(_, end) => end,
            };
        }
        Ok(mark.place)
    }
}

impl Coder {
    /// Returns the frames of contents that are written together, in parts that need not be those of the frames.
    fn encode(&self, parts: &[&[u8]], end: Mark) -> io::Result<Vec<u8>> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut frames = Vec::with_capacity(length + length / 64 + 256);
        let mut contents = Vec::with_capacity(length.min(CONTENTS));
        let mut parts = parts.iter().copied();
        let (mut part, mut at): (&[u8], u64) = (&[], end.at);
        loop {
            contents.clear();
            while contents.len() < CONTENTS {
                let (taken, rest) = part.split_at(part.len().min(CONTENTS - contents.len()));
                contents.extend_from_slice(taken);
                part = rest;
                if part.is_empty() {
                    let Some(next) = parts.next() else { break };
                    part = next;
                }
            }
            if contents.is_empty() {
                return Ok(frames);
            }
            let place = end.place + frames.len() as u64;
            let form = Form {
                compresses: self.compresses(),
                key: self.newest_key(),
                nonce: self.next_nonce(),
                is_first: at == end.at,
            };
            encode(&contents, at, place, &form, &mut frames)?;
            at += contents.len() as u64;
        }
    }
}
