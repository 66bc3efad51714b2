//! Plays a dialogue on a stage.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use std::{io, slice};

use crate::dialogue::{Act, Dialogue, Expected, Party, Step};
use crate::failure::Failure;
use crate::setup::Setup;
use crate::stage::{Arrival, Entrance, Line, Stage};
use crate::text::show;

/// Time to wait for one of several clients before checking the next.
const GLANCE: Duration = Duration::from_millis(2);

/// Plays one dialogue on a stage with the required setup. Its connections stay open.
///
/// # Errors
/// The first step that failed.
pub fn play(dialogue: &Dialogue, stage: &mut dyn Stage) -> Result<(), Failure> {
    let mut cast = Cast { stage, setup: &dialogue.setup, seats: HashMap::new() };
    for Step { line, act } in &dialogue.steps {
        if let Err(what) = cast.act(act) {
            let notes = cast.stage.notes();
            return Err(Failure { dialogue: dialogue.name.clone(), line: *line, what, notes });
        }
    }
    Ok(())
}

/// Plays dialogues, grouping those with equal setups on one stage that `set` makes, and returns the
/// failed ones.
pub fn play_all(
    dialogues: &[Dialogue],
    mut set: impl FnMut(&Setup) -> io::Result<Box<dyn Stage>>,
) -> Vec<Failure> {
    let mut groups: Vec<(&Setup, Vec<&Dialogue>)> = Vec::new();
    for dialogue in dialogues {
        match groups.iter_mut().find(|(setup, _)| **setup == dialogue.setup) {
            Some((_, group)) => group.push(dialogue),
            None => groups.push((&dialogue.setup, vec![dialogue])),
        }
    }
    let mut failures = Vec::new();
    for (setup, group) in groups {
        let mut stage: Option<Box<dyn Stage>> = None;
        for dialogue in group {
            if let Err(failure) = play_next(dialogue, &mut stage, || set(setup)) {
                failures.push(failure);
                // A failed dialogue must not affect the next one.
                stage = None;
            }
        }
    }
    failures
}

fn play_next(
    dialogue: &Dialogue,
    slot: &mut Option<Box<dyn Stage>>,
    set: impl FnOnce() -> io::Result<Box<dyn Stage>>,
) -> Result<(), Failure> {
    let failure = |what: &str, error: io::Error| Failure {
        dialogue: dialogue.name.clone(),
        line: 0,
        what: format!("{what}: {error}"),
        notes: String::new(),
    };
    let stage = match slot {
        Some(stage) => stage,
        None => slot.insert(set().map_err(|e| failure("no server", e))?),
    };
    play(dialogue, stage.as_mut())?;
    if dialogue.setup.cluster.as_ref().is_some_and(|cluster| cluster.dials) {
        // The server dials until it is stopped.
        *slot = None;
        return Ok(());
    }
    stage.clear().map_err(|e| failure("clearing the stage", e))
}

/// A client's connection, and its input not yet expected.
struct Seat {
    line: Line,
    entrance: Entrance,
    /// The `server_id` of the last INFO.
    server_id: String,
    inbox: Vec<u8>,
    closed: bool,
}

/// Sent by servers on routes at any time, to measure their RTT.
const PING: &[u8] = b"PING\r\n";

struct Cast<'a> {
    stage: &'a mut dyn Stage,
    setup: &'a Setup,
    seats: HashMap<Party, Seat>,
}

