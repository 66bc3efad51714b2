//! The log file: appended to, reopened on request, rotated when it reaches its size limit.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::civil::DateTime;
use jiff::{Span, Zoned};

use super::record::Label;
use crate::options::LogOptions;
use crate::time_zone;

// NATS 2.14: log.go, appended to the file's name and a dot; local time, nine digits of a second.
// Sorting by name sorts by age.
const STAMP: &str = "%Y.%m.%d.%H.%M.%S.%9f";
const STAMP_BYTES: usize = "2006.01.02.15.04.05.999999999".len();

/// Formats a log line about the file itself.
pub(super) type Notice<'a> = &'a dyn Fn(Label, &str) -> String;

/// Limits on the file's size and the number of files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Limits {
    /// Maximum size; 0: unlimited.
    pub(super) size_bytes: u64,
    /// Maximum number of files, including the current one; 0: unlimited.
    pub(super) files: u64,
}

impl Limits {
    pub(super) fn of(options: &LogOptions) -> Self {
        Self { size_bytes: options.size_limit_bytes, files: options.max_files }
    }
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    len_bytes: u64,
    /// False for a device or a pipe, which has no length and must not be renamed.
    regular: bool,
    limits: Limits,
    /// Rotation has failed: the length at which to try again.
    retry_at_bytes: Option<u64>,
}

impl LogFile {
    /// Opens the file at `path`, creating it if necessary.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let open = Mutex::new(Open::new(&path, Limits::default())?);
        Ok(Self { path, open })
    }

    /// Sets the limits; a file beyond them is rotated immediately.
    pub(super) fn set_limits(&self, limits: Limits, notice: Notice<'_>) {
        let mut open = self.lock();
        open.limits = limits;
        open.retry_at_bytes = None;
        if open.is_too_long() {
            open.append(&notice(Label::Info, "Rotating logfile..."));
            self.rotate(&mut open, notice);
        }
    }

    /// Reopens the file at its path after it was moved.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut open = self.lock();
        *open = Open::new(&self.path, open.limits)?;
        Ok(())
    }

    /// Writes one line with one call.
    pub(super) fn write(&self, line: &str, notice: Notice<'_>) {
        let mut open = self.lock();
        open.append(line);
        if open.is_too_long() {
            self.rotate(&mut open, notice);
        }
    }

    /// Rotates the file. If that fails, logging continues in the old file with a notice: an
    /// oversized log is better than none.
    fn rotate(&self, open: &mut Open, notice: Notice<'_>) {
        match self.move_aside(open) {
            Ok(moved) => {
                let text = match moved {
                    Some(backup) => format!("Rotated log, backup saved as {:?}", display(&backup)),
                    None => "Began a new log, the old one had been moved away".into(),
                };
                open.append(&notice(Label::Info, &text));
                if open.limits.files > 0 {
                    self.purge(open, notice);
                }
            }
            Err(error) => {
                let said = open.retry_at_bytes.is_some();
                open.retry_at_bytes = Some(open.len_bytes.saturating_add(open.limits.size_bytes));
                if !said {
                    let text = format!(
                        "Unable to rotate logfile ({error}), going on with it and trying again each \
                         {} bytes",
                        open.limits.size_bytes
                    );
                    open.append(&notice(Label::Error, &text));
                }
            }
        }
    }

    /// Renames the file and returns its new path; `None` if it had already been moved.
    fn move_aside(&self, open: &mut Open) -> io::Result<Option<PathBuf>> {
        let backup = self.free_name(&time_zone::now())?;
        let moved = match std::fs::rename(&self.path, &backup) {
            Ok(()) => Some(backup),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match Open::new(&self.path, open.limits) {
            Ok(fresh) => *open = fresh,
            Err(error) => {
                // The open file stays usable in either place, but users look for it here.
                if let Some(backup) = &moved {
                    let _ = std::fs::rename(backup, &self.path);
                }
                return Err(error);
            }
        }
        Ok(moved)
    }

    /// Returns an unused name, so that a clock set back does not overwrite a backup.
    fn free_name(&self, now: &Zoned) -> io::Result<PathBuf> {
        (0..1000)
            .filter_map(|nanos| now.checked_add(Span::new().nanoseconds(nanos)).ok())
            .map(|time| {
                let mut name = OsString::from(&self.path);
                name.push(format!(".{}", time.strftime(STAMP)));
                PathBuf::from(name)
            })
            .find(|path| std::fs::symlink_metadata(path).is_err())
            .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }

    /// Removes the oldest backups.
    fn purge(&self, open: &mut Open, notice: Notice<'_>) {
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut backups = match self.backups(dir) {
            Ok(backups) => backups,
            Err(error) => {
                let text = format!(
                    "Unable to read directory {:?} for log purge ({error}), will attempt next rotation",
                    display(dir)
                );
                return open.append(&notice(Label::Error, &text));
            }
        };
        let keep = usize::try_from(open.limits.files - 1).unwrap_or(usize::MAX);
        backups.truncate(backups.len().saturating_sub(keep));
        for name in backups {
            if let Err(error) = std::fs::remove_file(dir.join(&name)) {
                let text = format!(
                    "Unable to remove backup log file {name:?} ({error}), will attempt next rotation"
                );
                return open.append(&notice(Label::Error, &text));
            }
            open.append(&notice(Label::Info, &format!("Purged log file {name:?}")));
        }
    }

    /// Returns the backups, oldest first.
    fn backups(&self, dir: &Path) -> io::Result<Vec<String>> {
        let base = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut backups = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let stamp = name.strip_prefix(&*base).and_then(|rest| rest.strip_prefix('.'));
            if stamp.is_some_and(is_stamp) && entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                backups.push(name);
            }
        }
        backups.sort_unstable();
        Ok(backups)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn new(path: &Path, limits: Limits) -> io::Result<Self> {
        // NATS 2.14: log.go, readable by the group.
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            len_bytes: metadata.len(),
            regular: metadata.is_file(),
            file,
            limits,
            retry_at_bytes: None,
        })
    }

    fn is_too_long(&self) -> bool {
        let limit = self.retry_at_bytes.unwrap_or(self.limits.size_bytes);
        self.regular && self.limits.size_bytes > 0 && self.len_bytes > limit
    }

    /// Appends a line and ignores errors: a full disk must not stop the server, and there is no
    /// other place to report it.
    fn append(&mut self, line: &str) {
        if self.file.write_all(line.as_bytes()).is_ok() {
            self.len_bytes += line.len() as u64;
        }
    }
}

