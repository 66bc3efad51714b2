//! The methods of a server and its builder for TLS.

use super::{Server, ServerBuilder};
use crate::handshake::listener_tls;

impl ServerBuilder {
    /// Sets the TLS options for clients.
    #[must_use]
    pub fn tls(mut self, options: crate::TlsOptions) -> Self {
        self.options.tls = Some(options);
        self
    }
}

impl Server {
    /// Presents other certificates, or none, to clients that connect from now on; reads the files again. Open
    /// connections are not affected.
    ///
    /// # Errors
    ///
    /// [`TlsError`](crate::TlsError) if the options are invalid or a file cannot be used; then nothing has changed.
    pub fn set_tls(&self, options: Option<crate::TlsOptions>) -> Result<(), crate::TlsError> {
        let mut now = self.lock_options();
        let before = std::mem::replace(&mut now.tls, options);
        match now.build_tls() {
            Ok(next) => listener_tls::set(&self.clients.config, Some(&self.broker), next),
            Err(error) => {
                now.tls = before;
                return Err(error);
            }
        }
        Ok(())
    }
}
