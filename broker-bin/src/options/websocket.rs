//! Clients over WebSocket.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::auth::Secret;
use broker_net::WebsocketOptions;
use broker_net::websocket::{AllowedOrigins, CookieNames, ExtraHeaders};

use super::{Options, OptionsError, Tls, WebsocketError};
use crate::config::declare::{
    block, duration, formatted, list, listen, port, seconds, section, switch, text, with_jwt,
};
use crate::config::kind::{Format, Kind};

/// All IPv4 addresses.
// NATS 2.14: const.go DEFAULT_HOST.
pub(crate) const ANY_HOST: &str = "0.0.0.0";

section! {
    /// WebSocket listener for clients. Without a port there is none.
    pub struct Websocket = Block::new("websocket");

    /// Host name or address to listen on.
    host: Option<String> = None => text().aliases(&["net"]).unset("0.0.0.0");
    /// Port for WebSocket clients; -1 is any free port, 0 is none.
    port: i64 = 0 => port();
    /// Address that WebSocket clients of a cluster are told, in place of that of the listener.
    advertise: Option<String> = None => formatted(Format::HostPort);
    /// Allows connections without TLS, for servers behind a TLS proxy or on a private interface.
    no_tls: bool = false => switch();
    /// TLS. Enabling or disabling it, `pinned_certs` and `verify_and_map` take a restart; the rest
    /// applies to connections made after a reload.
    tls: Option<Tls> = None => block(Tls::block).at_once();
    /// Accepts only pages of the host that they connect to.
    same_origin: bool = false => switch();
    /// Accepted origins of pages.
    allowed_origins: Vec<String> = Vec::new() => list(Format::Any).unset("anywhere")
        .aliases(&["allowed_origin", "allow_origins", "allow_origin", "origins", "origin"]);
    /// Timeout of the TLS and WebSocket handshakes together.
    handshake_timeout: Duration = Duration::from_secs(2) => seconds().zero_is_default();
    /// Enables compression of frames.
    compression: bool = false => switch().aliases(&["compress"]);
    /// Authentication of WebSocket clients, in place of the top level's.
    authorization: SimpleAuthorization = SimpleAuthorization::default() =>
        block(SimpleAuthorization::block).aliases(&["authentication"]);
    /// Cookie with the client's JWT.
    jwt_cookie: Option<String> = None => with_jwt(text());
    /// Cookie with the client's user name.
    user_cookie: Option<String> = None => text();
    /// Cookie with the client's password.
    pass_cookie: Option<String> = None => text();
    /// Cookie with the client's token.
    token_cookie: Option<String> = None => text();
    /// User of clients that present no credentials.
    no_auth_user: Option<String> = None => text();
    /// Additional headers of the handshake response.
    headers: BTreeMap<String, String> = BTreeMap::new() => Key::new(Kind::Texts);
    /// Like the top level's.
    ping_interval: Option<Duration> = None => duration().zero_is_default().unset("the top level's");

    in other words:
    /// Host and port to listen on.
    listen => listen("host", "port");
}

section! {
    /// One user or one token.
    pub struct SimpleAuthorization = Block::new("simple authorization");

    /// Name of the only user.
    user: Option<String> = None => text().aliases(&["username"]);
    /// Password of that user.
    password: Option<Secret> = None => formatted(Format::Secret).aliases(&["pass"]);
    /// Token that every client must present.
    token: Option<Secret> = None => formatted(Format::Secret);
    /// Timeout of authentication.
    timeout: Option<Duration> = None => seconds().zero_is_default()
        .unset("the top level's");
}

impl Websocket {
    /// Returns true if there is a port to listen on.
    pub fn is_on(&self) -> bool {
        self.port != 0
    }

    /// Returns true if certificates identify users.
    pub(crate) fn maps_certificates(&self) -> bool {
        self.is_on() && self.tls.as_ref().is_some_and(|tls| tls.verify_and_map)
    }
}

impl Options {
    /// Returns the options of the WebSocket listener, if any.
    ///
    /// # Errors
    ///
    /// Returns an error if the block contradicts itself. Does not read the files.
    // NATS 2.14: websocket.go validateWebsocketOptions.
    pub fn websocket(&self) -> Result<Option<WebsocketOptions>, OptionsError> {
        let set = &self.websocket;
        if !set.is_on() {
            return Ok(None);
        }
        // NATS 2.14: an existing certificate is used regardless of `no_tls`.
        if set.tls.is_none() && !set.no_tls {
            return Err(WebsocketError::NoTls.into());
        }
        let mut options = WebsocketOptions::default();
        options.host = set.host.clone().unwrap_or_else(|| ANY_HOST.to_owned());
        // -1 is any free port.
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
        options.advertise = set.advertise.as_deref().and_then(|text| text.parse().ok());
        options.ping_interval = set.ping_interval;
        options.auth_timeout = set.authorization.timeout;
        Ok(Some(options))
    }
}
