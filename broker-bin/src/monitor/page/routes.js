// The cluster from this server's view: itself, and each server with a route.

import { h, panel, s } from "./dom.js";
import { bytes, bytesRate, count, countRate, rates, roundTrip } from "./format.js";
import { Table } from "./table.js";

const WIDTH = 640;
const HEIGHT = 360;
// Of servers side by side.
const LOW = 130;
// A larger circle has no space for names; the table has.
const DRAWN = 24;
const COUNTERS = ["out_msgs", "in_msgs", "out_bytes", "in_bytes"];

export class RoutesView {
  title = "Routes";
  every = 5_000;
  // The last sample: when, and the routes by id.
  #last = { now: undefined, routes: new Map() };

  constructor(shared) {
    this.shared = shared;
    this.none = h("p", { class: "empty" }, "");
    this.drawing = s("svg", { class: "mesh", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Routes" });
    this.table = new Table({
      caption: "Routes",
      empty: "No routes.",
      key: ({ rid }) => rid,
      columns: [
        { name: "rid", number: true, text: ({ rid }) => String(rid) },
        { name: "Server", text: (route) => named(route), exact: ({ remote_id }) => remote_id },
        { name: "Address", wide: true, text: ({ ip, port }) => `${ip}:${port}` },
        { name: "Dialled", wide: true, text: ({ did_solicit }) => (did_solicit ? "by us" : "by them") },
        { name: "Account", wide: true, text: ({ account }) => account ?? "" },
        { name: "Subs", number: true, text: ({ subscriptions }) => count(subscriptions ?? 0) },
        { name: "Pending", number: true, text: ({ pending_size }) => bytes(pending_size ?? 0) },
        { name: "To/s", number: true, text: ({ rates }) => countRate(rates[0]) },
        { name: "From/s", number: true, text: ({ rates }) => countRate(rates[1]) },
        { name: "Bytes to/s", number: true, wide: true, text: ({ rates }) => bytesRate(rates[2]) },
        { name: "Bytes from/s", number: true, wide: true, text: ({ rates }) => bytesRate(rates[3]) },
        { name: "RTT", number: true, text: ({ rtt }) => roundTrip(rtt) },
      ],
    });
    this.list = panel("Routes", this.table.element);
    this.element = h("div", {}, panel("Cluster", this.none, this.drawing), this.list);
  }

  paths() {
    return ["routez"];
  }

  show(answers) {
    if (!answers) return;
    const [{ routes: found, server_name, now }] = answers;
    const seconds = (Date.parse(now) - Date.parse(this.#last.now)) / 1000;
    const routes = (found ?? []).map((route) => ({
      ...route,
      rates: rates(this.#last.routes.get(route.rid), route, seconds, COUNTERS),
    }));
    this.#last = { now, routes: new Map(routes.map((route) => [route.rid, route])) };
    this.list.hidden = routes.length === 0;
    this.table.show(routes);
    // Several routes lead to a server: a pool, and those of accounts.
    const peers = new Map();
    for (const route of routes) {
      const peer = peers.get(route.remote_id) ?? { name: named(route), routes: 0, rtt: route.rtt, pending: 0 };
      peer.routes += 1;
      peer.pending += route.pending_size ?? 0;
      // Messages both ways; unknown until there are two samples.
      const [to, from] = route.rates;
      if (to !== undefined && from !== undefined) peer.rate = (peer.rate ?? 0) + to + from;
      peers.set(route.remote_id, peer);
    }
    const shown = [...peers.values()].slice(0, DRAWN);
    this.none.replaceChildren(
      peers.size === 0
        ? "This server has no routes: it serves its clients alone."
        : `${count(peers.size)} ${peers.size === 1 ? "server" : "servers"}, ${count(routes.length)} routes` +
            (peers.size > DRAWN ? `; ${DRAWN} are drawn` : ""),
    );
    // One circle alone says nothing.
    this.drawing.toggleAttribute("hidden", peers.size === 0);
    this.#draw(server_name || this.shared.varz.server_name, shown);
  }

  #draw(self, peers) {
    // Two are beside this server, where names and lines do not cover each other.
    const isCircle = peers.length > 2;
    const height = isCircle ? HEIGHT : LOW;
    const first = isCircle ? -Math.PI / 2 : Math.PI;
    const [x, y] = [WIDTH / 2, height / 2];
    this.drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    const places = peers.map((peer, i) => {
      const angle = first + (2 * Math.PI * i) / peers.length;
      return { peer, x: x + Math.cos(angle) * (x - 110), y: y + Math.sin(angle) * (y - 45) };
    });
    const edges = places.map(({ peer, x: toX, y: toY }) => [
      s("line", { x1: x, y1: y, x2: toX, y2: toY, class: peer.routes > 1 ? "pool" : null }),
      s("text", { x: (x + toX) / 2, y: (y + toY) / 2 - 8, class: "faint" }, edge(peer)),
    ]);
    this.drawing.replaceChildren(
      ...edges.flat(),
      ...places.map(({ peer, x, y }) => node(peer.name, x, y)),
      node(self, x, y, "self"),
    );
    const names = peers.map(({ name }) => name).join(", ");
    this.drawing.setAttribute("aria-label", names ? `${self}, with routes to ${names}` : `${self}, without routes`);
  }
}

// Round trip, messages both ways, and what waits for the other server.
function edge({ rtt, rate, pending }) {
  const parts = [rtt && roundTrip(rtt), rate > 0 && `${countRate(rate)}/s`, pending > 0 && `${bytes(pending)} pending`];
  return parts.filter(Boolean).join(" · ");
}

function node(name, x, y, kind = "") {
  const short = name.length > 22 ? `${name.slice(0, 20)}…` : name;
  return s(
    "g",
    { class: `node ${kind}` },
    s("title", {}, name),
    s("circle", { cx: x, cy: y, r: kind ? 10 : 8 }),
    s("text", { x, y: y + 26 }, short),
  );
}

function named({ remote_name, remote_id }) {
  return remote_name || remote_id;
}
