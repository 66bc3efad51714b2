//! The cost of a full mesh as it grows. Prints a table:
//!
//! `cargo test --release -p broker-core --all-features --test cluster growth -- --ignored --nocapture`
//!
//! `SERVERS=3,10,50` chooses the sizes.

use std::time::{Duration, Instant};

use broker_core::Subscriber;
use futures_executor::block_on;

use super::mesh::{Mesh, options};

/// The subscriptions of each server, to subjects of its own.
const SUBSCRIPTIONS: usize = 1_000;

/// The resident memory of the process, in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// The traffic between the servers since the last call.
fn passed(mesh: &mut Mesh) -> (u64, u64) {
    let network = &mut mesh.network;
    (std::mem::take(&mut network.infos), std::mem::take(&mut network.bytes))
}

fn complete(mesh: &mut Mesh, count: usize) -> Duration {
    let mut waited = Duration::ZERO;
    while (0..count).any(|node| mesh.routes(node) != (count - 1) * 4) {
        assert!(waited < Duration::from_secs(120), "{} routes", mesh.routes(0));
        mesh.pass(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
    waited
}

fn measure(count: usize) {
    let begin = (Instant::now(), memory());
    // All but the first know the first one only: the others are reported to them.
    let all =
        |count: usize| (0..count).map(|node| options(node, if node > 0 { &[0] } else { &[] }));
    let mut mesh = Mesh::start(all(count - 1).collect());
    let time = complete(&mut mesh, count - 1);
    let start = passed(&mut mesh);
    let joining = all(count).next_back().unwrap();
    mesh.add(joining);
    complete(&mut mesh, count);
    let join = passed(&mut mesh);
    let routes_memory = memory().saturating_sub(begin.1);
    mesh.pass(Duration::from_secs(30));
    passed(&mut mesh);
    mesh.pass(Duration::from_secs(30));
    let idle = passed(&mut mesh).1 / 30 / count as u64;
    let before = memory();
    let mut held: Vec<Subscriber> = Vec::new();
    for node in 0..count {
        let client = mesh.nodes[node].broker.client();
        for number in 0..SUBSCRIPTIONS {
            held.push(block_on(client.subscribe(&format!("orders.n{node}.{number}"))).unwrap());
        }
    }
    mesh.settle();
    let interest = passed(&mut mesh).1;
    let interest_memory = memory().saturating_sub(before);
    let all = (count * SUBSCRIPTIONS) as u64;
    let one = block_on(mesh.nodes[0].broker.client().subscribe("one.more")).unwrap();
    mesh.settle();
    let (_, last) = passed(&mut mesh);
    drop(one);
    println!(
        "| {count} | {} | {} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {last} | {:.0} s |",
        mesh.routes(0),
        mesh.connection_count(),
        time.as_secs_f64(),
        start.0,
        start.1 >> 10,
        join.0,
        join.1 >> 10,
        idle,
        routes_memory / mesh.connection_count() as u64 / 2 / 1024,
        interest / all,
        interest_memory / all / count as u64,
        begin.0.elapsed().as_secs_f64(),
    );
}

#[test]
#[ignore = "prints a table, for docs/scaling.md"]
fn growth() {
    println!(
        "| servers | routes of one | connections | complete after s | INFO at start | KiB at start | INFO of one more | \
         KiB of one more | idle B/s of one | KiB of one end of a route | B sent per subscription | B held per \
         subscription and server | B of a new subscription | measured in |"
    );
    let sizes = std::env::var("SERVERS").unwrap_or_else(|_| "3,10,50".into());
    sizes.split(',').for_each(|size| measure(size.parse().unwrap()));
}
