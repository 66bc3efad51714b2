//! Builds a server: checks the options, binds, and opens the port of clients last.

use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};

use broker_core::account::AccountConfig;
use broker_core::auth::{Authenticator, NoAuth};
use broker_core::{Broker, Limits};
use tokio::sync::watch;

use super::{Server, routes, tell_address};
use crate::advertise::Advertise;
use crate::auth_checks::AuthChecks;
use crate::clock;
use crate::context::ConnectionContext;
use crate::listen::{self, BindError, Bound, Cause, CustomListener, Listener, LocalAcceptor};
use crate::listeners::{self, Listeners};
use crate::network::NetworkPort;
use crate::options::ServerOptions;
use crate::phase::Phase;
use crate::stall::StallGates;
use crate::unauthenticated::UnauthenticatedConnections;
use crate::workers::Workers;

/// Builds a [`Server`].
#[derive(Default)]
pub struct ServerBuilder {
    pub(super) options: ServerOptions,
    authenticator: Option<Arc<dyn Authenticator>>,
    #[cfg(feature = "jwt")]
    operator_mode: Option<broker_core::operator::OperatorMode>,
    #[cfg(feature = "streams")]
    streams: Option<broker_streams::service::Options>,
    /// The streams are those of a test, on its disk if it has one.
    #[cfg(all(feature = "streams", feature = "testing"))]
    pub(super) streams_in_test: Option<Option<broker_streams::testing::TestDisk>>,
    pub(super) gates: Arc<StallGates>,
    /// The place in a network that carries the routes, in place of a port.
    pub(super) network: Option<NetworkPort>,
    #[cfg(feature = "websocket")]
    pub(super) websocket_authenticator: Option<Arc<dyn Authenticator>>,
    socket: Option<StdListener>,
    own: Vec<CustomListener>,
}

