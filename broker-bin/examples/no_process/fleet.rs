//! The clients of a fleet while their server is switched from a token to users, and back, by
//! restarts: each client must reconnect by itself.
//!
//! The original test (of a fleet's shared client) writes configurations into a folder, kills and
//! starts nats-server at a port that was free a moment ago, and polls every 20 ms for it. It runs
//! on demand only, and is skipped without nats-server.

use std::time::Duration;

use async_nats::{Auth, Client, ConnectOptions};
use futures_util::StreamExt;

use super::Result;
use super::server::Server;

pub(super) const TOKEN: &str = "authorization { token: fleet }";

const USERS: &str = r#"
    authorization {
      users: [
        { user: agent, password: pw-agent }
        { user: backend, password: pw-backend }
        { user: cli, password: pw-cli }
      ]
    }
"#;

const ROLES: [&str; 3] = ["agent", "backend", "cli"];

/// Time in which all clients must have reconnected.
const BOUND: Duration = Duration::from_secs(10);

/// The code under test: presents all of its credentials, since it does not know which kind the
/// server requires.
async fn connect(role: &'static str, url: &str) -> Result<Client> {
    let credentials = move |_nonce| {
        let mut auth = Auth::new();
        auth.token = Some("fleet".into());
        auth.username = Some(role.into());
        auth.password = Some(format!("pw-{role}"));
        std::future::ready(Ok(auth))
    };
    let options = ConnectOptions::with_auth_callback(credentials).name(role);
    Ok(options.reconnect_delay_callback(|_| Duration::from_millis(1)).connect(url).await?)
}

pub(super) async fn test(mut server: Server) -> Result<&'static str> {
    let mut fleet = Vec::new();
    for role in ROLES {
        let client = connect(role, &server.url()).await?;
        let inbox = client.subscribe(format!("fleet.{role}")).await?;
        fleet.push((role, client, inbox));
    }
    for config in [None, Some(USERS), Some(TOKEN)] {
        if let Some(config) = config {
            server.restart_with(config).await?;
        }
        for (role, client, inbox) in &mut fleet {
            let subject = format!("fleet.{role}");
            server.wait_for_subscription(&subject, Duration::ZERO).await;
            let talking = async {
                loop {
                    client.publish(subject.clone(), "round trip".into()).await?;
                    if tokio::time::timeout(Duration::from_millis(50), inbox.next()).await.is_ok() {
                        return Ok::<_, async_nats::PublishError>(());
                    }
                }
            };
            tokio::time::timeout(BOUND, talking).await??;
        }
    }
    Ok(server.way())
}
