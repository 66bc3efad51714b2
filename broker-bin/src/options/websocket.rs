//! Clients over WebSocket.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::auth::Secret;
use broker_net::WebsocketOptions;
use broker_net::websocket::{AllowedOrigins, CookieNames, ExtraHeaders};

use super::{Options, OptionsError, Tls, WebsocketError};
use crate::config::declare::{
    block, duration, formatted, list, listen, port, seconds, section, switch, text,
};
use crate::config::kind::{Format, Kind};

/// Every address of the machine.
// NATS 2.14: const.go DEFAULT_HOST.
pub(crate) const ANY_HOST: &str = "0.0.0.0";

section! {
    /// Clients over WebSocket. Without a port there are none.
    pub struct Websocket = Block::new("websocket");

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for WebSocket clients; -1 is any that is free, 0 is none.
    port: i64 = 0 => port();
    /// Address that clients are told to connect to, once there are clusters; monitoring shows it.
    advertise: Option<String> = None => formatted(Format::HostPort);
    /// There need be no encryption: something else encrypts, or nobody else listens.
    no_tls: bool = false => switch();
    /// Encryption. Whether there is any, `pinned_certs` and `verify_and_map` take a restart to change;
    /// the rest holds for connections that come after a reload.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Pages must come from the host that they connect to.
    same_origin: bool = false => switch();
    /// Where pages may come from.
    allowed_origins: Vec<String> = Vec::new() => list(Format::Any).unset("anywhere")
        .aliases(&["allowed_origin", "allow_origins", "allow_origin", "origins", "origin"]);
    /// How long the handshakes may take together.
    handshake_timeout: Duration = Duration::from_secs(2) => seconds().zero_is_default();
    /// Frames may be compressed.
    compression: bool = false => switch().aliases(&["compress"]);
    /// How clients say who they are, in place of the top level's.
    authorization: SimpleAuthorization = SimpleAuthorization::default() =>
        block(SimpleAuthorization::block).aliases(&["authentication"]);
    /// The cookie that is taken for the client's JWT.
    jwt_cookie: Option<String> = None => text().not_yet("JWTs");
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
    ping_interval: Option<Duration> = None => duration().zero_is_default().unset("the top level's");

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
    timeout: Option<Duration> = None => seconds().zero_is_default()
        .unset("the top level's");
}

impl Websocket {
    /// Is there a port to listen on?
    pub fn is_on(&self) -> bool {
        self.port != 0
    }

    /// Do its certificates say who clients are?
    pub(crate) fn maps_certificates(&self) -> bool {
        self.is_on() && self.tls.as_ref().is_some_and(|tls| tls.verify_and_map)
    }
}

impl Options {
    /// Where clients come in by WebSocket, if they do.
    ///
    /// # Errors
    ///
    /// What it says contradicts itself. Files are not looked at.
    // NATS 2.14: websocket.go validateWebsocketOptions.
    pub fn websocket(&self) -> Result<Option<WebsocketOptions>, OptionsError> {
        let set = &self.websocket;
        if !set.is_on() {
            return Ok(None);
        }
        // NATS 2.14: a certificate that is there is used, whatever `no_tls` says.
        if set.tls.is_none() && !set.no_tls {
            return Err(WebsocketError::NoTls.into());
        }
        let mut options = WebsocketOptions::default();
        options.host = set.host.clone().unwrap_or_else(|| ANY_HOST.to_owned());
        // -1 is any that is free.
        options.port = u16::try_from(set.port).unwrap_or(0);
        options.tls = match &set.tls {
            Some(tls) => Some(tls.for_clients().map_err(WebsocketError::Tls)?),
            None => None,
        };
        options.same_origin = set.same_origin;
        let mut origins = AllowedOrigins::default();
        for origin in &set.allowed_origins {
            origins.add(origin).map_err(WebsocketError::Origin)?;
        }
        options.allowed_origins = origins;
        options.handshake_timeout = set.handshake_timeout;
        options.compression = set.compression;
        options.cookies = CookieNames {
            jwt: set.jwt_cookie.clone().unwrap_or_default(),
            user: set.user_cookie.clone().unwrap_or_default(),
            password: set.pass_cookie.clone().unwrap_or_default(),
            token: set.token_cookie.clone().unwrap_or_default(),
        };
        let mut headers = ExtraHeaders::default();
        for (name, value) in &set.headers {
            headers.add(name, value).map_err(WebsocketError::Header)?;
        }
        options.headers = headers;
        options.ping_interval = set.ping_interval;
        options.auth_timeout = set.authorization.timeout;
        Ok(Some(options))
    }
}
