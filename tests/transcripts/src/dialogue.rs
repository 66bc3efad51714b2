//! A dialogue: its file, parsed and validated.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs, io};

use crate::info::InfoPattern;
use crate::setup::{Setup, time};
use crate::stage::Entrance;
use crate::text;

/// The servers that dialogues are played with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Server {
    /// natsd: its sessions without I/O, or the whole server.
    Natsd,
    /// A real nats-server.
    Reference,
}

/// One `*.txt` file: its purpose, the server's setup, and the exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Dialogue {
    /// The file's name without `.txt`.
    pub name: String,
    /// The opening comment.
    pub about: String,
    /// The setup of the server.
    pub setup: Setup,
    /// If the servers differ intentionally: the server that behaves as written, and the reason.
    pub only: Option<(Server, String)>,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    /// The action or expectation.
    pub act: Act,
}

/// The name of a client, such as `a`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Party(String);

impl Party {
    /// The kind of its connection: in dialogues of clusters, parties `r`, `r1` and so on connect as routes, and the server
    /// dials parties `s`, `s1` and so on.
    pub fn entrance(&self, setup: &Setup) -> Entrance {
        let is_named = |letter| {
            let number = self.0.strip_prefix(letter);
            number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        };
        match setup.cluster {
            Some(_) if is_named('r') => Entrance::Routes,
            Some(_) if is_named('s') => Entrance::Dialled,
            _ => Entrance::Clients,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The contents of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// `a> LINE`, `a>> "BYTES"`: the client sends this.
    Send(Party, Vec<u8>),
    /// `a< LINE`, `a<< "BYTES"`: this must arrive next.
    Expect(Party, Expected),
    /// `a|b< LINE`: each item must arrive next at exactly one of the clients, one item after the
    /// other. `a<+ LINE`: the same, in any order.
    Deal {
        /// The possible receivers.
        parties: Vec<Party>,
        /// The items, each received in one piece.
        items: Vec<Vec<u8>>,
        /// True if the items must arrive in the order written.
        in_order: bool,
    },
    /// `a=`: everything sent so far has been processed, and nothing more has arrived.
    Quiet(Party),
    /// `a.`: the server has closed the connection, and nothing more has arrived.
    Closed(Party),
    /// `a/`: the client closes its connection.
    HangUp(Party),
    /// `~ TIME`: this time passes.
    Pass(Duration),
}

/// The expected input.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Exactly these bytes.
    Bytes(Vec<u8>),
    /// An INFO line that matches this pattern.
    Info(InfoPattern),
    /// The CONNECT line of a server that matches this pattern.
    Connect(InfoPattern),
}

/// A text is not a valid dialogue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flaw {
    /// The dialogue's name.
    pub dialogue: String,
    /// The line of the file, from 1.
    pub line: usize,
    /// The error.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.txt:{}: {}", self.dialogue, self.line, self.what)
    }
}

impl std::error::Error for Flaw {}

impl Dialogue {
    /// Reads each `*.txt` of this crate's folder, sorted by name.
    ///
    /// # Errors
    /// The first file that cannot be read or is not a valid dialogue.
    pub fn all() -> io::Result<Vec<Self>> {
        let mut files: Vec<_> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "txt"));
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    /// Returns those of [`Self::all`] that `server` must agree with.
    ///
    /// # Errors
    /// See [`Self::all`].
    pub fn all_for(server: Server) -> io::Result<Vec<Self>> {
        let mut dialogues = Self::all()?;
        dialogues.retain(|dialogue| dialogue.only.as_ref().is_none_or(|(only, _)| *only == server));
        Ok(dialogues)
    }

    fn read(file: &Path) -> io::Result<Self> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(file)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))?;
        Self::parse(&name, &text).map_err(|flaw| io::Error::new(io::ErrorKind::InvalidData, flaw))
    }

    /// Parses a dialogue.
    ///
    /// # Errors
    /// The first invalid line. That includes dialogues whose outcome would depend on timing: see
    /// `README.md`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Flaw> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            let flaw = |what| Flaw { dialogue: name.into(), line: index + 1, what };
            reader.line(index + 1, line).map_err(flaw)?;
        }
        let last = text.lines().count();
        reader.end().map_err(|what| Flaw { dialogue: name.into(), line: last, what })?;
        let Reader { about, setup, only, steps, .. } = reader;
        Ok(Self { name: name.into(), about, setup, only, steps })
    }
}

/// The state of a client while its dialogue is validated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Its last line was sent completely, and nothing has shown yet that the server processed it.
    Unconfirmed,
    /// It has sent part of a line, or has received something since it last sent.
    Applied,
    /// It was checked that nothing more arrives.
    Quiet,
    /// Its connection is closed.
    Gone,
}

