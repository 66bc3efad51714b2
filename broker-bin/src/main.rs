//! The `natsd` program; its implementation is the library of the same crate.

use std::process::ExitCode;

/// musl's own allocator serves one thread at a time. Measured in `docs/performance.md`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    broker_bin::run(std::env::args_os())
}
