//! All components of the city in one test: with one server, and over a cluster whose servers end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use broker_net::testing::{TestBroker, TestCluster};
use rider::{Agent, Component, Manager, Report, Result, api, components};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Timeout of the drivers' answers. Two seconds in production.
const PATIENCE: Duration = Duration::from_millis(200);

/// Six components, each with its own connection: in production six programs.
struct City {
    web: SocketAddr,
    /// The kind of car by the id of each driver.
    drivers: BTreeMap<String, &'static str>,
    ids: BTreeSet<String>,
}

impl City {
    /// Starts the components; each tries the servers in another order.
    async fn open(servers: &[String]) -> Result<Self> {
        let mut city = Self {
            web: ([127, 0, 0, 1], 0).into(),
            drivers: BTreeMap::new(),
            ids: BTreeSet::new(),
        };
        let mut servers = servers.to_vec();
        let api = city.component(&mut servers, "api").await?;
        let listener = TcpListener::bind(city.web).await?;
        city.web = listener.local_addr()?;
        tokio::spawn(api::serve(listener, api));
        for _ in 0..2 {
            let component = city.component(&mut servers, "manager").await?;
            tokio::spawn(Manager::open(component, PATIENCE).await?.run());
        }
        for kind in ["regular", "van", "regular"] {
            let component = city.component(&mut servers, "agent").await?;
            city.drivers.insert(component.id().to_owned(), kind);
            tokio::spawn(Agent::open(component, kind).await?.run());
        }
        Ok(city)
    }

    async fn component(&mut self, servers: &mut [String], role: &str) -> Result<Component> {
        let component = Component::connect(servers, role).await?;
        servers.rotate_left(1);
        self.ids.insert(component.id().to_owned());
        Ok(component)
    }

    /// Orders a ride as a browser does; returns the status code and the answer.
    async fn order(&self, body: &str) -> Result<(u16, Value)> {
        let mut stream = TcpStream::connect(self.web).await?;
        let len = body.len();
        let request = format!(
            "POST /rides HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let code = answer.split(' ').nth(1).ok_or("a status line")?.parse()?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("a body")?;
        Ok((code, serde_json::from_str(body)?))
    }

    /// Orders a ride of a kind that exists, again if need be, as its user does. Returns the driver's kind.
    async fn ride(&self, kind: &str) -> Result<&'static str> {
        let body = format!(r#"{{"kind":"{kind}","at":"Main Street"}}"#);
        let ordering = async {
            loop {
                let (code, answer) = self.order(&body).await?;
                if code == 200 {
                    let driver = answer["driver"].as_str().ok_or("a driver")?;
                    return Ok(self.drivers[driver]);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ordering).await?
    }

    /// Asks for the status of all components until each has answered.
    async fn report(&self, client: &async_nats::Client) -> Result<Report> {
        loop {
            let report = components(client, Duration::from_millis(100)).await?;
            if report.keys().eq(&self.ids) {
                return Ok(report);
            }
        }
    }
}

/// The sum of the requests of all components of a role.
fn handled(report: &Report, role: &str) -> u64 {
    report.values().filter(|status| status.role == role).map(|status| status.requests).sum()
}

// Time is paused: every timeout fires immediately, in a deterministic order.
#[tokio::test(start_paused = true)]
async fn one_server() -> Result<()> {
    let broker = TestBroker::start().await;
    let city = City::open(&[broker.url()]).await?;
    broker.wait_for_clients(6).await;
    broker.wait_for_subscription("drivers.find").await;
    broker.wait_idle().await;

    // A ride, for any driver of that kind.
    let found = broker.tap("drivers.find");
    assert_eq!(city.ride("regular").await?, "regular");
    assert_eq!(found.expect(1).await.len(), 1);

    // A kind without drivers, and nonsense.
    let (code, answer) = city.order(r#"{"kind":"helicopter","at":"Roof"}"#).await?;
    assert_eq!((code, answer["error"].as_str()), (503, Some("no driver is free")));
    let (code, _) = city.order("nonsense").await?;
    assert_eq!(code, 400);

    // Discovery and status of all components.
    let client = async_nats::connect(broker.url()).await?;
    let report = city.report(&client).await?;
    assert_eq!(handled(&report, "manager"), 2, "both questions went to one manager each");
    assert_eq!((handled(&report, "api"), handled(&report, "agent")), (3, 6));

    // The server restarts. All components connect again.
    broker.restart().await?;
    broker.wait_for_clients(7).await;
    broker.wait_for_subscription("drivers.find").await;
    broker.wait_idle().await;
    assert_eq!(city.ride("van").await?, "van");
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_three() -> Result<()> {
    let mut cluster = TestCluster::start(3).await;
    let city = City::open(&cluster.urls()).await?;
    for number in 0..3 {
        // Two components at each server.
        cluster.node(number).wait_for_clients(2).await;
    }
    cluster.wait_for_interest("drivers.find").await;
    cluster.wait_for_interest("drivers.rides").await;
    assert_eq!(city.ride("van").await?, "van");
    assert_eq!(city.ride("regular").await?, "regular");

    // Each server in turn ends, and its components go to the others.
    for number in 0..3 {
        cluster.stop(number);
        assert_eq!(city.ride("van").await?, "van", "without server {number}");
        assert_eq!(city.ride("regular").await?, "regular", "without server {number}");
        let client = async_nats::connect(cluster.urls()).await?;
        let report = city.report(&client).await?;
        assert_eq!(report.len(), 6, "all have moved");
        drop(client);
        cluster.restart(number).await?;
        cluster.wait_connected().await;
    }
    Ok(())
}
