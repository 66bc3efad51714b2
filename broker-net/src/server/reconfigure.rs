//! Changes of a running server.

use std::sync::Arc;
use std::time::Duration;

use broker_core::ChangeReport;
use broker_core::auth::Authenticator;

use super::{Server, routes, tell_address};
use crate::apply::{self, ApplyError, Report};
use crate::authenticators::Authenticators;
use crate::listen::ListenerHandle;
use crate::options::ServerOptions;

/// The time for which [`Server::apply`] waits for connections to apply a change. Each does within one turn, which
/// takes far less unless the machine is overloaded; the change continues in any case.
const SETTLE: Duration = Duration::from_secs(1);

impl Server {
    /// Changes options, and the authenticator if one is given, while the server runs. Affects connected
    /// clients as [`Broker::apply`](broker_core::Broker::apply) describes. Returns when all connections have
    /// applied the change.
    ///
    /// Port 0 and a server name of `None` stand for the values that the server chose.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if an option cannot change without a restart; then nothing has changed.
    ///
    /// # Cancel safety
    ///
    /// The change continues if the future is dropped after it was first polled.
    pub async fn apply(
        &self,
        options: ServerOptions,
        authenticator: Option<Arc<dyn Authenticator>>,
    ) -> Result<Report, ApplyError> {
        self.apply_with(options, authenticator.map(Authenticators::from)).await
    }

    /// Works as [`Self::apply`], with an authenticator of its own for WebSocket.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::apply`] does.
    ///
    /// # Cancel safety
    ///
    /// Behaves as [`Self::apply`] does.
    pub async fn apply_with(
        &self,
        options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<Report, ApplyError> {
        let applied = self.apply_now(options, authenticators)?;
        // The change continues after the timeout.
        let _ = tokio::time::timeout(SETTLE, applied.applied).await;
        Ok(Report { excess: applied.excess })
    }

    fn apply_now(
        &self,
        mut options: ServerOptions,
        authenticators: Option<Authenticators>,
    ) -> Result<ChangeReport, ApplyError> {
        let mut now = self.lock_options();
        routes::complete(&mut options);
        apply::check(&now, &options)?;
        let prepare =
            |listener: &Arc<dyn ListenerHandle>| listener.prepare(&mut options, &self.broker);
        let changes = self.listeners.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        options.broker.server_name.clone_from(&now.broker.server_name);
        options.broker.server_id.clone_from(&now.broker.server_id);
        options.broker.seed = now.broker.seed;
        let authenticator = authenticators.map(|next| {
            // Set first, because the broker then reviews connected clients with it.
            self.listeners.iter().for_each(|listener| listener.set_authenticator(&next));
            next.all
        });
        let applied = self.broker.apply(options.broker.clone(), authenticator);
        tell_address(&self.broker, &options);
        routes::tell_client_urls(&self.broker, &options);
        if let (Some(dials), Some(cluster)) = (&self.dials, &options.cluster) {
            dials.set_reports(cluster);
        }
        changes.into_iter().for_each(|change| change());
        *now = options;
        Ok(applied)
    }
}
