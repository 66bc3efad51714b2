//! The runner detects deviations; played on a toy server without sockets, threads or clock.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io;
use std::time::Duration;

use transcripts::{Arrival, Dialogue, Failure, Line, Stage, play, play_all};

/// Answers PING with PONG, `SAY x` with x, `TELL n x` with x to client n, `HUSH` with nothing, and
/// closes on anything else. Sends PING after 100 ms.
#[derive(Default)]
struct Toy {
    outboxes: Vec<Vec<u8>>,
    closed: Vec<bool>,
    clock: Duration,
}

impl Toy {
    fn answer(&mut self, party: usize, line: &str) {
        match line.split_once(' ') {
            Some(("SAY", text)) => self.outboxes[party].extend(format!("{text}\r\n").bytes()),
            Some(("TELL", rest)) => {
                let (other, text) = rest.split_once(' ').unwrap();
                self.outboxes[other.parse::<usize>().unwrap()]
                    .extend(format!("{text}\r\n").bytes());
            }
            _ if line == "HUSH" => {}
            _ if line == "PING" => self.outboxes[party].extend(b"PONG\r\n"),
            _ => self.closed[party] = true,
        }
    }
}

impl Stage for Toy {
    fn open(&mut self) -> io::Result<Line> {
        self.outboxes.push(b"INFO {\"proto\":1} \r\n".to_vec());
        self.closed.push(false);
        Ok(Line(self.outboxes.len() - 1))
    }

    fn send(&mut self, line: Line, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split_terminator("\r\n").for_each(|command| self.answer(line.0, command));
        Ok(())
    }

    fn receive(&mut self, line: Line, inbox: &mut Vec<u8>, _: Duration) -> io::Result<Arrival> {
        if self.outboxes[line.0].is_empty() {
            return Ok(if self.closed[line.0] { Arrival::Closed } else { Arrival::Nothing });
        }
        inbox.append(&mut self.outboxes[line.0]);
        Ok(Arrival::Bytes)
    }

    fn hang_up(&mut self, line: Line) -> io::Result<()> {
        self.closed[line.0] = true;
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> io::Result<()> {
        self.clock += time;
        if self.clock >= Duration::from_millis(100) {
            self.outboxes.iter_mut().for_each(|outbox| outbox.extend(b"PING\r\n"));
        }
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        *self = Self::default();
        Ok(())
    }

    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

fn dialogue(text: &str) -> Dialogue {
    Dialogue::parse("toy", &format!("# A toy.\n{text}")).unwrap()
}

fn played(text: &str) -> Result<(), Failure> {
    play(&dialogue(text), &mut Toy::default())
}

#[test]
fn a_dialogue_that_goes_as_written_passes() {
    let texts = [
        "a> SAY hello\na< hello\na=",
        "a< INFO {\"proto\":1, ...}\na=",
        "a>> \"SAY a\\r\\nSAY b\\r\\n\"\na<< \"a\\r\\nb\"\na<< \"\\r\\n\"\na=",
        "a> SAY bye\na> BYE\na< bye\na. closed",
        "~ 60ms\na=\n~ 60ms\na< PING\na=",
        "a=\nb> TELL 0 hello\nb=\na< hello\na=",
        "a/",
    ];
    for text in texts {
        assert_eq!(played(text), Ok(()), "{text}");
    }
}

#[test]
fn a_deviation_fails_at_its_line() {
    let texts = [
        ("a> SAY hello\na< hullo\na=", 3),
        ("a> SAY hello\na< hello\na< more\na=", 4),
        ("a> SAY hello\na=", 3),
        ("a< INFO {\"proto\":2, ...}\na=", 2),
        ("a< hello\na=", 2),
        ("a> BYE\na< hello\na=", 3),
        ("a> SAY bye\na> BYE\na. closed", 4),
        ("a> SAY hello\na< hello\na. closed", 4),
        ("~ 60ms\na=\na< PING\na=", 4),
    ];
    for (text, line) in texts {
        let failure = played(text).unwrap_err();
        assert_eq!(failure.line, line, "{text}\n{failure}");
    }
}

#[test]
fn a_failure_reports_expected_and_actual_input() {
    let text = played("a> SAY hello\na< hullo\na=").unwrap_err().to_string();
    assert!(text.starts_with("toy.txt:3: expected \"hullo\\r\\n\""), "{text}");
    assert!(text.contains("a received \"hello\\r\\n\""), "{text}");
}

/// Two clients, and a third one that sends to them.
fn told(telling: &str, expected: &str) -> Result<(), Failure> {
    played(&format!("a=\nb=\nc>> \"{telling}\"\nc=\n{expected}\na=\nb="))
}

const ONE: &str = "a|b< MSG x 1 1\na|b< 1\n";
const ONE_TWO: &str = "a|b< MSG x 1 1\na|b< 1\na|b< MSG x 1 1\na|b< 2\n";

#[test]
fn a_message_for_one_of_two_may_reach_either() {
    for party in [0, 1] {
        let telling = format!("TELL {party} MSG x 1 1\\r\\nTELL {party} 1\\r\\n");
        assert_eq!(told(&telling, ONE), Ok(()), "party {party}");
    }
    let apart = "TELL 1 MSG x 1 1\\r\\nTELL 1 1\\r\\nTELL 0 MSG x 1 1\\r\\nTELL 0 2\\r\\n";
    assert_eq!(told(apart, ONE_TWO), Ok(()));
}

#[test]
fn a_message_for_one_of_two_may_not_reach_both_or_none() {
    let both = "TELL 0 MSG x 1 1\\r\\nTELL 0 1\\r\\nTELL 1 MSG x 1 1\\r\\nTELL 1 1\\r\\n";
    assert!(told(both, ONE).is_err());
    assert!(told("HUSH\\r\\n", ONE).is_err());
}

#[test]
fn items_of_one_client_keep_their_order() {
    let twisted = "TELL 0 MSG x 1 1\\r\\nTELL 0 2\\r\\nTELL 0 MSG x 1 1\\r\\nTELL 0 1\\r\\n";
    assert!(told(twisted, ONE_TWO).unwrap_err().what.contains("too late"));
    let any_order = ONE_TWO.replace("a|b<", "a<+");
    assert_eq!(told(twisted, &any_order), Ok(()));
}

#[test]
fn dialogues_of_equal_setup_share_a_stage_until_one_fails() {
    let good = dialogue("a=");
    let bad = dialogue("a> SAY x\na=");
    let other = dialogue("! max_payload 5\na=");
    let count = |dialogues: &[&Dialogue]| {
        let dialogues: Vec<_> = dialogues.iter().map(|d| (*d).clone()).collect();
        let mut stages = 0;
        let failures = play_all(&dialogues, |_| {
            stages += 1;
            Ok(Box::new(Toy::default()))
        });
        (stages, failures.len())
    };
    assert_eq!(count(&[&good, &other, &good, &good]), (2, 0));
    assert_eq!(count(&[&good, &bad, &good]), (2, 1));
}

#[test]
fn a_stage_that_cannot_be_set_up_fails_its_dialogues() {
    let failures = play_all(&[dialogue("a="), dialogue("a=")], |_| Err(io::Error::other("gone")));
    assert_eq!(failures.len(), 2);
    assert!(failures[0].what.contains("gone"), "{}", failures[0]);
}
