//! An authenticator of the program: accepts clients with an unexpired ticket of a shop, and
//! restricts them to their own subjects.
//!
//! `cargo run -p broker-net --example authenticator`

use std::collections::HashMap;

use async_nats::ConnectOptions;
use broker_core::auth::{
    AllowResponses, Authenticator, Credentials, Decision, Denied, Grant, Permissions,
    PermissionsError,
};
use broker_net::Server;

/// The tickets sold and their owners. (An authenticator that queries a database would cache the
/// answers, or return `Decision::compute`.)
struct Tickets {
    sold: HashMap<String, String>,
}

impl Authenticator for Tickets {
    fn is_required(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Decision {
        let Some(customer) = self.sold.get(credentials.token.expose()) else {
            return Denied::Credentials.into();
        };
        match own(customer) {
            Ok(permissions) => Grant::user(&**customer).with_permissions(permissions).into(),
            Err(_) => Denied::Unavailable.into(),
        }
    }
}

/// Returns a customer's permissions: their subjects, their inbox, and responses to requests.
fn own(customer: &str) -> Result<Permissions, PermissionsError> {
    let (subjects, inbox) = (format!("customers.{customer}.>"), "_INBOX.>".to_owned());
    Permissions::builder()
        .publish_allow([&subjects])
        .subscribe_allow([&subjects, &inbox])
        .allow_responses(AllowResponses::default())
        .build()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sold = HashMap::from([("T-1".into(), "ada".into()), ("T-2".into(), "bob".into())]);
    let server = Server::builder().authenticator(Tickets { sold }).bind().await?;
    let connect = |ticket: &str| ConnectOptions::with_token(ticket.into()).connect(server.url());

    assert!(connect("T-3").await.is_err(), "this ticket was not sold");
    let ada = connect("T-1").await?;

    // The in-process client has all permissions.
    let mut orders = server.client().subscribe("customers.*.orders").await?;
    ada.publish("customers.bob.orders", "not hers".into()).await?;
    ada.publish("customers.ada.orders", "7 apples".into()).await?;
    let order = orders.next().await.ok_or("the server has gone")?;
    assert_eq!(&*order.subject, "customers.ada.orders");
    println!("{}: {}", order.subject, String::from_utf8_lossy(&order.payload));
    Ok(())
}
