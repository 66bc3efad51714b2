//! Tasks for an agent, as JSON-RPC over NATS: clients with the right token get a result, others an
//! error.
//!
//! The original test (of an agent-to-agent transport) starts nats-server at a port that it hopes is
//! free, sleeps 300 ms for the server, and 200 ms for the subscription.

use std::time::Duration;

use async_nats::{Client, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::Result;
use super::server::Server;

pub(super) const CONFIG: &str = "";

const SUBJECT: &str = "agent.v1.tasks.send";

/// The code under test: runs at most ten tasks at a time.
async fn serve(client: Client) -> Result<()> {
    let tasks = client.queue_subscribe(SUBJECT, "agents".into()).await?;
    let client = &client;
    tasks.for_each_concurrent(10, async |task| drop(answer(client, task).await)).await;
    Ok(())
}

async fn answer(client: &Client, task: Message) -> Result<()> {
    let request: Value = serde_json::from_slice(&task.payload)?;
    let id = &request["id"];
    let answer = if request["params"]["token"] == "valid" {
        json!({"jsonrpc": "2.0", "id": id, "result": {"echo": request}})
    } else {
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32001, "message": "who are you?"}})
    };
    let reply = task.reply.ok_or("no reply subject")?;
    Ok(client.publish(reply, answer.to_string().into()).await?)
}

pub(super) async fn test(server: Server) -> Result<&'static str> {
    let client = async_nats::connect(server.url()).await?;
    let serving = tokio::spawn(serve(client.clone()));
    server.wait_for_subscription(SUBJECT, Duration::from_millis(200)).await;

    for (token, expected) in [("valid", "result"), ("forged", "error")] {
        let request =
            json!({"jsonrpc": "2.0", "id": token, "method": "send", "params": {"token": token}});
        let answer = client.request(SUBJECT, request.to_string().into()).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        assert_eq!(answer["id"], token);
        assert!(answer.get(expected).is_some(), "{answer}");
    }
    serving.abort();
    Ok(server.way())
}
