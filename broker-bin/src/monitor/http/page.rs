//! The page at `/`: links to all that there is to see.

use super::answer::escape;
use crate::VERSION;
use crate::monitor::Varz;

const LINKS: &[(&str, &str)] = &[
    ("/varz", "the server"),
    ("/connz", "connections"),
    ("/connz?state=closed", "closed connections"),
    ("/subsz", "subscriptions"),
    ("/accountz", "accounts"),
    ("/accstatz", "traffic of accounts"),
    ("/routez", "routes"),
    ("/gatewayz", "gateways"),
    ("/leafz", "leaf nodes"),
    ("/jsz", "streams"),
    ("/healthz", "health"),
    ("/metrics", "metrics for Prometheus"),
];

pub(super) fn index(varz: &Varz, base_path: &str) -> String {
    let name = escape(&varz.server_name);
    let base = escape(base_path);
    let links: String = LINKS
        .iter()
        .map(|(path, what)| format!("<li><a href=\"{base}{path}\">{path}</a> {what}</li>\n"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>natsd {name}</title>\n\
         <h1>natsd {VERSION}</h1>\n<p>{name}, up {}, {} connections</p>\n<ul>\n{links}</ul>\n</html>\n",
        varz.uptime, varz.connections
    )
}
