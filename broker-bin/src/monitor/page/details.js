// The details of one connection, and its subscriptions on demand.

import { h, say, terms } from "./dom.js";
import { bytes, bytesRate, count, countRate, exact, moment, rates, roundTrip } from "./format.js";
import { Table } from "./table.js";

// More subscriptions than these are requested on demand only: all arrive in one response.
const ON_OPENING = 1_000;
// Limits the rows that a browser has to lay out.
const ROWS = 500;

const COUNTERS = ["out_msgs", "in_msgs", "out_bytes", "in_bytes"];

export class Details {
  #row;
  #before;
  #isWanted = false;
  #subscriptions = [];

  constructor(shared) {
    this.shared = shared;
    this.heading = h("h2", { id: `details-${Details.next}` });
    const close = h("button", { type: "button", "aria-label": "Close", click: () => this.element.close() }, "×");
    this.facts = h("div");
    this.load = h("button", { type: "button", click: () => this.#want() });
    this.filter = h("input", {
      type: "search",
      placeholder: "Filter subjects",
      "aria-label": "Filter the subjects of these subscriptions",
      input: () => this.#showSubscriptions(),
    });
    this.found = h("p", { class: "found", role: "status" });
    this.table = new Table({
      caption: "Subscriptions",
      empty: "No subscriptions.",
      key: ({ sid }) => sid,
      columns: [
        { name: "Subject", text: ({ subject }) => subject, exact: ({ subject }) => subject },
        { name: "Queue group", text: ({ qgroup }) => qgroup ?? "" },
        { name: "sid", number: true, text: ({ sid }) => sid },
        { name: "Msgs", number: true, text: ({ msgs }) => count(msgs), exact: ({ msgs }) => exact(msgs) },
        { name: "Ends after", title: "Ends after so many messages", number: true, wide: true, text: ({ max }) => (max ? exact(max) : "") },
      ],
    });
    this.list = h("div", {}, h("div", { class: "bar" }, this.filter, this.found), this.table.element);
    this.element = h(
      "dialog",
      { "aria-labelledby": `details-${Details.next}`, close: () => (this.#row = undefined) },
      h("div", { class: "bar" }, this.heading, close),
      this.facts,
      h("div", { class: "bar" }, h("h3", {}, "Subscriptions"), this.load),
      this.list,
    );
    Details.next += 1;
  }

  open(row) {
    this.#row = row;
    this.#before = undefined;
    this.#subscriptions = [];
    this.#isWanted = row.subscriptions > 0 && row.subscriptions <= ON_OPENING;
    this.filter.value = "";
    say(this.heading, `${row.name || "Connection"} · cid ${row.cid}`);
    this.#showFacts(row, []);
    this.#showSubscriptions();
    this.element.showModal();
    this.shared.refresh();
  }

  #want() {
    this.#isWanted = true;
    this.shared.refresh();
  }

  paths() {
    if (!this.#row) return [];
    const subs = this.#isWanted ? "&subs=detail" : "";
    return [`connz?cid=${this.#row.cid}&state=any&auth=1${subs}`];
  }

  show(connz, now) {
    if (!this.#row || !connz) return;
    const [row] = connz.connections;
    // Another one was opened in the meantime, or many have closed since.
    if (row?.cid !== this.#row.cid) return;
    const seconds = (Date.parse(now) - Date.parse(this.#before?.now)) / 1000;
    const isOpen = !row.stop;
    this.#showFacts(row, isOpen ? rates(this.#before?.row, row, seconds, COUNTERS) : []);
    this.#before = { row, now };
    this.#row = row;
    if (this.#isWanted) {
      // Requested once; the user can refresh them.
      this.#isWanted = false;
      this.#subscriptions = row.subscriptions_list_detail ?? [];
    }
    this.#showSubscriptions();
  }

  #showFacts(row, [toRate, fromRate, bytesToRate, bytesFromRate]) {
    const both = (total, rate, format) => (rate === undefined ? total : `${total} (${format(rate)}/s)`);
    const list = terms([
      ["Name", row.name],
      ["Address", row.ip ? `${row.ip}:${row.port}` : "in process"],
      ["Account", row.name_tag ?? row.account],
      ["User", row.authorized_user],
      ["Library", [row.lang, row.version].filter(Boolean).join(" ")],
      ["Protocol", row.type],
      ["TLS", row.tls_version && `${row.tls_version}, ${row.tls_cipher_suite}`],
      ["Certificate", row.tls_peer_certs?.[0]?.subject],
      ["Connected", `${moment(row.start)} (${row.uptime})`],
      ["Closed", row.stop && moment(row.stop)],
      ["Reason", row.reason],
      ["Last active", `${moment(row.last_activity)}${row.stop ? "" : ` (idle ${row.idle})`}`],
      ["Round trip", row.rtt && roundTrip(row.rtt)],
      ["Pending", bytes(row.pending_bytes)],
      ["Messages to it", both(exact(row.out_msgs), toRate, countRate)],
      ["Messages from it", both(exact(row.in_msgs), fromRate, countRate)],
      ["Bytes to it", both(bytes(row.out_bytes), bytesToRate, bytesRate)],
      ["Bytes from it", both(bytes(row.in_bytes), bytesFromRate, bytesRate)],
    ]);
    this.facts.replaceChildren(list);
  }

  #showSubscriptions() {
    const all = this.#subscriptions;
    const many = this.#row.subscriptions;
    this.load.hidden = many === 0;
    say(this.load, all.length ? "Load again" : `Load ${exact(many)}`);
    this.list.hidden = many > 0 && all.length === 0;
    const text = this.filter.value.trim();
    const matching = text ? all.filter(({ subject, qgroup }) => subject.includes(text) || qgroup?.includes(text)) : all;
    const shown = matching.slice(0, ROWS);
    this.filter.hidden = all.length < 10;
    this.table.show(shown);
    const of = text ? `${exact(matching.length)} of ${exact(all.length)} have “${text}” in subject or queue group` : `${exact(all.length)} subscriptions`;
    say(this.found, matching.length > ROWS ? `${of}; the first ${ROWS} are shown` : of);
  }
}

Details.next = 1;
