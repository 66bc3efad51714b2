//! Addresses of this machine: those that clients are told to connect to, and those by which a server would dial itself.

use std::net::{IpAddr, Ipv4Addr};

use crate::advertise::Advertise;

/// Returns the addresses of all network interfaces, in the order of the interfaces.
#[cfg(unix)]
pub(crate) fn addresses() -> Vec<IpAddr> {
    // An interface is listed once by itself, and once with each address.
    let listed: Vec<_> = nix::ifaddrs::getifaddrs().into_iter().flatten().collect();
    let place = |name: &str| listed.iter().position(|other| other.interface_name == name);
    let address = |interface: &nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let ip = v4.or_else(|| Some(IpAddr::from(address.as_sockaddr_in6()?.ip())))?;
        Some((place(&interface.interface_name), ip))
    };
    let mut addresses: Vec<_> = listed.iter().filter_map(address).collect();
    addresses.sort_by_key(|(place, _)| *place);
    addresses.into_iter().map(|(_, ip)| ip).collect()
}

/// Returns no addresses: only Unix systems list them.
#[cfg(not(unix))]
pub(crate) fn addresses() -> Vec<IpAddr> {
    Vec::new()
}

/// Returns the addresses that a listener's clients are told to connect to: the advertised one; else that of the
/// listener, or those of all interfaces if it listens at all of them.
// NATS 2.14: server.go getConnectURLs, getNonLocalIPsIfHostIsIPAny.
pub(crate) fn connect_urls(advertise: Option<&Advertise>, host: &str, port: u16) -> Vec<String> {
    if let Some(advertise) = advertise {
        return vec![host_port(&advertise.host, advertise.port.unwrap_or(port))];
    }
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    if !host.parse().is_ok_and(|address: IpAddr| address.is_unspecified()) {
        return vec![host_port(host, port)];
    }
    tracing::debug!("Get non local IPs for {host:?}");
    let urls = urls_of(addresses().into_iter(), port);
    if urls.is_empty() {
        tracing::error!("Address {host:?} can not be resolved properly");
    }
    urls
}

fn urls_of(addresses: impl Iterator<Item = IpAddr>, port: u16) -> Vec<String> {
    let is_global = addresses.filter(|address| is_global_unicast(*address));
    is_global.map(|address| host_port(&address.to_string(), port)).collect()
}

/// Returns true for addresses at which other machines may reach this one, private ones among them.
// Go: net/ip.go IP.IsGlobalUnicast.
fn is_global_unicast(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_link_local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Joins a host and a port, with brackets around an IPv6 address.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_the_advertised_address_else_that_of_the_listener() {
        let advertise = |text: &str| Some(text.parse().unwrap());
        for (advertise, host, expected) in [
            (None, "127.0.0.1", "127.0.0.1:4222"),
            (None, "::1", "[::1]:4222"),
            (None, "nats.example", "nats.example:4222"),
            (advertise("a.example"), "0.0.0.0", "a.example:4222"),
            (advertise("a.example:99"), "0.0.0.0", "a.example:99"),
            (advertise("[::2]:99"), "", "[::2]:99"),
        ] {
            assert_eq!(connect_urls(advertise.as_ref(), host, 4222), [expected]);
        }
    }

    #[test]
    fn a_listener_at_all_addresses_is_reached_at_those_of_the_interfaces() {
        let found =
            ["127.0.0.1", "10.0.0.1", "169.254.1.1", "::1", "fe80::1", "fd00::1", "8.8.8.8"];
        let found = found.map(|address| address.parse::<IpAddr>().unwrap());
        let urls = urls_of(found.into_iter(), 1);
        assert_eq!(urls, ["10.0.0.1:1", "[fd00::1]:1", "8.8.8.8:1"]);
        for host in ["0.0.0.0", "::", ""] {
            let urls = connect_urls(None, host, 4222);
            assert_eq!(urls, urls_of(addresses().into_iter(), 4222));
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_interfaces_have_the_loopback_address() {
        assert!(addresses().contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