#[derive(Default)]
struct Reader {
    about: String,
    setup: Setup,
    only: Option<(Server, String)>,
    steps: Vec<Step>,
    standing: BTreeMap<Party, Standing>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.ends_with([' ', '\t']) {
            return Err("blanks at the end cannot be seen: use the quoted form".into());
        }
        if let Some(comment) = line.strip_prefix('#') {
            if self.steps.is_empty() {
                self.about.push_str(comment.trim());
                self.about.push('\n');
            }
            return Ok(());
        }
        if line.is_empty() {
            return Ok(());
        }
        if let Some(directive) = line.strip_prefix('!') {
            if !self.steps.is_empty() {
                return Err("directives stand at the top".into());
            }
            return match directive.trim().strip_prefix("only ") {
                Some(only) => self.only(only),
                None => self.setup.read(directive),
            };
        }
        if let Some(span) = line.strip_prefix('~') {
            let act = Act::Pass(time(span.trim())?);
            self.steps.push(Step { line: number, act });
            return Ok(());
        }
        self.step(number, line)
    }

    /// Parses `natsd: REASON` or `reference: REASON`.
    fn only(&mut self, text: &str) -> Result<(), String> {
        let (server, reason) =
            text.split_once(": ").ok_or("a reason is missing: `only natsd: …`")?;
        let server = match server {
            "natsd" => Server::Natsd,
            "reference" => Server::Reference,
            other => return Err(format!("`{other}` is neither natsd nor reference")),
        };
        match self.only.replace((server, reason.trim().into())) {
            None => Ok(()),
            Some(_) => Err("`only` stands once".into()),
        }
    }

    fn step(&mut self, number: usize, line: &str) -> Result<(), String> {
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '|');
        let (names, rest) = line.split_at(end.unwrap_or(line.len()));
        let mut parties: Vec<_> = names.split('|').map(|name| Party(name.into())).collect();
        if parties.iter().any(|party| party.0.is_empty()) {
            return Err("a step begins with the name of a party".into());
        }
        // Longer marks first: `>>` begins with `>`.
        let marks = [">>", ">", "<<", "<+", "<", "=", ".", "/"];
        let (mark, rest) = marks
            .iter()
            .find_map(|mark| rest.strip_prefix(mark).map(|rest| (*mark, rest)))
            .ok_or("after the party comes one of > >> < << <+ = . /")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if mark == "<+" || parties.len() > 1 {
            if !mark.starts_with('<') || mark == "<<" {
                return Err("several parties can only receive: `a|b<`".into());
            }
            return self.deal(number, parties, crlf(rest)?, mark == "<");
        }
        let party = parties.remove(0);
        let act = match mark {
            ">" => Act::Send(party, crlf(rest)?),
            ">>" => Act::Send(party, text::quoted(rest)?),
            "<<" => Act::Expect(party, Expected::Bytes(text::quoted(rest)?)),
            "<" => Act::Expect(party, expected(rest)?),
            "=" => Act::Quiet(party),
            "." => Act::Closed(party),
            _ => Act::HangUp(party),
        };
        self.follow(&act)?;
        self.steps.push(Step { line: number, act });
        Ok(())
    }

    /// Adds a line to the preceding deal, or begins a new one.
    fn deal(
        &mut self,
        number: usize,
        parties: Vec<Party>,
        bytes: Vec<u8>,
        in_order: bool,
    ) -> Result<(), String> {
        let begins = begins_operation(&bytes);
        if let Some(Step { act: Act::Deal { parties: p, items, in_order: o }, .. }) =
            self.steps.last_mut()
            && (&*p, &*o) == (&parties, &in_order)
        {
            match items.last_mut() {
                Some(item) if !begins => item.extend(bytes),
                _ => items.push(bytes),
            }
            return Ok(());
        }
        if !begins {
            return Err("the first line is an operation such as MSG".into());
        }
        let act = Act::Deal { parties, items: vec![bytes], in_order };
        self.follow(&act)?;
        self.steps.push(Step { line: number, act });
        Ok(())
    }

    /// Refuses steps whose outcome would depend on timing, and impossible ones.
    fn follow(&mut self, act: &Act) -> Result<(), String> {
        use Standing::{Applied, Gone, Quiet, Unconfirmed};
        let (parties, next) = match act {
            Act::Send(party, bytes) => {
                self.others_are_settled(party)?;
                (vec![party], if bytes.ends_with(b"\n") { Unconfirmed } else { Applied })
            }
            Act::Expect(party, _) => (vec![party], Applied),
            Act::Deal { parties, .. } => (parties.iter().collect(), Applied),
            Act::Quiet(party) => {
                self.others_are_settled(party)?;
                (vec![party], Quiet)
            }
            Act::Closed(party) | Act::HangUp(party) => (vec![party], Gone),
            Act::Pass(_) => return Ok(()),
        };
        for party in parties {
            if self.standing.insert(party.clone(), next) == Some(Gone) {
                return Err(format!("{party} is gone"));
            }
        }
        Ok(())
    }

    /// An action of a client after another one has sent something would race with it.
    fn others_are_settled(&self, party: &Party) -> Result<(), String> {
        let unconfirmed = |(other, standing): &(&Party, &Standing)| {
            *other != party && **standing == Standing::Unconfirmed
        };
        match self.standing.iter().find(unconfirmed) {
            Some((other, _)) => Err(format!(
                "the server may not have processed what {other} sent: put `{other}=` before this"
            )),
            None => Ok(()),
        }
    }

    fn end(&self) -> Result<(), String> {
        if self.about.trim().is_empty() {
            return Err("a dialogue opens with a comment that says what it shows".into());
        }
        if self.steps.is_empty() {
            return Err("nothing happens".into());
        }
        for (party, standing) in &self.standing {
            if !matches!(standing, Standing::Quiet | Standing::Gone) {
                return Err(format!("end with `{party}=` or `{party}.`, else more may arrive"));
            }
        }
        Ok(())
    }
}

