// The cluster from this server's view: itself, and each server with a route.

import { h, panel, s } from "./dom.js";
import { bytes, count, roundTrip } from "./format.js";
import { Table } from "./table.js";

const WIDTH = 640;
const HEIGHT = 360;
// A larger circle has no space for names; the table has.
const DRAWN = 24;

export class RoutesView {
  title = "Routes";
  every = 5_000;

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
        { name: "Msgs to", number: true, text: ({ out_msgs }) => count(out_msgs ?? 0) },
        { name: "Msgs from", number: true, text: ({ in_msgs }) => count(in_msgs ?? 0) },
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
    const [{ routes: found, server_name }] = answers;
    const routes = found ?? [];
    this.list.hidden = routes.length === 0;
    this.table.show(routes);
    // Several routes lead to a server: a pool, and those of accounts.
    const peers = new Map();
    for (const route of routes) {
      const peer = peers.get(route.remote_id) ?? { name: named(route), routes: 0, rtt: route.rtt };
      peer.routes += 1;
      peers.set(route.remote_id, peer);
    }
    const shown = [...peers.values()].slice(0, DRAWN);
    this.none.replaceChildren(
      peers.size === 0
        ? "This server has no routes: it serves its clients alone."
        : `${count(peers.size)} ${peers.size === 1 ? "server" : "servers"}, ${count(routes.length)} routes` +
            (peers.size > DRAWN ? `; ${DRAWN} are drawn` : ""),
    );
    this.#draw(server_name || this.shared.varz.server_name, shown);
  }

  #draw(self, peers) {
    const [x, y] = [WIDTH / 2, HEIGHT / 2];
    const places = peers.map((peer, i) => {
      const angle = (2 * Math.PI * i) / peers.length - Math.PI / 2;
      return { peer, x: x + Math.cos(angle) * (x - 110), y: y + Math.sin(angle) * (y - 45) };
    });
    const edges = places.map(({ peer, x: toX, y: toY }) => [
      s("line", { x1: x, y1: y, x2: toX, y2: toY, class: peer.routes > 1 ? "pool" : null }),
      s("text", { x: (x + toX) / 2, y: (y + toY) / 2 - 4, class: "faint" }, peer.rtt ? roundTrip(peer.rtt) : ""),
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
