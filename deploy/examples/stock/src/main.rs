//! `stock ITEM=COUNT…` serves until Ctrl-C. `NATS_URL` names the servers, separated by commas.

use std::env;

use stock::{Items, Stock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), async_nats::Error> {
    let mut items = Items::new();
    for argument in env::args().skip(1) {
        let (item, count) = argument.split_once('=').ok_or("an item is ITEM=COUNT")?;
        items.insert(item.to_owned(), count.parse()?);
    }
    let servers = env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let servers: Vec<_> = servers.split(',').collect();
    let client = async_nats::ConnectOptions::new().name("stock").connect(servers).await?;
    let service = Stock::open(client.clone(), items).await?;
    client.flush().await?;
    println!("stock is ready");
    let interrupted = async {
        // Without a handler for Ctrl-C it ends the process at once.
        let _ = tokio::signal::ctrl_c().await;
    };
    service.serve(interrupted).await
}
