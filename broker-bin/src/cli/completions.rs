//! Completions of the command line for shells, made from the declarations of the flags.

use std::fmt::Write as _;

use super::flags::{self, Flag};
use crate::config::format::dashed;

/// The names under which shells complete the program.
const PROGRAMS: &str = "natsd nats-server";

/// A shell for which natsd writes completions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// fish.
    Fish,
    /// zsh.
    Zsh,
}

impl Shell {
    /// Returns the shell with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "fish" => Some(Self::Fish),
            "zsh" => Some(Self::Zsh),
            _ => None,
        }
    }
}

/// Returns the script that makes `shell` complete natsd's flags.
///
/// ```
/// use broker_bin::cli::{Shell, completions};
///
/// assert!(completions(Shell::Bash).contains("--config"));
/// ```
pub fn completions(shell: Shell) -> String {
    let flags: Vec<Flag> = flags::all().into_iter().filter(|flag| flag.part().is_none()).collect();
    match shell {
        Shell::Bash => bash(&flags),
        Shell::Fish => fish(&flags),
        Shell::Zsh => zsh(&flags),
    }
}

/// The completion of a flag's value.
enum Value {
    None,
    Text,
    File,
    Directory,
    Words(&'static str),
}

impl Value {
    fn of(flag: &Flag) -> Self {
        match flag.value {
            "" => Self::None,
            "<file>" => Self::File,
            "<dir>" => Self::Directory,
            "<shell>" => Self::Words("bash fish zsh"),
            "<signal>[=<pid>]" => Self::Words("ldm stop quit term reopen reload"),
            _ => Self::Text,
        }
    }
}

fn spelled(flag: &Flag) -> Vec<String> {
    flag.names.iter().map(|name| dashed(name)).collect()
}

fn bash(flags: &[Flag]) -> String {
    let mut cases = String::new();
    for flag in flags {
        let answer = match Value::of(flag) {
            Value::None => continue,
            Value::Text => "return".to_owned(),
            Value::File => "mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return".to_owned(),
            Value::Directory => {
                "mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return".to_owned()
            }
            Value::Words(words) => {
                format!("mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\"); return")
            }
        };
        let _ = writeln!(cases, "        {}) {answer} ;;", spelled(flag).join(" | "));
    }
    let all: Vec<String> = flags.iter().flat_map(spelled).collect();
    format!(
        "_natsd() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}\n    \
         COMPREPLY=()\n    case $before in\n{cases}    esac\n    \
         mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n}}\ncomplete -o filenames -F _natsd {PROGRAMS}\n",
        all.join(" ")
    )
}

fn fish(flags: &[Flag]) -> String {
    let mut script = String::new();
    for program in PROGRAMS.split(' ') {
        let _ = writeln!(script, "complete -c {program} -f");
        for flag in flags {
            let _ = write!(script, "complete -c {program}");
            for name in spelled(flag) {
                let (kind, name) = match name.strip_prefix("--") {
                    Some(name) => ("-l", name.to_owned()),
                    None if name.len() == 2 => ("-s", name[1..].to_owned()),
                    None => ("-o", name[1..].to_owned()),
                };
                let _ = write!(script, " {kind} {name}");
            }
            match Value::of(flag) {
                Value::None => {}
                Value::Text => script.push_str(" -x"),
                Value::File => script.push_str(" -r -F"),
                Value::Directory => script.push_str(" -x -a '(__fish_complete_directories)'"),
                Value::Words(words) => {
                    let _ = write!(script, " -x -a '{words}'");
                }
            }
            let _ =
                writeln!(script, " -d '{}'", flag.help.replace('\\', "\\\\").replace('\'', "\\'"));
        }
    }
    script
}

fn zsh(flags: &[Flag]) -> String {
    let mut specs = String::new();
    for flag in flags {
        let names = spelled(flag);
        let help = flag.help.replace('\'', "'\\''").replace(['[', ']'], "").replace(':', "\\:");
        let value = match Value::of(flag) {
            Value::None => String::new(),
            Value::Text => format!(":{}: ", flag.value.replace(':', " ")),
            Value::File => ":file:_files".to_owned(),
            Value::Directory => ":directory:_files -/".to_owned(),
            Value::Words(words) => format!(":{}:({words})", flag.value.replace(['[', ']'], "")),
        };
        // A flag under one name excludes its other names.
        let all = names.join(" ");
        for name in &names {
            let _ = write!(specs, " \\\n    '({all}){name}[{help}]{value}'");
        }
    }
    format!("#compdef {PROGRAMS}\n_arguments{specs}\n")
}
