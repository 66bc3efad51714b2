//! The `natsd` program; its implementation is the library of the same crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker_bin::run(std::env::args_os())
}
