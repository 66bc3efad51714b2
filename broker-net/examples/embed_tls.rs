//! A TLS server with a generated certificate, and a client that trusts it.

use broker_net::{Server, TlsOptions};
use futures_util::StreamExt;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());

    let tls = TlsOptions::new(certificate.clone().into_bytes(), key.into_bytes());
    let server = Server::builder().tls(tls).bind().await?;

    // For async-nats: if rustls is built with two cryptography providers, a program that uses the
    // default provider must install one. The server never needs that.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();

    // async-nats reads trusted certificates from a file.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate)?;
    let options = async_nats::ConnectOptions::new().add_root_certificates(file);
    let client = options.connect(server.url()).await?;

    let mut orders = client.subscribe("orders.*").await?;
    client.publish("orders.eu", "one".into()).await?;
    let order = orders.next().await.ok_or("closed")?;
    assert_eq!(order.payload, "one");
    println!("one order, sent encrypted");
    Ok(())
}