impl ServerBuilder {
    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: ServerOptions) -> Self {
        self.options = options;
        self
    }

    /// The host name or address to listen at. The default is `127.0.0.1`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.options.host = host.into();
        self
    }

    /// The port to listen at; 0, the default, for any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.options.port = port;
        self
    }

    /// The address that INFO advertises to clients, if it differs from that of the listener.
    #[must_use]
    pub fn client_advertise(mut self, advertise: Advertise) -> Self {
        self.options.client_advertise = Some(advertise);
        self
    }

    /// Listens at a Unix domain socket, too.
    #[cfg(unix)]
    #[must_use]
    pub fn unix(mut self, options: crate::UnixOptions) -> Self {
        self.options.unix = Some(options);
        self
    }

    /// Accepts clients at a socket that listens already, in place of [host](Self::host) and [port](Self::port): for
    /// sockets that a service manager has opened, for instance.
    #[must_use]
    pub fn tcp_listener(mut self, socket: StdListener) -> Self {
        if let Ok(address) = socket.local_addr() {
            self.options.host = address.ip().to_string();
            self.options.port = address.port();
        }
        self.socket = Some(socket);
        self
    }

    /// Adds a listener of the embedding program: see [`Listener`]. May be called for several.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.own.push(CustomListener::new(listener));
        self
    }

    /// The limits of clients.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.broker.limits = limits;
        self
    }

    /// Adds an account, with its limits, mappings, exports and imports. The authenticator assigns clients to accounts.
    ///
    /// ```
    /// use broker_core::SubjectFilter;
    /// use broker_core::account::{AccountConfig, Export, Import};
    /// use broker_core::auth::{User, Users};
    /// use broker_net::Server;
    ///
    /// let orders = SubjectFilter::parse("orders.>")?;
    /// let shop = AccountConfig::new("SHOP").with_export(Export::stream(orders.clone()));
    /// let billing = AccountConfig::new("BILLING").with_import(Import::stream("SHOP", orders));
    /// let users = Users::builder()
    ///     .user(User::new("shop", "secret").account("SHOP"))
    ///     .user(User::new("billing", "other").account("BILLING"));
    /// let server = Server::builder().account(shop).account(billing).authenticator(users.build()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// An export or import that cannot be in force has no effect: see
    /// [`check_shares`](broker_core::account::check_shares).
    #[must_use]
    pub fn account(mut self, account: AccountConfig) -> Self {
        self.options.broker.accounts.push(Arc::new(account));
        self
    }

    /// The authenticator of clients. The default admits all of them.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Authenticates users by the tokens that an operator's accounts have signed, and serves these accounts.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn operator_mode(mut self, mode: broker_core::operator::OperatorMode) -> Self {
        self.authenticator = Some(Arc::new(mode.clone()));
        self.operator_mode = Some(mode);
        self
    }

    /// Serves streams: JetStream, with streams in files in that directory and others in memory. Streams are recovered before clients
    /// can connect. All configured accounts may have streams, without limits; [`Self::streams`] sets more.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let directory = tempfile::tempdir()?;
    /// use async_nats::jetstream;
    /// use broker_net::Server;
    ///
    /// let server = Server::builder().streams_in(directory.path()).bind().await?;
    /// let context = jetstream::new(async_nats::connect(server.url()).await?);
    /// let orders = jetstream::stream::Config {
    ///     name: "ORDERS".into(),
    ///     subjects: vec!["orders.>".into()],
    ///     ..Default::default()
    /// };
    /// context.create_stream(orders).await?;
    /// // The acknowledgement means that the message is on disk.
    /// context.publish("orders.eu", "7 apples".into()).await?.await?;
    /// server.shutdown().await;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "streams")]
    #[must_use]
    pub fn streams_in(self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.streams(broker_streams::service::Options {
            directory: Some(directory.into()),
            ..Default::default()
        })
    }

    /// Serves streams, which are recovered before clients can connect.
    #[cfg(feature = "streams")]
    #[must_use]
    pub fn streams(mut self, options: broker_streams::service::Options) -> Self {
        self.streams = Some(options);
        self
    }

    /// Binds and starts to serve. Clients can connect when it returns.
    ///
    /// Must be called in a tokio runtime with I/O and time enabled; the server lives in it.
    ///
    /// # Errors
    ///
    /// [`BindError`] if the address cannot be bound, or the TLS options are invalid; nothing has been served then.
    ///
    /// # Cancel safety
    ///
    /// A future dropped before it completes leaves nothing behind.
    pub async fn bind(self) -> Result<Server, BindError> {
        let mut options = self.options;
        routes::complete(&mut options);
        let tls = options
            .build_tls()
            .map_err(|error| BindError::of_clients(&options, Cause::Tls(error)))?;
        let authenticator = self.authenticator.unwrap_or_else(|| Arc::new(NoAuth));
        let broker = Broker::with_authenticator(
            options.broker.clone(),
            clock::TokioClock::new(),
            authenticator,
        );
        #[cfg(feature = "jwt")]
        if let Some(mode) = &self.operator_mode {
            mode.attach(&broker);
        }
        #[cfg(feature = "streams")]
        let streams = match self.streams {
            #[cfg(feature = "testing")]
            Some(wanted) if self.streams_in_test.is_some() => {
                let disk = self.streams_in_test.as_ref().and_then(Option::as_ref);
                let started = super::streams::start_in_test(&broker, wanted, disk);
                Some(
                    started
                        .map_err(|error| BindError::of_clients(&options, Cause::Streams(error)))?,
                )
            }
            Some(wanted) => Some(super::streams::start(&broker, wanted, &options).await?),
            None => None,
        };
        #[cfg(all(feature = "jwt", feature = "streams"))]
        if let (Some(streams), Some(mode)) = (&streams, &self.operator_mode) {
            super::streams::follow_claims(streams, &broker, mode)
                .await
                .map_err(|error| BindError::of_clients(&options, Cause::Streams(error)))?;
        }
        let mut bound = Vec::new();
        #[cfg(feature = "websocket")]
        bound.extend(
            listen::websocket::bind(&mut options, self.websocket_authenticator, &broker).await?,
        );
        #[cfg(unix)]
        bound.extend(listen::bind_unix(&options)?);
        let bound_routes = listen::bind_routes(&mut options, self.network.as_ref()).await?;
        // Bound last, because supervisors and tests take this port as the sign that the server has started.
        let (acceptor, clients) = listen::bind_tcp(&mut options, self.socket, tls, &broker).await?;
        bound.push(Bound { acceptor, handle: Some(Arc::clone(&clients) as _) });
        tell_address(&broker, &options);
        routes::tell_client_urls(&broker, &options);
        let (mut acceptors, mut handles): (Vec<_>, Vec<_>) =
            bound.into_iter().map(|bound| (bound.acceptor, bound.handle)).unzip();
        let mut guards: Vec<_> = acceptors.iter().filter_map(|acceptor| acceptor.guard()).collect();
        if let Some((acceptor, listener)) = &bound_routes {
            guards.extend(acceptor.guard());
            handles.push(Some(Arc::clone(listener) as _));
        }
        let (local, local_acceptor) = LocalAcceptor::new();
        acceptors.push(Box::new(local_acceptor));
        acceptors.extend(self.own.into_iter().map(CustomListener::open));
        let (stop, stopped) = watch::channel(Phase::Serving);
        let (finished, is_finished) = watch::channel(false);
        let workers = Arc::<Workers>::default();
        let context = ConnectionContext {
            broker: broker.clone(),
            auth_checks: Arc::new(AuthChecks::new()),
            workers: Arc::clone(&workers),
            unauthenticated: Arc::new(UnauthenticatedConnections::new(options.max_unauthenticated)),
            gates: self.gates,
        };
        let (routes, dials) =
            routes::prepare(bound_routes, &options, self.network, &context).unzip();
        let listeners = Listeners::new(acceptors);
        let serving = listeners::serve(listeners, routes, context, stopped, finished);
        let task = tokio::spawn(serving).abort_handle();
        Ok(Server {
            #[cfg(feature = "streams")]
            streams: streams.map(Arc::new),
            broker,
            host: options.host.clone(),
            options: Mutex::new(options),
            clients,
            dials,
            listeners: handles.into_iter().flatten().collect(),
            workers,
            local,
            stop,
            is_finished,
            task,
            _guards: guards,
        })
    }
}
