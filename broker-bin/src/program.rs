//! The program from its arguments to its exit code.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::{self, Invocation};
use crate::daemon::Daemon;
use crate::logging::{self, Logging};
use crate::options::Options;
use crate::signals::{Signal, Signals};
use crate::systemd::{self, Notifier};
use crate::{NATS_VERSION, VERSION, memory};

/// The command line was wrong.
const USAGE: u8 = 2;

/// Runs natsd with these arguments, the first of which is the program's own name, until a signal ends it.
///
/// Exit code 0 after a stop that was asked for, 1 when it could not start, 2 when the command line is
/// wrong. (nats-server exits with 0 on a wrong command line; scripts then take it for started.)
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let program = program_name(args.next().as_deref());
    let base = Options { program: program.clone(), ..Options::default() };
    let options = match cli::parse(args, base) {
        Ok(Invocation::Serve(options)) => *options,
        Ok(Invocation::Help) => return print(&cli::help(&program)),
        Ok(Invocation::Version) => return print(&version(&program)),
        Err(error) => {
            complain(&program, &format_args!("{error} (see {program} --help)"));
            return ExitCode::from(USAGE);
        }
    };

    let log = match logging::install(&options.log, &program) {
        Ok(log) => log,
        Err(error) => {
            complain(&program, &error);
            return ExitCode::FAILURE;
        }
    };
    let code = run_logged(options, &log);
    log.flush();
    code
}

fn run_logged(options: Options, log: &Logging) -> ExitCode {
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            logging::fatal(&format_args!("Could not start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(options, log))
}

/// As many descriptors as the system lets this process have: each client takes one, and a shell often
/// gives only 1,024. (Go programs do this by themselves, so operators of nats-server never had to.)
fn raise_descriptor_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!("Could not raise the limit of open files: {error}");
    }
}

async fn serve(options: Options, log: &Logging) -> ExitCode {
    // Before anything is announced: who reads "Server is ready" may send a signal at once.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            logging::fatal(&format_args!("Could not listen for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let daemon = match Daemon::start(options).await {
        Ok(daemon) => daemon,
        Err(error) => {
            logging::fatal(&error);
            return ExitCode::FAILURE;
        }
    };
    let manager = Arc::new(Notifier::from_env());
    manager.ready();
    if let Some(interval) = systemd::watchdog_interval() {
        tokio::spawn(Arc::clone(&manager).watchdog(interval));
    }

    tokio::select! {
        () = until_told_to_stop(&mut signals, log, &manager) => {}
        never = memory::look_after(daemon.broker()) => match never {}
    }
    manager.stopping();
    tokio::select! {
        () = daemon.stop() => ExitCode::SUCCESS,
        // Who asks twice does not want to wait for clients that hang.
        () = until_told_to_stop(&mut signals, log, &manager) => ExitCode::FAILURE,
    }
}

async fn until_told_to_stop(signals: &mut Signals, log: &Logging, manager: &Notifier) {
    loop {
        let signal = signals.next().await;
        tracing::info!("Trapped {:?} signal", signal.name());
        match signal {
            Signal::Interrupt | Signal::Terminate => return,
            Signal::User1 => reopen(log),
            Signal::Hangup => {
                manager.reloading();
                tracing::error!("Failed to reload server configuration: not supported yet");
                manager.ready();
            }
            Signal::User2 => tracing::error!("Lame duck mode is not supported yet"),
        }
    }
}

fn reopen(log: &Logging) {
    match log.reopen() {
        Ok(true) => tracing::info!("File log re-opened"),
        Ok(false) => tracing::info!("File log re-open ignored, not a file logger"),
        Err(error) => tracing::error!("File log could not be re-opened: {error}"),
    }
}

fn program_name(path: Option<&OsStr>) -> String {
    path.and_then(|path| Path::new(path).file_name())
        .map_or_else(|| "natsd".into(), |name| name.to_string_lossy().into_owned())
}

/// Under nats-server's name we answer as it does: scripts look for ` v<major>.<minor>.<patch>` there to
/// learn what the server can do.
fn version(program: &str) -> String {
    if program == "nats-server" {
        format!("nats-server: v{NATS_VERSION}\n")
    } else {
        format!("natsd: v{VERSION} (NATS {NATS_VERSION})\n")
    }
}

/// A reader that went away (`natsd --help | head`) is no failure of ours.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(program: &str, what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{program}: {what}");
}
