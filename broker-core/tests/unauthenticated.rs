//! Nothing but INFO, PONG and `-ERR` leaves before a client is let in, in whatever state its login is.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::auth::{
    Answer, Authenticator, Credentials, Decision, Denied, Grant, Nonce, Pending, Question,
};
use broker_core::session::client::Arrival;
use broker_core::{Subject, Subscriber};
use common::{Party, World};
use futures_executor::block_on;
use proptest::prelude::*;

/// The way in which an authenticator decides about clients that are not `right`.
#[derive(Clone, Copy, Debug)]
enum Mode {
    AtOnce,
    ByComputation,
    ByComputationThenQuestion,
    ByAnswer,
    ByComputationThenAnswer,
    ByQuestion,
}

const MODES: [Mode; 6] = [
    Mode::AtOnce,
    Mode::ByComputation,
    Mode::ByComputationThenQuestion,
    Mode::ByAnswer,
    Mode::ByComputationThenAnswer,
    Mode::ByQuestion,
];

/// Admits clients that know the password. It requires a nonce.
#[derive(Clone)]
struct Door {
    mode: Mode,
    /// The questions to a program, which has not answered yet.
    open: Arc<Mutex<Vec<Answer>>>,
}

const TIMEOUT: Duration = Duration::from_millis(700);

impl Door {
    fn pending(open: &Mutex<Vec<Answer>>) -> Decision {
        let (pending, answer) = Pending::new(TIMEOUT);
        open.lock().unwrap().push(answer);
        pending.into()
    }

    fn question() -> Decision {
        let subject = Subject::parse("may.login").unwrap();
        let question = Question::new("$G", subject, Vec::new()).with_timeout(TIMEOUT);
        question.judged_by(|_, _| Err(Denied::Credentials)).into()
    }
}

impl Authenticator for Door {
    fn is_required(&self) -> bool {
        true
    }

    fn nonce_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        if credentials.user == "right" {
            return Grant::user("right").into();
        }
        let computed = || Decision::compute(|| Ok(Grant::user("nobody")));
        let open = Arc::clone(&self.open);
        match self.mode {
            Mode::AtOnce => Denied::Credentials.into(),
            Mode::ByComputation => Decision::compute(|| Err(Denied::Credentials)),
            Mode::ByComputationThenQuestion => computed().and_then(|_| Self::question()),
            Mode::ByAnswer => Self::pending(&open),
            Mode::ByComputationThenAnswer => computed().and_then(move |_| Self::pending(&open)),
            Mode::ByQuestion => Self::question(),
        }
    }
}

/// The next event.
#[derive(Clone, Debug)]
enum Step {
    /// The client sends a whole operation.
    Sends(&'static str),
    /// It sends these bytes.
    SendsBytes(Vec<u8>),
    /// Time passes.
    Waits(u64),
    /// The program answers a question, or gives it up.
    Denies,
    GivesUp,
    /// The service answers a question.
    Answers(bool),
    /// The options and the authenticator are replaced.
    Reloads(usize),
    /// Another client publishes to all.
    OtherPublishes,
    LameDuck,
}

const OPERATIONS: [&str; 18] = [
    "PING\r\n",
    "PONG\r\n",
    "+OK\r\n",
    "-ERR 'x'\r\n",
    "INFO {}\r\n",
    "SUB > 1\r\n",
    "SUB > q 2\r\n",
    "UNSUB 1\r\n",
    "PUB secret 1\r\nx\r\n",
    "PUB secret in 1\r\nx\r\n",
    "HPUB secret 39 40\r\nNATS/1.0\r\nNats-Trace-Dest: traces\r\n\r\nx\r\n",
    "CONNECT {}\r\n",
    "CONNECT {\"verbose\":true,\"pedantic\":true,\"user\":\"wrong\",\"pass\":\"x\"}\r\n",
    "CONNECT {\"verbose\":true,\"headers\":true,\"no_responders\":true,\"user\":\"wrong\",\"protocol\":1}\r\n",
    "CONNECT {\"user\":\"wrong\",\"nkey\":\"UA\",\"sig\":\"x\",\"jwt\":\"y\",\"auth_token\":\"z\"}\r\n",
    "CONNECT {\"user\":\"wrong\"}\r\nPING\r\nSUB > 1\r\nPUB secret 1\r\nx\r\n",
    "CONNECT {\"user\":\"wrong\",\"account\":\"$SYS\",\"new_account\":true}\r\n",
    "CONNECT {\"user\":[]}\r\n",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..OPERATIONS.len()).prop_map(|at| Step::Sends(OPERATIONS[at])),
        2 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::SendsBytes),
        2 => ((0..OPERATIONS.len()), 0..30_usize).prop_map(|(at, end)| {
            Step::SendsBytes(OPERATIONS[at].bytes().take(end).collect())
        }),
        3 => (0..1500_u64).prop_map(Step::Waits),
        1 => Just(Step::Denies),
        1 => Just(Step::GivesUp),
        2 => any::<bool>().prop_map(Step::Answers),
        1 => (0..MODES.len()).prop_map(Step::Reloads),
        2 => Just(Step::OtherPublishes),
        1 => Just(Step::LameDuck),
    ]
}

