// Identity and limits of the server, and the expiry of its certificate.

import { h, panel, terms } from "./dom.js";
import { ago, bytes, count, exact, moment, span } from "./format.js";

// Days before the expiry of a certificate from which on it is highlighted.
const SOON = 30;

export class ServerView {
  title = "Server";

  constructor(shared) {
    this.shared = shared;
    this.element = h("div", { class: "cards" });
  }

  paths() {
    return [];
  }

  show() {
    const { varz, health } = this.shared;
    // Only changed text is replaced, so that selections survive.
    const shown = JSON.stringify([varz, health], (key, value) => (["now", "uptime", "mem", "cpu"].includes(key) ? undefined : value));
    if (shown === this.shown) return;
    this.shown = shown;
    const limit = (value, format = exact) => (value == null || value < 0 ? "no limit" : format(value));
    const yes = (value) => (value ? "yes" : "no");
    this.element.replaceChildren(
      panel(
        "Identity",
        terms([
          ["Name", varz.server_name],
          ["Id", varz.server_id],
          ["Speaks NATS", `${varz.version}, protocol ${varz.proto}`],
          ["Built with", varz.go],
          ["Commit", varz.git_commit],
          ["Clients at", `${varz.host}:${varz.port}`],
          ["Tells clients of", varz.connect_urls?.join(", ")],
          ["Started", moment(varz.start)],
          ["Configuration read", moment(varz.config_load_time)],
          ["Its digest", varz.config_digest],
          ["Cores", `${varz.cores}, ${varz.gomaxprocs} threads serve clients`],
          ["Tags", varz.tags?.join(", ")],
          ...Object.entries(varz.metadata ?? {}),
        ]),
      ),
      panel(
        "Health and security",
        terms([
          ["Health", health?.error ?? health?.status],
          ["Clients log in", yes(varz.auth_required)],
          ["TLS required", yes(varz.tls_required)],
          ["Client certificates", yes(varz.tls_verify)],
          ["Certificate", certificate(varz.tls_cert_not_after)],
          ["System account", varz.system_account],
        ]),
      ),
      panel(
        "Monitoring requests",
        terms(Object.entries(varz.http_req_stats ?? {}).map(([path, times]) => [path, count(times)])),
      ),
      panel(
        "Limits",
        terms([
          ["Connections", `${limit(varz.max_connections)} (${exact(varz.connections)} now)`],
          ["Subscriptions of a connection", limit(varz.max_subscriptions || undefined)],
          ["Payload", bytes(varz.max_payload)],
          ["Control line", bytes(varz.max_control_line)],
          ["Pending for a connection", bytes(varz.max_pending)],
          ["Write deadline", span(varz.write_deadline)],
          ["Time to log in", `${varz.auth_timeout} s`],
          ["Time for TLS", `${varz.tls_timeout} s`],
          ["Ping", `every ${span(varz.ping_interval)}, cut after ${varz.ping_max} without answer`],
        ]),
      ),
    );
  }
}

function certificate(until) {
  if (!until) return "none";
  const days = (Date.parse(until) - Date.now()) / 86_400_000;
  const left = days < 0 ? `expired ${ago(-days * 86_400)} ago` : `${ago(days * 86_400)} left`;
  return h("span", { class: days < SOON ? "warn" : null }, `until ${moment(until)} (${left})`);
}
