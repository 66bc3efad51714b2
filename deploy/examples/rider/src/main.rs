//! One component of the city as a program.
//!
//! ```text
//! rider api 127.0.0.1:8080      takes orders: POST /rides {"kind":"van","at":"Main Street"}
//! rider manager                 finds drivers
//! rider agent van               a driver
//! rider status                  lists all components
//! ```
//!
//! `NATS_URL` names servers of the cluster, separated by commas.

use std::env;
use std::time::Duration;

use rider::{Agent, Component, Manager, Result, api, components};
use tokio::net::TcpListener;

/// Timeout of the drivers' answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time between the answers of two components.
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let servers = env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let servers: Vec<_> = servers.split(',').map(str::to_owned).collect();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["api", address] => {
            let listener = TcpListener::bind(address).await?;
            let component = Component::connect(&servers, "api").await?;
            ready("api");
            Ok(api::serve(listener, component).await?)
        }
        ["manager"] => {
            let component = Component::connect(&servers, "manager").await?;
            let manager = Manager::open(component, PATIENCE).await?;
            ready("manager");
            manager.run().await
        }
        ["agent", kind] => {
            let component = Component::connect(&servers, "agent").await?;
            let agent = Agent::open(component, kind).await?;
            ready("agent");
            agent.run().await
        }
        ["status"] => {
            let client = async_nats::connect(servers).await?;
            for (id, status) in components(&client, PAUSE).await? {
                println!("{id} {} {}", status.role, status.requests);
            }
            Ok(())
        }
        _ => Err("rider api ADDRESS | manager | agent KIND | status".into()),
    }
}

fn ready(role: &str) {
    println!("{role} is ready");
}