struct Scene {
    world: World,
    door: Door,
    party: Party,
    /// A client that is let in, the only one.
    service: Party,
    all: Subscriber,
}

impl Scene {
    fn new(mode: Mode, max_payload_bytes: usize) -> Self {
        let door = Door { mode, open: Arc::default() };
        let mut world = World::with_auth(door.clone());
        world.broker.update_options(|options| {
            options.limits.max_payload_bytes = max_payload_bytes;
            options.trace = true;
        });
        let service = world.join_as("CONNECT {\"verbose\":false,\"user\":\"right\"}\r\n");
        let all = block_on(world.broker.client().subscribe("secret")).unwrap();
        let nonce = Some(Nonce::from_random([7; Nonce::BYTES]));
        let party = world.arrive_by(Arrival { nonce, ..Arrival::default() });
        let mut scene = Self { world, door, party, service, all };
        scene.world.send(&mut scene.service, "SUB may.login 1\r\n");
        scene
    }

    fn run(&mut self, step: &Step) {
        let Self { world, door, party, service, .. } = self;
        match step {
            Step::Sends(text) => world.send(party, text),
            Step::SendsBytes(bytes) => world.send(party, bytes),
            Step::Waits(millis) => world.wait(party, Duration::from_millis(*millis)),
            Step::Denies => {
                let answer = door.open.lock().unwrap().pop();
                answer.into_iter().for_each(|answer| answer.decide(Err(Denied::Credentials)));
            }
            Step::GivesUp => drop(door.open.lock().unwrap().pop()),
            Step::Answers(is_yes) => {
                // MSG may.login 1 REPLY …
                let asked = service.read();
                let reply = asked.lines().rev().find_map(|line| line.split(' ').nth(3));
                if let Some(reply) = reply.filter(|reply| !reply.is_empty()) {
                    let text = if *is_yes { "yes" } else { "" };
                    world.send(service, format!("PUB {reply} {}\r\n{text}\r\n", text.len()));
                }
            }
            Step::Reloads(mode) => {
                door.mode = MODES[*mode];
                drop(world.broker.set_authenticator(door.clone()));
            }
            Step::OtherPublishes => {
                let client = world.broker.client();
                for subject in ["x", "secret.not", "_INBOX.x"] {
                    block_on(client.publish(subject, "for others".into())).unwrap();
                }
            }
            Step::LameDuck => drop(world.broker.announce_end()),
        }
        world.settle(party);
        // The rest of its input.
        world.send(party, "");
    }

    fn check(&mut self) {
        let said = self.party.read();
        for line in said.split_inclusive("\r\n") {
            let is_allowed = line.ends_with("\r\n")
                && (line.starts_with("INFO {") || line.starts_with("-ERR '") || line == "PONG\r\n");
            assert!(is_allowed, "{line:?} in {said:?}");
            assert!(!line.contains("for others") && !line.contains("+OK"), "{line:?}");
        }
        assert!(self.party.session.is_unauthenticated() || self.party.closing().is_some());
        assert!(self.all.try_next().is_none(), "an unauthenticated client has published");
        // Those of the two others, and that of the broker for the answers of the service.
        let subscriptions = self.world.broker.stats().subscriptions;
        assert!(subscriptions <= 3, "an unauthenticated client has subscribed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn nothing_but_info_pong_and_errors_leaves_before_a_client_is_let_in(
        mode in 0..MODES.len(),
        max_payload in prop_oneof![Just(1 << 20), Just(0_usize)],
        steps in proptest::collection::vec(step(), 0..14),
    ) {
        let mut scene = Scene::new(MODES[mode], max_payload.max(64));
        scene.check();
        for step in &steps {
            scene.run(step);
            scene.check();
            if scene.party.closing().is_some() {
                break;
            }
        }
    }
}

/// The check above can fail: who is let in gets more.
#[test]
fn a_client_that_is_let_in_gets_messages() {
    let mut scene = Scene::new(Mode::ByAnswer, 1 << 20);
    scene.check();
    let connect = "CONNECT {\"verbose\":true,\"user\":\"right\"}\r\nSUB x 1\r\n";
    scene.world.send(&mut scene.party, connect);
    scene.run(&Step::OtherPublishes);
    let said = scene.party.read();
    assert!(said.starts_with("+OK\r\n") && said.contains("MSG x 1 10\r\nfor others"), "{said}");
}
