//! A thousand brokers start and stop without leaving anything behind. Measured in a process of its
//! own, in which no other test starts threads or opens files.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use broker_net::testing::{TestBroker, TestCluster, block_on};

use crate::SOON;

fn run(test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_thousand_brokers_in_one_runtime_leave_nothing() {
    run("leaks::a_thousand_in_one_runtime");
}

#[test]
fn brokers_on_their_own_threads_leave_nothing() {
    run("leaks::many_on_their_own_threads");
}

#[test]
fn clusters_leave_nothing() {
    run("leaks::many_clusters");
}

/// Open files, threads, and bytes of memory.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    threads: usize,
    bytes: usize,
}

fn held() -> Held {
    let count = |path| fs::read_dir(path).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: usize = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    Held { files: count("/proc/self/fd"), threads: count("/proc/self/task"), bytes: kib << 10 }
}

/// Dropping may take a moment.
fn assert_nothing_is_left(before: Held) {
    let deadline = Instant::now() + SOON;
    loop {
        let now = held();
        let is_clean = now.files <= before.files && now.threads <= before.threads;
        if is_clean {
            let grown = now.bytes.saturating_sub(before.bytes);
            // 4 MiB are 4 KiB per broker: less than any connection takes.
            assert!(grown < 4 << 20, "{before:?} {now:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{before:?} {now:?}");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "run by another test, alone"]
fn a_thousand_in_one_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cycles = |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let broker = TestBroker::start().await;
                let tap = broker.tap("x");
                let mut stream = tokio::net::TcpStream::connect(broker.address()).await.unwrap();
                let said = b"CONNECT {}\r\nSUB y 1\r\nPUB x 0\r\n\r\n";
                tokio::io::AsyncWriteExt::write_all(&mut stream, said).await.unwrap();
                tap.next().await;
            }
            // Aborted tasks end.
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    };
    // Fills caches first.
    cycles(200);
    let before = held();
    cycles(1_000);
    assert_nothing_is_left(before);
}

#[test]
#[ignore = "run by another test, alone"]
fn many_on_their_own_threads() {
    let cycles = |count| {
        for at in 0..count {
            let broker = TestBroker::start_blocking();
            let tap = broker.tap("x");
            block_on(broker.client().publish("x", "".into())).unwrap();
            block_on(tap.next());
            // Half of the brokers are stopped, half dropped.
            if at % 2 == 0 {
                block_on(broker.stop());
            }
        }
    };
    // Resources that the process opens once, such as tokio's signal pipe, remain.
    cycles(1);
    let before = held();
    cycles(50);
    // The allocator keeps memory per thread: one arena for each concurrent thread.
    assert_nothing_is_left(Held { bytes: usize::MAX / 2, ..before });
    let before = held();
    cycles(1_000);
    assert_nothing_is_left(Held { files: before.files, ..before });
}

#[test]
#[ignore = "run by another test, alone"]
fn many_clusters() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cycles = |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let mut cluster = TestCluster::start(3).await;
                let mut orders = cluster.client(1).subscribe("orders").await.unwrap();
                cluster.wait_for_interest("orders").await;
                cluster.client(0).publish("orders", "".into()).await.unwrap();
                orders.next().await.unwrap();
                // One is dropped while it is partitioned, with connections that end and others that do not begin.
                cluster.isolate(1);
                cluster.stop(2);
                cluster.restart(2).await.unwrap();
                cluster.cut(&[0], &[2]);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    };
    cycles(20);
    let before = held();
    cycles(100);
    assert_nothing_is_left(before);
}
