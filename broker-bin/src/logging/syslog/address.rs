//! Addresses of syslogs.

use std::path::PathBuf;

use crate::logging::LogError;

/// The address of a syslog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// The syslog of this machine.
    Local,
    /// `host:port`.
    Udp(String),
    /// `host:port`.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `udp://host:port`, `tcp://host:port` or `unix:///path`.
    pub(crate) fn parse(url: &str) -> Result<Self, LogError> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let host = authority.rsplit('@').next().unwrap_or_default().to_owned();
        match scheme.to_ascii_lowercase().as_str() {
            "udp" => Ok(Self::Udp(host)),
            "tcp" => Ok(Self::Tcp(host)),
            "unix" => Ok(Self::Unix(path.into())),
            other => Err(LogError::SyslogNetwork(other.to_owned())),
        }
    }

    /// Returns true for a syslog on this machine, which adds the host name itself.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local | Self::Unix(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_reference_reads_it() {
        for (url, expected) in [
            ("udp://localhost:514", Address::Udp("localhost:514".into())),
            ("UDP://[::1]:514", Address::Udp("[::1]:514".into())),
            ("tcp://user@logs:601/path?x", Address::Tcp("logs:601".into())),
            ("unix:///dev/log", Address::Unix("/dev/log".into())),
            ("unix:/dev/log", Address::Unix("/dev/log".into())),
        ] {
            assert_eq!(Address::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn another_network_is_refused() {
        for (url, network) in [("http://x", "http"), ("foo", ""), ("", "")] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert_eq!(error, format!("error invalid network type: \"{network}\""));
        }
    }
}
