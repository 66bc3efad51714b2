//! Runs the real program and reads its output.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; reached only if a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const NATSD: &str = env!("CARGO_BIN_EXE_natsd");

/// Runs the program to its end.
pub(crate) fn natsd(args: &[&str]) -> Output {
    Command::new(NATSD).args(args).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Polls a condition that has no event, such as another process's file.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// A running program; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts the program on any free port of the loopback address.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(Path::new(NATSD), args)
    }

    pub(crate) fn start_as(program: &Path, args: &[&str]) -> Self {
        Self::spawn(Command::new(program).args(args))
    }

    pub(crate) fn start_in(environment: &[(&str, &str)], args: &[&str]) -> Self {
        Self::spawn(Command::new(NATSD).args(args).envs(environment.iter().copied()))
    }

    fn spawn(command: &mut Command) -> Self {
        Self::spawn_as_it_is(command.args(["-a", "127.0.0.1", "-p", "-1"]))
    }

    /// Starts the program with no further arguments.
    pub(crate) fn spawn_as_it_is(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines, seen: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line that contains `part`.
    pub(crate) fn line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {part:?} ({error}); seen: {:#?}", self.seen),
            }
        }
    }

    /// Returns all lines read so far.
    pub(crate) fn seen(&self) -> &[String] {
        &self.seen
    }

    pub(crate) fn signal(&self, name: &str) {
        // Uses the shell's built-in `kill`, because the program may not be installed.
        let command = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits for the end of the program and returns all lines.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + DEADLINE;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        assert!(Instant::now() < deadline, "still running; seen: {:#?}", self.seen);
        (self.child.wait().unwrap(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