impl Cast<'_> {
    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Send(party, bytes) => self.send(party, bytes),
            Act::Expect(party, Expected::Bytes(bytes)) => self.expect(party, bytes),
            Act::Expect(party, Expected::Info(pattern)) => {
                self.enter(party)?;
                let line = self.line(party)?;
                let checked = match party.entrance(self.setup) {
                    Entrance::Clients => pattern.check(&line),
                    Entrance::Routes | Entrance::Dialled => pattern.check_on_route(&line),
                };
                checked.map_err(|what| format!("{what}\n  in {}", show(&line)))
            }
            Act::Expect(party, Expected::Connect(pattern)) => {
                self.enter(party)?;
                let line = self.line(party)?;
                let checked = pattern.check_connect(&line);
                checked.map_err(|what| format!("{what}\n  in {}", show(&line)))
            }
            Act::Deal { parties, items, in_order } => self.deal(parties, items, *in_order),
            Act::Quiet(party) => {
                self.send(party, b"PING\r\n")?;
                self.expect(party, b"PONG\r\n")
                    .map_err(|what| format!("asked by PING whether nothing more arrives: {what}"))
            }
            Act::Closed(party) => self.closed(party),
            Act::HangUp(party) => {
                let line = self.seat(party)?.line;
                self.stage.hang_up(line).map_err(|e| e.to_string())
            }
            Act::Pass(time) => self.stage.pass(*time).map_err(|e| e.to_string()),
        }
    }

    fn send(&mut self, party: &Party, bytes: &[u8]) -> Result<(), String> {
        let port = self.stage.dialled_port();
        let seat = self.seat(party)?;
        let line = seat.line;
        let bytes = match seat.entrance {
            Entrance::Clients => bytes.to_vec(),
            Entrance::Routes | Entrance::Dialled => filled(bytes, &seat.server_id, port),
        };
        self.stage.send(line, &bytes).map_err(|e| format!("{party} cannot send: {e}"))
    }

    fn expect(&mut self, party: &Party, bytes: &[u8]) -> Result<(), String> {
        self.seat(party)?;
        self.deal(slice::from_ref(party), &[bytes.to_vec()], true)
    }

    /// Takes each of `items` from the front of what one of the clients received, as they arrive.
    fn deal(&mut self, parties: &[Party], items: &[Vec<u8>], in_order: bool) -> Result<(), String> {
        let deadline = Instant::now() + self.stage.patience();
        let mut left: Vec<_> = items.iter().enumerate().collect();
        let mut latest = HashMap::new();
        while !left.is_empty() {
            if let Some((party, index)) = self.take(parties, &mut left)? {
                let before = latest.insert(party, index);
                if in_order && before.is_some_and(|before| before > index) {
                    return Err(format!("{party} received {} too late", show(&items[index])));
                }
                continue;
            }
            let patience = self.stage.patience();
            let patience = if parties.len() == 1 { patience } else { patience.min(GLANCE) };
            let mut news = false;
            let mut open = false;
            for party in parties {
                let arrival = self.listen(party, patience)?;
                news |= arrival == Arrival::Bytes && !self.has_only_pings(party, deadline);
                open |= arrival != Arrival::Closed;
            }
            let may_come = open && parties.len() > 1 && Instant::now() < deadline;
            if !news && !may_come {
                let end = if open { "no more came" } else { "then the connection was closed" };
                return Err(self.disappointed(parties, &left, end));
            }
        }
        Ok(())
    }

    /// Takes the first item with which some client's inbox begins. An inbox that cannot begin with
    /// any is an error.
    fn take<'p>(
        &mut self,
        parties: &'p [Party],
        left: &mut Vec<(usize, &Vec<u8>)>,
    ) -> Result<Option<(&'p Party, usize)>, String> {
        for party in parties {
            self.seat(party)?;
            if !left.iter().any(|(_, item)| item.starts_with(PING)) {
                self.answer_pings(party)?;
            }
            let inbox = &mut self.seat(party)?.inbox;
            if let Some(found) = left.iter().position(|(_, item)| inbox.starts_with(item)) {
                let (index, item) = left.remove(found);
                inbox.drain(..item.len());
                return Ok(Some((party, index)));
            }
            if !left.iter().any(|(_, item)| item.starts_with(inbox)) {
                return Err(self.disappointed(
                    slice::from_ref(party),
                    left,
                    "that is something else",
                ));
            }
        }
        Ok(None)
    }

    fn disappointed(&self, parties: &[Party], left: &[(usize, &Vec<u8>)], end: &str) -> String {
        let items: Vec<_> = left.iter().map(|(_, item)| show(item)).collect();
        let mut text = format!("expected {} ({end})", items.join("\n      or "));
        for party in parties {
            let inbox = self.seats.get(party).map_or(&[][..], |seat| &seat.inbox);
            text += &format!("\n  {party} received {}", show(inbox));
        }
        text
    }

    fn closed(&mut self, party: &Party) -> Result<(), String> {
        self.seat(party)?;
        let mut arrival = self.listen(party, self.stage.patience())?;
        while arrival == Arrival::Bytes && self.answer_pings(party)? {
            arrival = self.listen(party, self.stage.patience())?;
        }
        let inbox = &self.seat(party)?.inbox;
        match arrival {
            _ if !inbox.is_empty() => {
                Err(format!("{party} should be closed, but received {}", show(inbox)))
            }
            Arrival::Closed => Ok(()),
            Arrival::Bytes | Arrival::Nothing => {
                Err(format!("{party} should be closed, but is open"))
            }
        }
    }

    /// Returns the next line that the client received, CRLF included.
    fn line(&mut self, party: &Party) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + self.stage.patience();
        loop {
            self.answer_pings(party)?;
            let inbox = &mut self.seats.get_mut(party).ok_or("no such party")?.inbox;
            if let Some(end) = inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = inbox.drain(..end + 2).collect();
                self.learn(party, &line);
                return Ok(line);
            }
            let arrival = self.listen(party, self.stage.patience())?;
            if arrival != Arrival::Bytes || self.has_only_pings(party, deadline) {
                let inbox = &self.seats[party].inbox;
                return Err(format!("{party} expected a line, received {}", show(inbox)));
            }
        }
    }

    /// Remembers the identity of a server.
    fn learn(&mut self, party: &Party, line: &[u8]) {
        let json = line.strip_prefix(b"INFO ").unwrap_or_default();
        let info = serde_json::from_slice::<serde_json::Value>(json).unwrap_or_default();
        if let (Some(seat), Some(id)) = (self.seats.get_mut(party), info["server_id"].as_str()) {
            id.clone_into(&mut seat.server_id);
        }
    }

    fn listen(&mut self, party: &Party, patience: Duration) -> Result<Arrival, String> {
        let seat = self.seats.get_mut(party).ok_or("no such party")?;
        if seat.closed {
            return Ok(Arrival::Closed);
        }
        let arrival = self
            .stage
            .receive(seat.line, &mut seat.inbox, patience)
            .map_err(|e| format!("{party} cannot receive: {e}"))?;
        seat.closed = arrival == Arrival::Closed;
        Ok(arrival)
    }

    /// Returns the client's seat; a new client connects, and its INFO is skipped.
    fn seat(&mut self, party: &Party) -> Result<&mut Seat, String> {
        if self.enter(party)? && party.entrance(self.setup) != Entrance::Dialled {
            let greeting = self.line(party)?;
            if !greeting.starts_with(b"INFO {") {
                return Err(format!("{party} expected INFO first, received {}", show(&greeting)));
            }
        }
        self.seats.get_mut(party).ok_or_else(|| "no such party".into())
    }

    /// Connects the client; returns true if it is new.
    fn enter(&mut self, party: &Party) -> Result<bool, String> {
        if self.seats.contains_key(party) {
            return Ok(false);
        }
        let entrance = party.entrance(self.setup);
        let line = self.stage.enter(entrance);
        let line = line.map_err(|e| format!("{party} cannot connect: {e}"))?;
        let (server_id, inbox) = (String::new(), Vec::new());
        self.seats.insert(party.clone(), Seat { line, entrance, server_id, inbox, closed: false });
        Ok(true)
    }

    /// Returns true if a route still has received nothing but PINGs when its time is over: they come again and again.
    fn has_only_pings(&self, party: &Party, deadline: Instant) -> bool {
        let seat = self.seats.get(party).filter(|seat| seat.entrance != Entrance::Clients);
        seat.is_some_and(|seat| seat.inbox.chunks(PING.len()).all(|one| one == PING))
            && Instant::now() > deadline
    }

    /// Answers PINGs at the front of what a route received. Returns true if there were any.
    fn answer_pings(&mut self, party: &Party) -> Result<bool, String> {
        let seat = self.seats.get_mut(party).ok_or("no such party")?;
        let mut came = false;
        while seat.entrance != Entrance::Clients && seat.inbox.starts_with(PING) {
            seat.inbox.drain(..PING.len());
            self.stage.send(seat.line, b"PONG\r\n").map_err(|e| e.to_string())?;
            came = true;
        }
        Ok(came)
    }
}

/// Returns what a route sends, with `${server_id}` and `${port}` filled in.
fn filled(bytes: &[u8], server_id: &str, port: Option<u16>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    let port = port.unwrap_or_default().to_string();
    text.replace("${server_id}", server_id).replace("${port}", &port).into_bytes()
}
