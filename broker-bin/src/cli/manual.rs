//! The manual page, made from the declarations of the flags.

use std::fmt::Write as _;

use super::flags::{self, Flag};
use super::spellings;
use crate::VERSION;
use crate::config::table::Group;

/// Returns the manual page `natsd(1)` in the language of `man`.
///
/// ```
/// assert!(broker_bin::cli::manual().starts_with(".TH NATSD 1"));
/// ```
pub fn manual() -> String {
    let mut page = format!(".TH NATSD 1 \"\" \"natsd {VERSION}\"\n");
    page.push_str(
        ".SH NAME\nnatsd \\- message broker that serves NATS clients\n\
         .SH SYNOPSIS\n.B natsd\n.RI [ options ]\n\
         .SH DESCRIPTION\n\
         natsd serves the clients of NATS and takes the flags, configuration files and signals of nats\\-server 2.14.\n\
         A flag may be written with one dash or two, and its value after a space or after \"=\".\n\
         Without options natsd listens on port 4222 of all addresses.\n",
    );
    let flags: Vec<Flag> = flags::all().into_iter().filter(|flag| flag.part().is_none()).collect();
    for group in Group::ALL.map(Some).into_iter().chain([None]) {
        let mut members = flags.iter().filter(|flag| flag.group == group).peekable();
        if members.peek().is_none() {
            continue;
        }
        let _ =
            writeln!(page, ".SH {} OPTIONS", group.map_or("Common", Group::title).to_uppercase());
        for flag in members {
            let _ = writeln!(
                page,
                ".TP\n\\fB{}\\fR \\fI{}\\fR",
                escaped(&spellings(flag)),
                escaped(flag.value)
            );
            let _ = writeln!(page, "{}", escaped(&flag.help));
        }
    }
    page.push_str(
        ".SH ENVIRONMENT\nEach option of the configuration file can be set as \\fBNATSD_\\fIOPTION\\fR.\n\
         Flags come before the environment, and the environment before the file.\n\
         .SH SIGNALS\n.TP\n\\fBSIGHUP\\fR\nReads the configuration again.\n\
         .TP\n\\fBSIGUSR1\\fR\nOpens the log file again.\n\
         .TP\n\\fBSIGUSR2\\fR\nEnters lame duck mode: clients are asked to leave, then natsd ends.\n\
         .TP\n\\fBSIGTERM\\fR, \\fBSIGINT\\fR\nEnds natsd.\n\
         .SH EXIT STATUS\n.TP\n0\nnatsd was asked to end, or a check succeeded.\n\
         .TP\n1\nnatsd could not start, or a check failed.\n\
         .TP\n2\nThe command line is wrong.\n",
    );
    page
}

/// Returns `text` without what `man` takes for a command.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
