//! Two hundred reloads under load: no message is lost, and no unaffected client is disconnected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::Raw;
use crate::file::File;
use crate::running::Running;

const RELOADS: usize = 200;

/// Messages per second of each of two publishers, and messages per write.
const RATE: u32 = 7_000;
const BURST: u32 = 70;

/// `guest<round>` exists in one round only, the permissions of `changing` differ each time,
/// `steady` stays.
fn content(round: usize) -> String {
    format!(
        "max_payload: {payload}, ping_interval: '{interval}s'
         authorization {{ users: [
           {{ user: steady, password: pw }}
           {{ user: guest{round}, password: pw }}
           {{ user: changing, password: pw, permissions: {{
             publish: ['work.>', 'round.{round}'], subscribe: ['work.>', 'round.{round}']
           }} }}
         ] }}",
        payload = (1 << 20) + round,
        interval = 60 + round,
    )
}

/// Connects and authenticates.
fn join(address: &str, user: &str) -> Raw {
    let mut client = Raw::connect_to(address);
    client.answers_pings = true;
    let connect = format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\n");
    assert_eq!(client.say(&format!("{connect}PING\r\n")), "PONG\r\n", "{user}");
    client
}

/// Publishes numbers at a constant rate until `is_over`, then `end`. Returns their count.
fn publish(mut client: Raw, subject: &str, is_over: &AtomicBool) -> u32 {
    let start = Instant::now();
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut burst = String::new();
        for _ in 0..BURST {
            let number = sent.to_string();
            burst += &format!("PUB {subject} {}\r\n{number}\r\n", number.len());
            sent += 1;
        }
        client.send(&burst);
        // Keeps the rate; does not wait for an event.
        let next = start + Duration::from_secs(1) * sent / RATE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let end = format!("PUB {subject} 3\r\nend\r\nPING\r\n");
    assert_eq!(client.say(&end), "PONG\r\n", "publisher to {subject}");
    sent
}

/// Stops the publishers even if the test fails, which would otherwise wait for them.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts the numbers received in order and without a gap before `end`.
fn receive(mut client: Raw) -> u32 {
    let mut received: u32 = 0;
    loop {
        let line = client.line();
        assert!(line.starts_with("MSG work."), "{line:?} after {received} messages");
        let payload = client.line();
        if payload == "end\r\n" {
            return received;
        }
        assert_eq!(payload.trim_end(), received.to_string());
        received += 1;
    }
}

#[test]
fn no_message_is_lost_and_no_unaffected_client_is_closed() {
    let file = File::new(&content(0));
    let mut natsd = Running::start(&["-c", file.path()]);
    let line = natsd.line("Listening for client connections on ");
    let address = line.rsplit(' ').next().unwrap();
    natsd.line("Server is ready");

    let is_over = &AtomicBool::new(false);
    let (mut idle, mut changing) = (join(address, "steady"), join(address, "changing"));
    let work = thread::scope(|scope| {
        let streams = [("steady", "changing"), ("changing", "steady")].map(|(from, to)| {
            let (publisher, mut subscriber) = (join(address, from), join(address, to));
            let subject = format!("work.{from}");
            assert_eq!(subscriber.say(&format!("SUB {subject} 1\r\nPING\r\n")), "PONG\r\n");
            let sending = scope.spawn(move || publish(publisher, &subject, is_over));
            (sending, scope.spawn(move || receive(subscriber)))
        });
        let over = Over(is_over);
        let mut guest = join(address, "guest0");
        let start = Instant::now();
        for round in 1..=RELOADS {
            assert_eq!(changing.say(&format!("SUB round.{} 7\r\nPING\r\n", round - 1)), "PONG\r\n");
            file.write(&content(round));
            natsd.signal("HUP");
            natsd.line("Reloaded server configuration");
            let revoked = format!(
                "-ERR 'Permissions Violation for Subscription to \"round.{}\" (sid \"7\")'\r\n",
                round - 1
            );
            assert_eq!(changing.line(), revoked, "the change applies after the reload");
            assert_eq!(guest.line(), "", "the removed user is closed");
            guest = join(address, &format!("guest{round}"));
        }
        let took = start.elapsed();
        drop(over);
        for (sending, receiving) in streams {
            let (sent, received) = (sending.join().unwrap(), receiving.join().unwrap());
            assert_eq!(received, sent);
            // A tenth of the rate suffices on a busy machine.
            let least = took.as_secs_f64() * f64::from(RATE) / 10.0;
            assert!(f64::from(sent) > least, "{sent} messages in {took:?}");
        }
        took
    });
    assert_eq!(idle.say("PING\r\n"), "PONG\r\n");
    assert!(work < Duration::from_secs(60), "{work:?}");
    drop(natsd);
}
