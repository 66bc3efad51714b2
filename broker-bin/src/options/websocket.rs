//! Clients over WebSocket.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::auth::Secret;

use super::Tls;
use super::cluster::has_no_port;
use crate::config::declare::{
    block, duration, formatted, list, listen, port, seconds, section, switch, text,
};
use crate::config::kind::{Format, Kind};

section! {
    /// Clients over WebSocket. Without a port there are none.
    pub struct Websocket = Block::new("websocket").off(has_no_port);

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for WebSocket clients; -1 is any that is free, 0 is none.
    port: i64 = 0 => port();
    /// Address that clients are told to connect to.
    advertise: Option<String> = None => formatted(Format::HostPort);
    /// There need be no encryption.
    no_tls: bool = false => switch();
    /// Encryption.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Pages must come from the host that they connect to.
    same_origin: bool = false => switch();
    /// Where pages may come from.
    allowed_origins: Vec<String> = Vec::new() => list(Format::Any).unset("anywhere")
        .aliases(&["allowed_origin", "allow_origins", "allow_origin", "origins", "origin"]);
    /// How long the handshakes may take together; 0 is no limit.
    handshake_timeout: Duration = Duration::from_secs(2) => seconds();
    /// Frames may be compressed.
    compression: bool = false => switch().aliases(&["compress"]);
    /// How clients say who they are, in place of the top level's.
    authorization: SimpleAuthorization = SimpleAuthorization::default() =>
        block(SimpleAuthorization::block).aliases(&["authentication"]);
    /// The cookie that is taken for the client's JWT.
    jwt_cookie: Option<String> = None => text();
    /// The cookie that is taken for the client's user name.
    user_cookie: Option<String> = None => text();
    /// The cookie that is taken for the client's password.
    pass_cookie: Option<String> = None => text();
    /// The cookie that is taken for the client's token.
    token_cookie: Option<String> = None => text();
    /// The user that clients are taken for who show nothing.
    no_auth_user: Option<String> = None => text();
    /// Further headers of the handshake's answer.
    headers: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts);
    /// As the top level's.
    ping_interval: Option<Duration> = None => duration().unset("the top level's");

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// One user or one token.
    pub struct SimpleAuthorization = Block::new("simple authorization");

    /// The one user who may connect.
    user: Option<String> = None => text().aliases(&["username"]);
    /// That user's password.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]);
    /// A token that every client must show.
    token: Option<Secret> = None => formatted(Format::Secret);
    /// How long a client may take to say who it is.
    timeout: Option<Duration> = None => seconds()
        .unset("the top level's");
}
