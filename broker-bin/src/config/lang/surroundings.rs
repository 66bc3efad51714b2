//! What a configuration may ask of its surroundings, and how much.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Fault;
use super::limits::{MAX_BYTES, MAX_DEPTH, MAX_INCLUDES, MAX_VALUES};

/// What a configuration may ask of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Opens a file.
    pub open: &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>,
}

impl<'a> Surroundings<'a> {
    /// The files of this machine.
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, open: &open }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(Box::new(File::open(path)?))
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// What one reading has used up, and is in the middle of.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    /// Files, from the outermost.
    pub(super) files: Vec<PathBuf>,
    /// Environment variables, from the outermost.
    pub(super) variables: Vec<String>,
    depth: usize,
    bytes: usize,
    values: usize,
    includes: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            surroundings,
            files: Vec::new(),
            variables: Vec::new(),
            depth: 0,
            bytes: 0,
            values: 0,
            includes: 0,
        }
    }

    /// Into a map or an array. Not to be left on an error: that ends it all.
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.check_depth(1)?;
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// True if so many more levels may stand here.
    pub(super) fn check_depth(&self, levels: usize) -> Result<(), Fault> {
        if self.depth + levels > MAX_DEPTH { Err(Fault::TooDeep) } else { Ok(()) }
    }

    pub(super) fn add_values(&mut self, count: usize) -> Result<(), Fault> {
        add(&mut self.values, count, MAX_VALUES, Fault::TooManyValues)
    }

    pub(super) fn add_bytes(&mut self, count: usize) -> Result<(), Fault> {
        add(&mut self.bytes, count, MAX_BYTES, Fault::TooLong)
    }

    pub(super) fn add_include(&mut self) -> Result<(), Fault> {
        add(&mut self.includes, 1, MAX_INCLUDES, Fault::TooManyIncludes)
    }

    /// What a file holds, or a little more than may be read in all.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let room = MAX_BYTES - self.bytes;
        let mut text = Vec::new();
        (self.surroundings.open)(path)?.take(room as u64 + 1).read_to_end(&mut text)?;
        Ok(text)
    }
}

fn add(used: &mut usize, count: usize, limit: usize, fault: Fault) -> Result<(), Fault> {
    let sum = used.saturating_add(count);
    if sum > limit {
        return Err(fault);
    }
    *used = sum;
    Ok(())
}