/// Returns true for backup names of natsd or nats-server. Other files are never removed.
fn is_stamp(text: &str) -> bool {
    text.len() == STAMP_BYTES && DateTime::strptime("%Y.%m.%d.%H.%M.%S.%f", text).is_ok()
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn log(&self, size_bytes: u64, files: u64) -> LogFile {
            let log = LogFile::open(self.path("log")).unwrap();
            log.set_limits(Limits { size_bytes, files }, &notice);
            log
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).unwrap()
        }

        /// Returns all files except the log itself, oldest first.
        fn others(&self) -> Vec<String> {
            let mut names: Vec<String> = std::fs::read_dir(self.0.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "log")
                .collect();
            names.sort_unstable();
            names
        }
    }

    fn notice(label: Label, text: &str) -> String {
        format!("{label:?} {text}\n")
    }

    #[test]
    fn a_file_that_exceeds_the_limit_is_rotated() {
        let dir = Dir::new();
        let log = dir.log(10, 0);
        log.write("123456789\n", &notice);
        assert_eq!(dir.others(), [""; 0]);
        log.write("x\n", &notice);
        let [backup] = &dir.others()[..] else { panic!("{:?}", dir.others()) };
        assert_eq!(dir.read(backup), "123456789\nx\n");
        assert!(is_stamp(backup.strip_prefix("log.").unwrap()), "{backup}");
        let saved = dir.path(backup);
        assert_eq!(dir.read("log"), format!("Info Rotated log, backup saved as {saved:?}\n"));
    }

    #[test]
    fn a_file_that_is_too_long_at_the_start_is_rotated() {
        let dir = Dir::new();
        std::fs::write(dir.path("log"), "old\n").unwrap();
        dir.log(3, 0);
        let [backup] = &dir.others()[..] else { panic!("{:?}", dir.others()) };
        assert_eq!(dir.read(backup), "old\nInfo Rotating logfile...\n");
    }

    #[test]
    fn the_configured_number_of_files_is_kept() {
        for (files, kept) in [(0, 6), (1, 0), (2, 1), (4, 3)] {
            let dir = Dir::new();
            let foreign = ["log.1", "log.gz", "log.2026.13.02.15.04.05.000000000", "logs"];
            for name in foreign {
                std::fs::write(dir.path(name), "").unwrap();
            }
            // A name of nats-server's.
            std::fs::write(dir.path("log.2020.01.02.15.04.05.999999999"), "").unwrap();
            let log = dir.log(0, 0);
            log.set_limits(Limits { size_bytes: 1, files }, &notice);
            for n in 0..5 {
                log.write(&format!("line {n}\n"), &notice);
            }
            let others = dir.others();
            let backups: Vec<_> =
                others.iter().filter(|name| !foreign.contains(&name.as_str())).collect();
            assert_eq!(others.len(), foreign.len() + kept, "{files}: {others:?}");
            if let Some(newest) = backups.last() {
                assert!(dir.read(newest).ends_with("line 4\n"), "{files}");
            }
            assert_eq!(dir.read("log").contains("Info Purged log file \"log.20"), files > 0);
        }
    }

    #[test]
    fn an_existing_backup_is_not_overwritten() {
        let dir = Dir::new();
        let log = dir.log(0, 0);
        let now: jiff::Timestamp = "2026-11-20T23:19:05.000000007Z".parse().unwrap();
        let now = now.to_zoned(jiff::tz::TimeZone::UTC);
        let first = log.free_name(&now).unwrap();
        assert_eq!(first, dir.path("log.2026.11.20.23.19.05.000000007"));
        std::fs::write(&first, "").unwrap();
        let second = log.free_name(&now).unwrap();
        assert_eq!(second, dir.path("log.2026.11.20.23.19.05.000000008"));
    }

    #[test]
    fn if_rotation_fails_logging_continues_with_one_notice() {
        let dir = Dir::new();
        std::fs::create_dir(dir.path("sub")).unwrap();
        let path = dir.path("sub/log");
        let log = LogFile::open(path.clone()).unwrap();
        log.set_limits(Limits { size_bytes: 100, files: 0 }, &notice);
        // In a removed directory neither a rename nor a new file is possible, even for root.
        let kept = dir.path("kept");
        std::fs::hard_link(&path, &kept).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_dir(dir.path("sub")).unwrap();
        for _ in 0..40 {
            log.write("0123456789\n", &notice);
        }
        let text = dir.read("kept");
        assert_eq!(text.matches("0123456789\n").count(), 40);
        assert_eq!(text.matches("Error Unable to rotate logfile (").count(), 1);

        std::fs::create_dir(dir.path("sub")).unwrap();
        while !path.exists() {
            log.write("0123456789\n", &notice);
        }
        log.write("new\n", &notice);
        assert_eq!(
            dir.read("sub/log"),
            "Info Began a new log, the old one had been moved away\nnew\n"
        );
    }

    #[test]
    fn a_device_is_never_rotated() {
        let log = LogFile::open("/dev/null".into()).unwrap();
        log.set_limits(Limits { size_bytes: 1, files: 1 }, &notice);
        log.write("more than one byte\n", &notice);
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_moved_file_is_reopened() {
        let dir = Dir::new();
        let log = dir.log(100, 0);
        log.write("one\n", &notice);
        std::fs::rename(dir.path("log"), dir.path("log.1")).unwrap();
        log.write("two\n", &notice);
        log.reopen().unwrap();
        log.write("three\n", &notice);
        assert_eq!(dir.read("log.1"), "one\ntwo\n");
        assert_eq!(dir.read("log"), "three\n");
    }
}
