//! The ports file, which tells programs that started natsd on any free port which ports are open.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use serde::Serialize;

/// URLs of this server, by protocol.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ports {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nats: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) monitoring: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cluster: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) profile: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) websocket: Vec<String>,
}

/// Returns the URLs of a listener. A listener on all addresses is listed with each address of this
/// machine.
pub(crate) fn urls(scheme: &str, listener: SocketAddr) -> Vec<String> {
    urls_among(scheme, listener, machine_addresses)
}

// NATS 2.14: server.go resolveHostPorts; includes loopback and link-local addresses.
fn urls_among(
    scheme: &str,
    listener: SocketAddr,
    machine: impl FnOnce() -> Vec<IpAddr>,
) -> Vec<String> {
    let port = listener.port();
    let url = |ip| format!("{scheme}://{}", SocketAddr::new(ip, port));
    if !listener.ip().is_unspecified() {
        return vec![url(listener.ip())];
    }
    // A socket for all IPv6 addresses accepts IPv4 too, here as in Go; not vice versa.
    machine().into_iter().filter(|ip| ip.is_ipv4() || listener.is_ipv6()).map(url).collect()
}

/// Returns the addresses of all interfaces, in order; the loopback address if the system does not
/// list them (a sandbox without netlink).
fn machine_addresses() -> Vec<IpAddr> {
    let mut interfaces: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for entry in getifaddrs().into_iter().flatten() {
        let index = interfaces.iter().position(|(name, _)| *name == entry.interface_name);
        let index = index.unwrap_or_else(|| {
            interfaces.push((entry.interface_name.clone(), Vec::new()));
            interfaces.len() - 1
        });
        let Some(address) = entry.address else { continue };
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        interfaces[index].1.extend(v4.or(v6));
    }
    let addresses: Vec<_> = interfaces.into_iter().flat_map(|(_, addresses)| addresses).collect();
    if addresses.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { addresses }
}

/// The file `<program>_<pid>.ports`; removed when dropped.
#[derive(Debug)]
pub(crate) struct PortsFile {
    path: PathBuf,
}

impl PortsFile {
    pub(crate) fn path(dir: &Path, program: &str) -> PathBuf {
        dir.join(format!("{program}_{}.ports", std::process::id()))
    }

    /// Writes a temporary file and renames it, so that programs waiting for the file never read
    /// half of it.
    pub(crate) fn create(path: PathBuf, ports: &Ports) -> io::Result<Self> {
        let text = serde_json::to_string(ports)?;
        let unfinished = path.with_extension("ports.new");
        let written =
            std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(Self { path })
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!("Error cleaning up ports file {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_atomically_and_is_removed_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = PortsFile::path(dir.path(), "natsd");
        let ports = Ports {
            nats: vec!["nats://127.0.0.1:4222".into()],
            monitoring: vec!["http://127.0.0.1:8222".into()],
            cluster: vec!["tls://127.0.0.1:6222".into()],
            profile: vec!["http://127.0.0.1:65".into()],
            websocket: vec!["ws://127.0.0.1:1".into(), "ws://[::1]:1".into()],
        };
        let file = PortsFile::create(path.clone(), &ports).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            concat!(
                r#"{"nats":["nats://127.0.0.1:4222"],"monitoring":["http://127.0.0.1:8222"],"#,
                r#""cluster":["tls://127.0.0.1:6222"],"profile":["http://127.0.0.1:65"],"#,
                r#""websocket":["ws://127.0.0.1:1","ws://[::1]:1"]}"#
            )
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(file);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_directory_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = PortsFile::path(&dir.path().join("missing"), "natsd");
        assert!(PortsFile::create(path, &Ports::default()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_listener_on_every_address_is_listed_with_each() {
        let machine: Vec<IpAddr> =
            ["127.0.0.1", "::1", "192.0.2.2"].iter().map(|ip| ip.parse().unwrap()).collect();
        for (listener, expected) in [
            ("127.0.0.1:4222", &["nats://127.0.0.1:4222"][..]),
            ("[::1]:4222", &["nats://[::1]:4222"]),
            ("[::]:5", &["nats://127.0.0.1:5", "nats://[::1]:5", "nats://192.0.2.2:5"]),
            ("0.0.0.0:5", &["nats://127.0.0.1:5", "nats://192.0.2.2:5"]),
        ] {
            let found = urls_among("nats", listener.parse().unwrap(), || machine.clone());
            assert_eq!(found, expected, "{listener}");
        }
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        assert!(machine_addresses().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
