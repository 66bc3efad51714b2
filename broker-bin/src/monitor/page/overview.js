// Overview of the server.

import { h, panel, say } from "./dom.js";
import { ago, bytes, bytesRate, count, countRate, exact, moment } from "./format.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";

// Rows of each of the two short lists.
const FEW = 5;

export class OverviewView {
  title = "Overview";
  every = 5_000;
  #series = [];

  constructor(shared) {
    this.shared = shared;
    this.tiles = {};
    const tiles = ["Uptime", "Connections ever", "Slow consumers", "Stale connections", "CPU", "Memory"];
    const list = h("dl", { class: "tiles" });
    for (const name of tiles) {
      this.tiles[name] = h("dd");
      list.append(h("div", { class: "panel" }, h("dt", {}, name), this.tiles[name]));
    }
    const [lines, now] = [["in", "out"], ["now"]];
    const unit = "/s";
    this.plots = [
      [new Plot({ title: "Messages", lines, unit, format: countRate }), ({ rates }) => rates.slice(0, 2)],
      [new Plot({ title: "Bytes", lines, unit, format: bytesRate, step: 1024 }), ({ rates }) => rates.slice(2)],
      [new Plot({ title: "Connections", lines: now, format: count }), ({ varz }) => [varz.connections]],
      [new Plot({ title: "Subscriptions", lines: now, format: count }), ({ varz }) => [varz.subscriptions]],
    ];
    this.pending = new Table({
      caption: "Connections for which most is waiting",
      empty: "No connection keeps anything waiting.",
      key: ({ cid }) => cid,
      columns: [
        { name: "cid", number: true, text: ({ cid }) => String(cid) },
        { name: "Name", text: named, exact: named },
        { name: "Pending", number: true, text: (row) => bytes(row.pending_bytes) },
        { name: "Idle", number: true, text: ({ idle }) => idle },
      ],
    });
    this.gone = new Table({
      caption: "Connections that closed last",
      empty: "No connection has closed yet.",
      key: ({ cid }) => cid,
      columns: [
        { name: "cid", number: true, text: ({ cid }) => String(cid) },
        { name: "Name", text: named, exact: named },
        { name: "Reason", text: ({ reason }) => reason },
        { name: "Closed", number: true, text: ({ stop }) => moment(stop) },
      ],
    });
    this.element = h(
      "div",
      {},
      list,
      h("div", { class: "plots" }, ...this.plots.map(([plot]) => plot.element)),
      h(
        "div",
        { class: "pair" },
        panel("Waiting to be read", this.pending.element, more("#/connections?sort=pending", "All connections")),
        panel("Last closed", this.gone.element, more("#/closed", "All closed connections")),
      ),
    );
  }

  reset() {
    this.#series = [];
  }

  paths() {
    return [
      `connz?auth=1&sort=pending&limit=${FEW}`,
      `connz?auth=1&state=closed&sort=stop&limit=${FEW}`,
    ];
  }

  show(answers) {
    const { varz, history } = this.shared;
    this.#showTiles(varz);
    // Samples keep their identity, so that the highlighted one stays highlighted.
    const known = new Map(this.#series.map((sample) => [sample.of, sample]));
    this.#series = history.map(
      (of) => known.get(of) ?? { of, each: this.plots.map(([, values]) => ({ t: of.t, values: values(of) })) },
    );
    this.plots.forEach(([plot], i) => plot.show(this.#series.map(({ each }) => each[i]), Date.now()));
    if (!answers) return;
    const [pending, gone] = answers;
    this.pending.show(pending.connections.filter((row) => row.pending_bytes > 0));
    this.gone.show(gone.connections);
  }

  #showTiles(varz) {
    const tile = (name, text, mark, title) => {
      const element = this.tiles[name];
      say(element, text);
      element.className = mark ? "warn" : "";
      if (title) element.title = title;
    };
    const seconds = (Date.parse(varz.now) - Date.parse(varz.start)) / 1000;
    tile("Uptime", ago(seconds), false, `since ${moment(varz.start)}`);
    tile("Connections ever", count(varz.total_connections), false, exact(varz.total_connections));
    tile("Slow consumers", exact(varz.slow_consumers), varz.slow_consumers > 0, "cut because they did not keep up");
    tile("Stale connections", exact(varz.stale_connections), false, "cut because they did not answer");
    tile("CPU", `${varz.cpu.toFixed(varz.cpu < 10 ? 1 : 0)} %`, false, `of one core; there are ${varz.cores}`);
    tile("Memory", bytes(varz.mem), false, `${exact(varz.mem)} bytes`);
  }
}

/** Returns a connection's name, or else its address. */
function named({ name, ip, port }) {
  return name || (ip ? `${ip}:${port}` : "in process");
}

function more(href, text) {
  return h("p", { class: "more" }, h("a", { href }, text));
}
