//! The program from its arguments to its exit code.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{self, Invocation};
use crate::daemon::Daemon;
use crate::logging::{self, Logging};
use crate::options::{self, ConfigErrors, Deciders, Loaded, Request};
use crate::service::Service;
use crate::signals::{self, Signals};
use crate::systemd::{self, Notifier};
use crate::{NATS_VERSION, VERSION, health_check, memory, signal_command, watchdog};

/// Exit code for a wrong command line.
const USAGE: u8 = 2;

/// Time for threads to finish their work at exit.
const LAST_TURNS: Duration = Duration::from_millis(500);

/// Runs natsd with these arguments (the first is the program's name) until a signal ends it.
///
/// The exit code is 0 after a requested stop, 1 if natsd could not start, 2 for a wrong command
/// line. (nats-server exits with 0 in the last case, which scripts take for success.)
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let program = program_name(args.next().as_deref());
    match cli::parse(args, environment()) {
        Ok(Invocation::Serve(request)) => start(&program, &request),
        Ok(Invocation::Check(request)) => check(&program, &request),
        Ok(Invocation::Healthcheck(request)) => healthcheck(&program, &request),
        Ok(Invocation::Signal(command)) => signal(&program, &command),
        Ok(Invocation::Help) => print(&cli::help(&program)),
        Ok(Invocation::HelpTls) => print(&cli::help_tls()),
        Ok(Invocation::Manual) => print(&cli::manual()),
        Ok(Invocation::Completions(shell)) => print(&cli::completions(shell)),
        Ok(Invocation::Version) => print(&version(&program)),
        Err(error) => usage(&program, &error),
    }
}

/// Returns the environment. Variables that are not Unicode set no option, and files cannot refer to
/// them.
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// Loads the configuration and prints its errors, one per line.
fn load(program: &str, request: &Request) -> Result<(Loaded, Deciders), ExitCode> {
    match options::load_checked(request) {
        Ok((mut loaded, deciders)) => {
            program.clone_into(&mut loaded.options.program);
            Ok((loaded, deciders))
        }
        Err(error) => Err(refused(program, &error)),
    }
}

/// Prints the errors of a configuration.
fn refused(program: &str, error: &ConfigErrors) -> ExitCode {
    if error.is_usage() {
        return usage(program, error);
    }
    if let ConfigErrors::Problems { warnings, .. } = error {
        warnings.iter().for_each(|warning| complain(program, warning));
    }
    error.to_string().lines().for_each(|line| complain(program, &line));
    ExitCode::FAILURE
}

/// Runs `-t`.
// NATS 2.14: main.go, with the same wording. nats-server exits with 1 on warnings alone.
fn check(program: &str, request: &Request) -> ExitCode {
    match load(program, request) {
        Ok((Loaded { file, digest, warnings, .. }, _)) => {
            warnings.iter().for_each(|warning| complain(program, warning));
            let file = file.unwrap_or_default();
            let digest = digest.unwrap_or_default();
            complain(
                program,
                &format_args!("configuration file {} is valid ({digest})", file.display()),
            );
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn start(program: &str, request: &Request) -> ExitCode {
    memory::limit_free_memory();
    let (loaded, deciders) = match load(program, request) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    // Before the first further thread, of the log.
    if let Err(error) = signals::leave_to_own_thread() {
        complain(program, &format_args!("could not leave signals to one thread: {error}"));
        return ExitCode::FAILURE;
    }
    let log = match logging::install(&loaded.options.log(), program) {
        Ok(log) => log,
        Err(error) => {
            complain(program, &error);
            return ExitCode::FAILURE;
        }
    };
    let code = run_logged(loaded, deciders, &log);
    log.flush();
    code
}

/// Runs `--healthcheck`.
fn healthcheck(program: &str, request: &Request) -> ExitCode {
    // The directories of the server are not opened: it has them open.
    let loaded = match options::load(request) {
        Ok(loaded) => loaded,
        Err(error) => return refused(program, &error),
    };
    match health_check::run(&loaded.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, &error);
            ExitCode::FAILURE
        }
    }
}

/// Runs `--signal`.
fn signal(program: &str, command: &str) -> ExitCode {
    match signal_command::run(command, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, &error);
            ExitCode::FAILURE
        }
    }
}

fn run_logged(loaded: Loaded, deciders: Deciders, log: &Logging) -> ExitCode {
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            logging::fatal(&format_args!("Could not start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(loaded, deciders, log));
    // Blocked threads are not waited for.
    runtime.shutdown_timeout(LAST_TURNS);
    code
}

/// Raises the limit on file descriptors to the maximum allowed: each client takes one, and shells
/// often set 1,024. (Go does this itself, so that operators of nats-server do not expect the
/// limit.)
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!("Could not raise the limit of open files: {error}");
    }
}

async fn serve(loaded: Loaded, deciders: Deciders, log: &Logging) -> ExitCode {
    // Installed before any announcement: a program that reads "Server is ready" may send a signal
    // immediately.
    let signals = match Signals::listen(log) {
        Ok(signals) => signals,
        Err(error) => {
            logging::fatal(&format_args!("Could not listen for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let daemon = match Daemon::start_checked(loaded, deciders).await {
        Ok(daemon) => daemon.with_log(log.clone()),
        Err(error) => {
            logging::fatal(&error);
            return ExitCode::FAILURE;
        }
    };
    memory::give_back_soon();
    if let Err(error) = watchdog::start(daemon.stall_watch(watchdog::PATIENCE)) {
        tracing::warn!("Could not start the watchdog for stalled threads: {error}");
    }
    let manager = Arc::new(Notifier::from_env());
    manager.ready();
    if let Some(interval) = systemd::watchdog_interval() {
        let status = daemon.status();
        let is_well = move || status.stalled_workers() == 0;
        tokio::spawn(Arc::clone(&manager).watchdog(interval, is_well));
    }
    #[cfg(feature = "testing")]
    crate::testing::stall::all_workers_if_asked_to();
    Service { daemon, signals, log, manager: &manager }.run().await
}

fn program_name(path: Option<&OsStr>) -> String {
    path.and_then(|path| Path::new(path).file_name())
        .map_or_else(|| "natsd".into(), |name| name.to_string_lossy().into_owned())
}

/// Prints the version. Called `nats-server`, natsd prints nats-server's line: scripts look for `
/// v<major>.<minor>.<patch>` to detect features.
fn version(program: &str) -> String {
    if program == "nats-server" {
        format!("nats-server: v{NATS_VERSION}\n")
    } else {
        format!("natsd: v{VERSION} (NATS {NATS_VERSION})\n")
    }
}

/// Prints a text; a closed reader (`natsd --help | head`) is no error.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn usage(program: &str, what: &dyn std::fmt::Display) -> ExitCode {
    complain(program, &format_args!("{what} (see {program} --help)"));
    ExitCode::from(USAGE)
}

fn complain(program: &str, what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{program}: {what}");
}
