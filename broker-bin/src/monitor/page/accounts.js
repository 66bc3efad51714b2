// Traffic of each account, and what it shares.

import { h, say } from "./dom.js";
import { bytes, bytesRate, count, countRate, exact, rates } from "./format.js";
import { Table } from "./table.js";

// Limits the rows that a browser has to lay out.
const ROWS = 500;

const COUNTERS = ["out_msgs", "in_msgs", "out_bytes", "in_bytes"];

const number = (name, title, field, format, more = {}) => ({
  name,
  title,
  sort: field,
  first: "descending",
  number: true,
  text: (row) => format(row[field]),
  ...more,
});
const total = (name, title, field, format, more = {}) =>
  number(name, title, field, format, { exact: (row) => exact(row[field]), ...more });

export class AccountsView {
  title = "Accounts";
  every = 2_000;
  #rows = [];
  #before = new Map();

  constructor(shared) {
    this.shared = shared;
    this.order = { sort: "acc", direction: "ascending" };
    this.table = new Table({
      caption: "Accounts",
      empty: "No account has connections.",
      key: ({ acc }) => acc,
      sorted: (order) => {
        this.order = order;
        this.#show();
      },
      opened: ({ acc }) => (location.hash = `#/connections?${new URLSearchParams({ acc })}`),
      columns: [
        { name: "Account", sort: "acc", first: "ascending", open: true, text: ({ acc }) => acc, exact: ({ acc }) => `Connections of ${acc}` },
        total("Conns", "Connections", "conns", count),
        total("Subs", "Subscriptions", "subs", count),
        number("To/s", "Messages a second delivered in it", "rate0", countRate),
        number("From/s", "Messages a second published in it", "rate1", countRate),
        number("Bytes to/s", "Bytes a second delivered in it", "rate2", bytesRate, { wide: true }),
        number("Bytes from/s", "Bytes a second published in it", "rate3", bytesRate, { wide: true }),
        total("Msgs to", "Messages delivered in it", "out_msgs", count, { wide: true }),
        total("Msgs from", "Messages published in it", "in_msgs", count, { wide: true }),
        total("Bytes to", "Bytes delivered in it", "out_bytes", bytes, { wide: true }),
        total("Bytes from", "Bytes published in it", "in_bytes", bytes, { wide: true }),
        total("Exports", "Streams and services that other accounts may import", "exports", count, { wide: true }),
        total("Imports", "Streams and services of other accounts", "imports", count, { wide: true }),
        total("Mappings", "Mappings of the subjects of published messages", "mappings", count, { wide: true }),
        total("Slow", "Connections that were cut because they did not keep up", "slow", count, {
          mark: ({ slow }) => (slow > 0 ? "warn" : ""),
        }),
      ],
    });
    this.filter = h("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Filter accounts by name",
      input: () => this.#show(),
    });
    this.unused = h("input", { type: "checkbox", change: () => shared.refresh() });
    this.found = h("p", { class: "found", role: "status" });
    const unused = h("label", {}, this.unused, " without connections too");
    this.element = h(
      "div",
      {},
      h("div", { class: "bar" }, this.filter, unused, this.found),
      h("div", { class: "panel" }, this.table.element),
    );
  }

  reset() {
    this.#before.clear();
  }

  paths() {
    return [this.unused.checked ? "accstatz?shares=1&unused=1" : "accstatz?shares=1"];
  }

  show(answers) {
    if (!answers) return;
    const [{ account_statz, now }] = answers;
    const before = this.#before;
    this.#before = new Map();
    this.#rows = (account_statz ?? []).map(({ acc, conns, num_subscriptions, sent, received, slow_consumers, shares }) => {
      const row = {
        acc,
        conns,
        subs: num_subscriptions,
        out_msgs: sent.msgs,
        out_bytes: sent.bytes,
        in_msgs: received.msgs,
        in_bytes: received.bytes,
        slow: slow_consumers,
        ...shares,
      };
      const last = before.get(acc);
      const seconds = (Date.parse(now) - Date.parse(last?.now)) / 1000;
      rates(last?.row, row, seconds, COUNTERS).forEach((rate, i) => (row[`rate${i}`] = rate));
      this.#before.set(acc, { row, now });
      return row;
    });
    this.#show();
  }

  #show() {
    const { sort, direction } = this.order;
    const text = this.filter.value.trim().toLowerCase();
    const rows = this.#rows.filter(({ acc }) => acc.toLowerCase().includes(text));
    const turn = direction === "ascending" ? 1 : -1;
    const value = (row) => row[sort] ?? -1;
    rows.sort((a, b) => turn * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
    this.table.showOrder(this.order);
    this.table.show(rows.slice(0, ROWS));
    const of = text ? `${exact(rows.length)} of ${exact(this.#rows.length)} accounts have “${text}” in their name` : `${exact(rows.length)} accounts`;
    say(this.found, rows.length > ROWS ? `${of}; the first ${ROWS} are shown` : of);
  }
}