fn crlf(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = text::plain(text)?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

fn expected(text: &str) -> Result<Expected, String> {
    if let Some(fields) = text.strip_prefix("INFO ") {
        return InfoPattern::parse(fields).map(Expected::Info);
    }
    match text.strip_prefix("CONNECT ") {
        Some(fields) => InfoPattern::parse(fields).map(Expected::Connect),
        None => crlf(text).map(Expected::Bytes),
    }
}

fn begins_operation(line: &[u8]) -> bool {
    [&b"MSG "[..], b"HMSG ", b"RS+ ", b"RS- ", b"RMSG ", b"+OK", b"-ERR ", b"PING", b"PONG"]
        .iter()
        .any(|operation| line.starts_with(operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<Act> {
        let text = format!("# About.\n{text}");
        Dialogue::parse("test", &text).unwrap().steps.into_iter().map(|step| step.act).collect()
    }

    fn flaw(text: &str) -> Flaw {
        Dialogue::parse("test", &format!("# About.\n{text}")).unwrap_err()
    }

    fn party(name: &str) -> Party {
        Party(name.into())
    }

    #[test]
    fn each_mark_is_its_act() {
        let acts =
            steps("a> SUB x 1\na>> \"PI\"\na>> \"NG\\r\\n\"\na< PONG\na<< \"+\"\n~ 20ms\na=\na/\n");
        let expected = [
            Act::Send(party("a"), b"SUB x 1\r\n".into()),
            Act::Send(party("a"), b"PI".into()),
            Act::Send(party("a"), b"NG\r\n".into()),
            Act::Expect(party("a"), Expected::Bytes(b"PONG\r\n".into())),
            Act::Expect(party("a"), Expected::Bytes(b"+".into())),
            Act::Pass(Duration::from_millis(20)),
            Act::Quiet(party("a")),
            Act::HangUp(party("a")),
        ];
        assert_eq!(acts, expected);
    }

    #[test]
    fn an_empty_text_is_an_empty_line() {
        assert_eq!(steps("a>\na=")[0], Act::Send(party("a"), b"\r\n".into()));
    }

    #[test]
    fn a_deal_is_cut_into_messages() {
        let deal = &steps("a|b< MSG x 1 1\na|b< 1\na|b< MSG x 1 1\na|b< 2\na=\nb=")[0];
        let items = vec![b"MSG x 1 1\r\n1\r\n".to_vec(), b"MSG x 1 1\r\n2\r\n".to_vec()];
        assert_eq!(
            *deal,
            Act::Deal { parties: vec![party("a"), party("b")], items, in_order: true }
        );
    }

    #[test]
    fn a_flaw_names_its_line() {
        assert_eq!(flaw("a> x \na=").line, 2);
        assert_eq!(flaw("a= \n! max_payload 1").to_string().find("test.txt:"), Some(0));
        for text in ["a? x", "> x", "a|b> x", "a|b< hello", "a< INFO {}", "a=\n! max_payload 1"] {
            assert!(Dialogue::parse("test", &format!("# About.\n{text}")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_race_between_two_parties_is_refused() {
        assert!(flaw("a> SUB x 1\nb> PUB x 0").what.contains("put `a=` before"));
        assert!(flaw("a> PUB x 0\nb=").what.contains("put `a=` before"));
        assert_eq!(steps("a> SUB x 1\na< +OK\nb>> \"PU\"\na=\nb=").len(), 5);
    }

    #[test]
    fn a_dialogue_ends_with_all_clients_quiet_or_closed() {
        assert!(flaw("a> PING\na< PONG").what.contains("`a=` or `a.`"));
        assert!(flaw("a.\na> PING").what.contains("gone"));
    }

    #[test]
    fn a_deliberate_difference_names_its_server_and_reason() {
        let text = "# About.\n! only natsd: it is safer\na=";
        let only = Dialogue::parse("test", text).unwrap().only;
        assert_eq!(only, Some((Server::Natsd, "it is safer".into())));
        for text in ["only natsd", "only nats: x", "only natsd: x\n! only natsd: y"] {
            assert!(Dialogue::parse("test", &format!("# About.\n! {text}\na=")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_dialogue_states_its_purpose() {
        assert!(Dialogue::parse("test", "a=").unwrap_err().what.contains("comment"));
        assert!(flaw("").what.contains("nothing happens"));
    }
}
