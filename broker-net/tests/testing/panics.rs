//! The output of a failing test. The first test runs the others in processes of their own.

use std::process::Command;

use broker_net::testing::TestBroker;

/// Runs one of the failing tests below and returns its output.
fn run(test: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_panicking_test_prints_the_last_protocol_lines() {
    let shown = run("panics::fails");
    assert!(shown.contains("The last lines of the test broker:\n"), "{shown}");
    assert!(shown.contains("<<- [PUB orders.eu 3]\n"), "{shown}");
    assert!(shown.contains("a message to orders.us was expected, none came"), "{shown}");
}

#[tokio::test]
#[ignore = "fails, for another test to see its output"]
async fn fails() {
    let broker = TestBroker::start().await;
    let tap = broker.tap("orders.us");
    broker.client().publish("orders.eu", "one".into()).await.unwrap();
    tap.next().within(std::time::Duration::from_millis(1)).await;
}
