//! TLS without files, combined with all faults that a test injects.

use async_nats::ConnectOptions;
use broker_net::testing::{Certificates, Fault, TestBroker};

use crate::next;

#[tokio::test]
async fn only_clients_that_trust_the_authority_connect() {
    let certificates = Certificates::new().unwrap();
    let tls = certificates.server().unwrap();
    let broker = TestBroker::builder().tls(tls).start().await.unwrap();
    let connect = |certificates: &Certificates| {
        let config = certificates.client_config().unwrap();
        ConnectOptions::new().tls_client_config(config).connect(broker.url())
    };
    let client = connect(&certificates).await.unwrap();
    let other = Certificates::new().unwrap();
    assert!(connect(&other).await.is_err());

    // Faults are injected above TLS.
    let mut inbox = client.subscribe("x").await.unwrap();
    broker.wait_for_subscription("x").await;
    broker.disturb("x", Fault::lose().once());
    let id = client.server_info().client_id;
    broker.stall_writes(id);
    for text in ["lost", "1", "2"] {
        broker.client().publish("x", text.into()).await.unwrap();
    }
    assert!(broker.stats().pending_bytes > 0);
    broker.resume(id);
    assert_eq!(next(&mut inbox).await.payload, "1");
    assert_eq!(next(&mut inbox).await.payload, "2");
}

#[tokio::test]
async fn a_required_client_certificate_is_presented() {
    let certificates = Certificates::new().unwrap();
    let tls = certificates.server_that_verifies().unwrap();
    let broker = TestBroker::builder().tls(tls).start().await.unwrap();
    let client = certificates.client("ada").unwrap();
    for (config, is_let_in) in
        [(certificates.client_config_of(&client), true), (certificates.client_config(), false)]
    {
        let options = ConnectOptions::new().tls_client_config(config.unwrap());
        assert_eq!(options.connect(broker.url()).await.is_ok(), is_let_in);
    }
}

#[test]
fn debug_output_contains_no_key() {
    let client = Certificates::new().unwrap().client("ada").unwrap();
    let shown = format!("{client:?}");
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains("PRIVATE KEY"), "{shown}");
    assert!(client.key.contains("PRIVATE KEY"));
}
