//! A chat channel over NATS: forwards outgoing messages and delivers incoming ones.
//!
//! The original test (of a channel plug-in) starts nats-server at port 4223, sleeps a second, and
//! tests only sending, because it could not observe what arrives.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;

use super::Result;
use super::server::Server;

pub(super) const CONFIG: &str = "authorization { user: plugin, password: pw }";

const IN: &str = "chat.in.router";
const OUT: &str = "chat.out.router";

/// The code under test.
struct Channel {
    client: Client,
    incoming: Subscriber,
}

impl Channel {
    async fn start(url: &str) -> Result<Self> {
        let options =
            async_nats::ConnectOptions::with_user_and_password("plugin".into(), "pw".into());
        let client = options.name("channel").connect(url).await?;
        let incoming = client.subscribe(IN).await?;
        Ok(Self { client, incoming })
    }

    async fn send(&self, text: &str) -> Result<()> {
        Ok(self.client.publish(OUT, text.to_owned().into()).await?)
    }

    async fn next(&mut self) -> Option<String> {
        let message = self.incoming.next().await?;
        Some(String::from_utf8_lossy(&message.payload).into_owned())
    }
}

pub(super) async fn test(server: Server) -> Result<&'static str> {
    let mut channel = Channel::start(&server.url()).await?;
    server.wait_for_subscription(IN, Duration::ZERO).await;
    match &server {
        Server::Ours(natsd) => {
            let sent = natsd.tap(OUT);
            channel.send("hello").await?;
            assert_eq!(sent.next().await.payload, "hello");
            natsd.client().publish(IN, "how are you?".into()).await?;
            assert_eq!(channel.next().await.as_deref(), Some("how are you?"));
        }
        Server::Theirs(_) => channel.send("hello").await?,
    }
    Ok(server.way())
}
