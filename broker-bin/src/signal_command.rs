//! `--signal COMMAND[=PID]`: sends a signal to a running server.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Linux truncates process names to this length.
const NAME_BYTES: usize = 15;

/// A signal was not sent to all processes. The texts are those of nats-server, which scripts parse.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// Not one of `ldm`, `stop`, `quit`, `term`, `reopen`, `reload`.
    #[error("unknown signal {0:?}")]
    UnknownCommand(String),
    /// Trailing text after the process id.
    #[error("invalid signal parameters: [{}]", .0.join(" "))]
    TooMany(Vec<String>),
    /// Neither a process id nor a readable file with one.
    #[error("invalid pid: {0}")]
    InvalidPid(String),
    /// The list of processes cannot be read.
    #[error("unable to resolve pid, try providing one")]
    Unresolved,
    /// No process has this name.
    #[error("no {0} processes running")]
    None(String),
    /// Several processes have this name.
    #[error("multiple {program} processes running:{}", .pids.iter().map(|pid| format!("\n{pid}")).collect::<String>())]
    Several {
        /// The name.
        program: String,
        /// The process ids.
        pids: Vec<i32>,
    },
    /// The system refused the signal: one line per process.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
}

/// Runs `--signal command`: `reload`, `reload=123`, `reload=/run/natsd.pid`; a number with a
/// trailing `*` selects all servers whose process id begins with it, `*` alone all servers.
///
/// Without a number it selects the only process named `program`, excluding this one.
///
/// # Errors
///
/// Returns [`SignalError`]; the signal was sent to all processes that accepted it.
pub fn run(command: &str, program: &str) -> Result<(), SignalError> {
    let mut parts = command.split('=');
    let command = parts.next().unwrap_or_default();
    let target = parts.next().unwrap_or_default();
    let rest: Vec<String> = parts.map(str::to_owned).collect();
    if !rest.is_empty() {
        return Err(SignalError::TooMany(rest));
    }
    let pids = match Target::parse(target)? {
        Target::Process(pid) => vec![pid],
        Target::Begins(digits) => {
            let mut pids = running(program)?;
            // NATS 2.14: signal.go: no process at all is an error, no process with these digits is
            // not.
            if pids.is_empty() {
                return Err(SignalError::None(program.to_owned()));
            }
            pids.retain(|pid| pid.to_string().starts_with(&digits));
            pids
        }
        Target::TheOne => match running(program)?.as_slice() {
            [] => return Err(SignalError::None(program.to_owned())),
            [pid] => vec![*pid],
            several => {
                return Err(SignalError::Several {
                    program: program.to_owned(),
                    pids: several.to_vec(),
                });
            }
        },
    };
    let signal = signal(command)?;
    let refused: Vec<String> = pids
        .into_iter()
        .filter_map(|pid| {
            let errno = kill(Pid::from_raw(pid), signal).err()?;
            Some(format!("signal {command:?} {pid}: {}", words(errno)))
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(SignalError::Refused(refused)) }
}

/// The selected processes.
enum Target {
    Process(i32),
    Begins(String),
    TheOne,
}

impl Target {
    fn parse(text: &str) -> Result<Self, SignalError> {
        if text.is_empty() {
            return Ok(Self::TheOne);
        }
        let content = std::fs::read_to_string(text).ok();
        // Editors and `echo` append a line end.
        let text = content.as_deref().unwrap_or(text).trim();
        let invalid = || SignalError::InvalidPid(text.to_owned());
        if let Some(digits) = text.strip_suffix('*') {
            let right = digits.bytes().all(|byte| byte.is_ascii_digit());
            return if right { Ok(Self::Begins(digits.to_owned())) } else { Err(invalid()) };
        }
        // Zero and negative numbers would select process groups, or all processes.
        text.parse().ok().filter(|pid| *pid > 0).map(Self::Process).ok_or_else(invalid)
    }
}

fn signal(command: &str) -> Result<Signal, SignalError> {
    Ok(match command {
        "stop" => Signal::SIGKILL,
        "quit" => Signal::SIGINT,
        "term" => Signal::SIGTERM,
        "reopen" => Signal::SIGUSR1,
        "ldm" => Signal::SIGUSR2,
        "reload" => Signal::SIGHUP,
        _ => return Err(SignalError::UnknownCommand(command.to_owned())),
    })
}

/// Returns the processes named `program`, excluding this one. (nats-server runs `pgrep`, which
/// small images lack and which matches substrings.)
fn running(program: &str) -> Result<Vec<i32>, SignalError> {
    running_in(Path::new("/proc"), program).map_err(|_| SignalError::Unresolved)
}

fn running_in(proc: &Path, program: &str) -> io::Result<Vec<i32>> {
    let wanted = &program.as_bytes()[..program.len().min(NAME_BYTES)];
    let this = std::process::id().cast_signed();
    let mut pids: Vec<i32> = std::fs::read_dir(proc)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != this)
        .filter(|pid| {
            // A process that has ended in the meantime is skipped.
            std::fs::read(proc.join(pid.to_string()).join("stat"))
                .is_ok_and(|stat| lives_as(&stat, wanted))
        })
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Parses `8065 (nats-server) S …`: the name in parentheses may itself contain parentheses.
fn lives_as(stat: &[u8], name: &[u8]) -> bool {
    let open = stat.iter().position(|byte| *byte == b'(');
    let close = stat.iter().rposition(|byte| *byte == b')');
    let (Some(open), Some(close)) = (open, close) else { return false };
    // A zombie does not handle signals.
    let dead = matches!(stat.get(close + 2), Some(b'Z' | b'X'));
    stat.get(open + 1..close) == Some(name) && !dead
}

/// Returns Go's wording, in lower case.
fn words(errno: Errno) -> String {
    errno.desc().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(command: &str) -> String {
        // No process has this name.
        run(command, "natsd-nobody").unwrap_err().to_string()
    }

    #[test]
    fn errors_have_the_wording_of_the_reference() {
        // No process can have this id: Linux ends at 4,194,304.
        for (command, text) in [
            ("reload", "no natsd-nobody processes running"),
            ("foo", "no natsd-nobody processes running"),
            ("reload=*", "no natsd-nobody processes running"),
            ("foo=4194305", "unknown signal \"foo\""),
            ("=4194305", "unknown signal \"\""),
            ("reload=4194305", "signal \"reload\" 4194305: no such process"),
            ("reload=abc", "invalid pid: abc"),
            ("reload=-7x*", "invalid pid: -7x*"),
            ("reload=1=2=3", "invalid signal parameters: [2 3]"),
        ] {
            assert_eq!(refusal(command), text, "{command}");
        }
    }

    #[test]
    fn a_number_that_selects_several_processes_is_refused() {
        for number in ["0", "-1", "-4194305", "99999999999999999999"] {
            assert_eq!(refusal(&format!("term={number}")), format!("invalid pid: {number}"));
        }
    }

    #[test]
    fn a_pid_file_is_read_with_or_without_a_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        for content in ["4194305", "4194305\n"] {
            std::fs::write(&path, content).unwrap();
            let text = refusal(&format!("ldm={}", path.display()));
            assert_eq!(text, "signal \"ldm\" 4194305: no such process");
        }
        std::fs::write(&path, "").unwrap();
        assert_eq!(refusal(&format!("ldm={}", path.display())), "invalid pid: ");
    }

    #[test]
    fn each_command_has_its_signal() {
        for (command, expected) in [
            ("stop", Signal::SIGKILL),
            ("quit", Signal::SIGINT),
            ("term", Signal::SIGTERM),
            ("reopen", Signal::SIGUSR1),
            ("ldm", Signal::SIGUSR2),
            ("reload", Signal::SIGHUP),
        ] {
            assert_eq!(signal(command), Ok(expected));
        }
    }

    #[test]
    fn processes_are_matched_by_their_complete_name() {
        let proc = tempfile::tempdir().unwrap();
        let this = std::process::id();
        for (pid, stat) in [
            ("8068", "8068 (natsd) S 1 8068"),
            ("8065", "8065 (natsd) R 1 8065"),
            ("9", "9 (natsd) Z 1 9"),
            ("10", "10 (natsd-exporter) S 1 10"),
            ("11", "11 (a) natsd) S 1 11"),
            ("12", ""),
            ("self", "13 (natsd) S 1 13"),
            ("14", "14 (a-name-of-more-) S 1 14"),
            (&this.to_string(), &format!("{this} (natsd) R 1 {this}")),
        ] {
            std::fs::create_dir(proc.path().join(pid)).unwrap();
            std::fs::write(proc.path().join(pid).join("stat"), stat).unwrap();
        }
        let found = |name| running_in(proc.path(), name).unwrap();
        assert_eq!(found("natsd"), [8065, 8068]);
        assert_eq!(found("a) natsd"), [11]);
        assert_eq!(found("a-name-of-more-than-fits"), [14]);
        assert_eq!(found("nats"), [0; 0]);
    }

    #[test]
    fn several_processes_are_listed_one_per_line() {
        let error = SignalError::Several { program: "nats-server".into(), pids: vec![8065, 8068] };
        assert_eq!(error.to_string(), "multiple nats-server processes running:\n8065\n8068");
    }
}
