//! Access of the parser to files and environment, within limits.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Fault;
use super::limits::{MAX_BYTES, MAX_DEPTH, MAX_INCLUDES, MAX_VALUES};

/// Access of the parser to files and environment.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Returns the value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Opens a file.
    pub open: &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>,
}

impl<'a> Surroundings<'a> {
    /// Uses the files of this machine.
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

/// Resources used, and files and variables open, during one parse.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    /// The open files, outermost first.
    pub(super) files: Vec<PathBuf>,
    /// The environment variables being expanded, outermost first.
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

    /// Enters a map or an array. Not undone on an error, which ends the parse.
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.check_depth(1)?;
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Checks that `levels` more levels are allowed here.
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

    /// Reads a file up to slightly more than the total limit.
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
