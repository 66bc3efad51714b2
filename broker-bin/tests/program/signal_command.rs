//! Sending signals with `--signal`.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use broker_bin::signal_command::run;

use crate::running::{NATSD, Running};

/// The program under a name that is unique on this machine.
struct Alias {
    name: String,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Alias {
    fn new(letter: char) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("nsd{letter}{}", std::process::id());
        let path = dir.path().join(&name);
        std::os::unix::fs::symlink(NATSD, &path).unwrap();
        Self { name, path, _dir: dir }
    }

    fn start(&self) -> Running {
        let mut natsd = Running::start_as(&self.path, &[]);
        natsd.line("Server is ready");
        natsd
    }
}

#[test]
fn each_command_reaches_the_server_that_the_pid_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pid");
    let mut natsd = Running::start(&["-P", path.to_str().unwrap()]);
    natsd.line("Server is ready");
    for (command, trapped) in [
        ("reload", "Trapped \"hangup\" signal"),
        ("reopen", "Trapped \"user defined signal 1\" signal"),
        ("term", "Trapped \"terminated\" signal"),
    ] {
        run(&format!("{command}={}", path.display()), "natsd").unwrap();
        natsd.line(trapped);
    }
    assert_eq!(natsd.ended().0.code(), Some(0));
}

#[test]
fn quit_shuts_down_and_stop_kills() {
    let mut natsd = Running::start(&[]);
    natsd.line("Server is ready");
    run(&format!("quit={}", natsd.pid()), "natsd").unwrap();
    natsd.line("Trapped \"interrupt\" signal");
    assert_eq!(natsd.ended().0.code(), Some(0));

    let mut natsd = Running::start(&[]);
    natsd.line("Server is ready");
    run(&format!("stop={}", natsd.pid()), "natsd").unwrap();
    assert_eq!(natsd.ended().0.signal(), Some(9));
}

#[test]
fn a_single_server_of_that_name_is_found() {
    let alias = Alias::new('a');
    assert_eq!(
        run("reload", &alias.name).unwrap_err().to_string(),
        format!("no {} processes running", alias.name)
    );
    let mut natsd = alias.start();
    run("reload", &alias.name).unwrap();
    natsd.line("Trapped \"hangup\" signal");
}

#[test]
fn with_several_servers_one_or_all_must_be_selected() {
    let alias = Alias::new('b');
    let (mut one, mut two) = (alias.start(), alias.start());
    if one.pid() < two.pid() {
        std::mem::swap(&mut one, &mut two);
    }
    assert_eq!(
        run("reload", &alias.name).unwrap_err().to_string(),
        format!("multiple {} processes running:\n{}\n{}", alias.name, two.pid(), one.pid())
    );
    run("reload=*", &alias.name).unwrap();
    one.line("Trapped \"hangup\" signal");
    two.line("Trapped \"hangup\" signal");
    // Selects only this process: a smaller number does not begin with its id.
    run(&format!("quit={}*", one.pid()), &alias.name).unwrap();
    assert_eq!(one.ended().0.code(), Some(0));
    run("quit", &alias.name).unwrap();
    assert_eq!(two.ended().0.code(), Some(0));
}
