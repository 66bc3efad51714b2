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
    /// Port for MQTT clients; -1 is any free port, 0 is none.
    port: i64 = 0 => port();
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Authentication of MQTT clients, in place of the top level's.
    authorization: SimpleAuthorization = SimpleAuthorization::default() =>
        block(SimpleAuthorization::block).aliases(&["authentication"]);
    /// User of clients that present no credentials.
    no_auth_user: Option<String> = None => text();
    /// Time after which an unacknowledged message is sent again.
    ack_wait: Duration = Duration::from_secs(30) => duration().zero_is_default()
        .aliases(&["ackwait"]).at_once();
    /// Timeout of requests to JetStream.
    js_api_timeout: Duration = Duration::from_secs(5) => duration().zero_is_default()
        .aliases(&["api_timeout"]);
    /// Unacknowledged messages per subscription.
    max_ack_pending: u16 = 1024 => integer(0, 65_535).zero_is_default()
        .aliases(&["max_pending", "max_inflight"]).at_once();
    /// JetStream domain of the MQTT streams.
    js_domain: Option<String> = None => text();
    /// Replicas of each stream; 0 is the number of servers, up to three.
    stream_replicas: i64 = 0 => integer(i64::MIN, i64::MAX).at_once();
    /// Replicas of each consumer.
    consumer_replicas: i64 = 0 => integer(i64::MIN, i64::MAX).at_once()
        .no_effect("as in nats-server 2.14: as many as keep the stream");
    /// Keeps consumers in memory.
    consumer_memory_storage: bool = false => switch().at_once();
    /// Idle time after which a consumer is removed.
    consumer_inactive_threshold: Duration = Duration::ZERO => duration()
        .aliases(&["consumer_auto_cleanup"]).unset("never").at_once();
    /// Refuses messages of QoS 2.
    reject_qos2_publish: bool = false => switch();
    /// Downgrades subscriptions of QoS 2 to QoS 1.
    downgrade_qos2_subscribe: bool = false => switch();

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}
