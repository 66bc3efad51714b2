//! MQTT clients.

use std::time::Duration;

use super::cluster::has_no_port;
use super::{SimpleAuthorization, Tls};
use crate::config::declare::{block, duration, integer, listen, port, section, switch, text};

section! {
    /// MQTT clients. Without a port there are none.
    pub struct Mqtt = Block::new("mqtt").off(has_no_port);

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for MQTT clients; -1 is any that is free, 0 is none.
    port: i64 = 0 => port();
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// How clients say who they are, in place of the top level's.
    authorization: SimpleAuthorization = SimpleAuthorization::default() =>
        block(SimpleAuthorization::block).aliases(&["authentication"]);
    /// The user that clients are taken for who show nothing.
    no_auth_user: Option<String> = None => text();
    /// How long a client may take to confirm a message before it is sent again.
    ack_wait: Duration = Duration::from_secs(30) => duration().zero_is_default()
        .aliases(&["ackwait"]).at_once();
    /// How long a request to the streams behind it may take.
    js_api_timeout: Duration = Duration::from_secs(5) => duration().zero_is_default()
        .aliases(&["api_timeout"]);
    /// How many messages may be unconfirmed in one subscription.
    max_ack_pending: u16 = 1024 => integer(0, 65_535).zero_is_default()
        .aliases(&["max_pending", "max_inflight"]).at_once();
    /// The domain of the streams behind it.
    js_domain: Option<String> = None => text();
    /// How many servers keep each stream; 0 is as many as there are, up to three.
    stream_replicas: i64 = 0 => integer(i64::MIN, i64::MAX).at_once();
    /// How many servers keep each consumer.
    consumer_replicas: i64 = 0 => integer(i64::MIN, i64::MAX).at_once()
        .no_effect("as in nats-server 2.14: as many as keep the stream");
    /// Consumers are kept in memory.
    consumer_memory_storage: bool = false => switch().at_once();
    /// Consumers that nobody used for so long are removed.
    consumer_inactive_threshold: Duration = Duration::ZERO => duration()
        .aliases(&["consumer_auto_cleanup"]).unset("never").at_once();
    /// Messages of QoS 2 are refused.
    reject_qos2_publish: bool = false => switch();
    /// Subscriptions of QoS 2 become such of QoS 1.
    downgrade_qos2_subscribe: bool = false => switch();

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}
