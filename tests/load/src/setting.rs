//! Configuration files for servers whose clients use another transport than TCP, equal for all
//! servers.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, KeyPair};

use crate::carrier::Way;
use crate::fault::{During, Fault};

/// A folder with a configuration; removed when dropped.
#[derive(Debug)]
pub(crate) struct Setting(PathBuf);

impl Setting {
    /// Creates the files for `way`, if it needs any. WebSocket listens at `address`.
    pub(crate) fn new(way: Way, address: SocketAddr) -> Result<Option<Self>, Fault> {
        const WHAT: &str = "writing the configuration";
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if matches!(way, Way::Plain | Way::Cluster) {
            return Ok(None);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("load-setting-{}-{number}", std::process::id());
        let setting = Self(std::env::temp_dir().join(folder));
        fs::create_dir(&setting.0).during(WHAT)?;
        let text = match way {
            Way::Plain | Way::Streams | Way::Cluster => String::new(),
            Way::WebSocket => format!("websocket {{ listen: \"{address}\", no_tls: true }}\n"),
            Way::Tls => {
                let key = KeyPair::generate().map_err(std::io::Error::other).during(WHAT)?;
                let params = CertificateParams::new(["localhost".to_owned()]);
                let made = params.and_then(|params| params.self_signed(&key));
                let certificate = made.map_err(std::io::Error::other).during(WHAT)?;
                let (cert_file, key_file) = (setting.0.join("cert.pem"), setting.0.join("key.pem"));
                fs::write(&cert_file, certificate.pem()).during(WHAT)?;
                fs::write(&key_file, key.serialize_pem()).during(WHAT)?;
                format!("tls {{ cert_file: {cert_file:?}, key_file: {key_file:?} }}\n")
            }
        };
        fs::write(setting.file(), text).during(WHAT)?;
        Ok(Some(setting))
    }

    /// The arguments of a server of `way`.
    pub(crate) fn args(&self, way: Way) -> Vec<OsString> {
        if way == Way::Streams {
            return vec!["-js".into(), "-sd".into(), self.0.join("store").into()];
        }
        vec!["-c".into(), self.file().into()]
    }

    /// The path of the configuration.
    fn file(&self) -> PathBuf {
        self.0.join("server.conf")
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
