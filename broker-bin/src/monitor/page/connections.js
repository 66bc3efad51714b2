// Connections, open or closed: sorted, searched and paged by the server, so that their number does not
// matter.

import { Details } from "./details.js";
import { h, say } from "./dom.js";
import { bytes, bytesRate, count, countRate, exact, moment, rates, roundTrip } from "./format.js";
import { Table } from "./table.js";

const SIZES = [25, 50, 100, 250];
// Enough to see recurring problems.
const REASONS_OF = 500;
const REASONS_EVERY = 10_000;
// Share of the maximum queue from which on it is highlighted.
const WORRYING = 0.25;

const COUNTERS = ["out_msgs", "in_msgs", "out_bytes", "in_bytes"];

const number = (name, title, sort, text, more = {}) => {
  return { name, title, sort, first: "descending", number: true, text, ...more };
};
const total = (name, title, sort, field, format, more = {}) =>
  number(name, title, sort, (row) => format(row[field]), { exact: (row) => exact(row[field]), ...more });

const CID = number("cid", "Number of the connection", "cid", ({ cid }) => String(cid), { first: "ascending" });
const NAME = {
  name: "Name",
  open: true,
  text: ({ name }) => name || "(unnamed)",
  exact: ({ name }) => name ?? "",
  mark: ({ name }) => (name ? "" : "faint"),
};
const ADDRESS = {
  name: "Address",
  wide: true,
  text: ({ ip, port }) => (ip ? `${ip.includes(":") ? `[${ip}]` : ip}:${port}` : "in process"),
};
const TOTALS = [
  total("Msgs to", "Messages delivered to it", "msgs_to", "out_msgs", count, { wide: true }),
  total("Msgs from", "Messages it published", "msgs_from", "in_msgs", count, { wide: true }),
  total("Bytes to", "Bytes delivered to it", "bytes_to", "out_bytes", bytes, { wide: true }),
  total("Bytes from", "Bytes it published", "bytes_from", "in_bytes", bytes, { wide: true }),
];
const SUBS = total("Subs", "Subscriptions", "subs", "subscriptions", count);
const ACCOUNT = { name: "Account", wide: true, text: ({ account, name_tag }) => name_tag ?? account ?? "" };
const LIBRARY = [
  { name: "Lang", title: "Language of its library", wide: true, text: ({ lang }) => lang ?? "" },
  { name: "Version", title: "Version of its library", wide: true, text: ({ version }) => version ?? "" },
];
const duration = (name, title, sort, field, more = {}) =>
  number(name, title, sort, (row) => row[field] || "–", { wide: true, ...more });

export class ConnectionsView {
  every = 2_000;
  #before = new Map();
  #total;
  #reasonsAt = 0;

  constructor(shared, state) {
    this.shared = shared;
    this.state = state;
    const isOpen = state === "open";
    this.title = isOpen ? "Connections" : "Closed";
    this.what = isOpen ? "connections" : "closed connections";
    this.natural = isOpen ? { sort: "cid", direction: "ascending" } : { sort: "stop", direction: "descending" };
    this.details = new Details(shared);
    const columns = isOpen ? this.#openColumns() : this.#closedColumns();
    this.first = new Map(columns.map(({ sort, first }) => [sort, first]));
    this.table = new Table({
      caption: isOpen ? "Connections" : "Closed connections",
      columns,
      key: ({ cid }) => cid,
      sorted: (order) => this.#change({ ...order, offset: 0 }),
      opened: (row) => this.details.open(row),
    });
    this.search = h("input", {
      type: "search",
      placeholder: "Search",
      "aria-label": `Search all ${this.what}`,
      spellcheck: "false",
      autocomplete: "off",
      input: () => this.#searchSoon(),
    });
    this.account = h("button", { type: "button", class: "chip", hidden: true, click: () => this.#change({ acc: "", offset: 0 }) });
    this.found = h("p", { class: "found", role: "status" });
    this.size = h(
      "select",
      { "aria-label": "Rows a page", change: () => this.#change({ limit: Number(this.size.value), offset: 0 }) },
      ...SIZES.map((size) => h("option", { value: size }, `${size} rows`)),
    );
    const page = (label, text, to) =>
      h("button", { type: "button", "aria-label": label, click: () => this.#change({ offset: to() }) }, text);
    const { first, last } = { first: () => 0, last: () => Math.max(0, this.#pages() - 1) * this.limit };
    this.back = [page("First page", "«", first), page("Previous page", "‹", () => Math.max(0, this.offset - this.limit))];
    this.on = [page("Next page", "›", () => Math.min(last(), this.offset + this.limit)), page("Last page", "»", last)];
    this.at = h("span");
    const pager = h("div", { class: "pager" }, ...this.back, this.at, ...this.on, this.size);
    this.reasons = h("div", { class: "panel reasons", hidden: true });
    this.element = h(
      "div",
      {},
      isOpen ? null : this.reasons,
      h("div", { class: "bar" }, this.search, this.account, this.found, pager),
      h("div", { class: "panel" }, this.table.element),
      this.details.element,
    );
    this.#set({});
  }

  #openColumns() {
    const rate = (name, title, i, format) =>
      number(name, title, undefined, ({ rates }) => format(rates[i]), i > 1 ? { wide: true } : {});
    const isWorrying = (row) => row.pending_bytes > WORRYING * (this.shared.varz?.max_pending ?? Infinity);
    return [
      CID,
      NAME,
      ADDRESS,
      ACCOUNT,
      SUBS,
      total("Pending", "Bytes that wait for it to read", "pending", "pending_bytes", bytes, {
        mark: (row) => (isWorrying(row) ? "warn" : ""),
      }),
      rate("To/s", "Messages a second delivered to it", 0, countRate),
      rate("From/s", "Messages a second it publishes", 1, countRate),
      rate("Bytes to/s", "Bytes a second delivered to it", 2, bytesRate),
      rate("Bytes from/s", "Bytes a second it publishes", 3, bytesRate),
      ...TOTALS,
      duration("RTT", "Round trip", "rtt", "rtt", { text: ({ rtt }) => roundTrip(rtt) }),
      duration("Idle", "Since it last published, subscribed or was delivered something", "idle", "idle"),
      duration("Uptime", "Since it connected", "uptime", "uptime", { first: "ascending" }),
      ...LIBRARY,
    ];
  }

  #closedColumns() {
    return [
      CID,
      NAME,
      { name: "Reason", sort: "reason", first: "ascending", text: ({ reason }) => reason, mark: ({ reason }) => (isBad(reason) ? "warn" : "") },
      number("Closed", "When it closed", "stop", ({ stop }) => moment(stop), { exact: ({ stop }) => stop }),
      duration("Lasted", "For how long it was connected", "uptime", "uptime", { first: "ascending" }),
      ADDRESS,
      ACCOUNT,
      { ...SUBS, wide: true },
      ...TOTALS,
      ...LIBRARY,
    ];
  }

  reset() {
    this.#before.clear();
    this.#total = undefined;
  }

  /** Reads the state of the view from the URL. */
  go(parameters) {
    const order = parameters.get("sort");
    const sort = this.first.has(order) ? order : this.natural.sort;
    const direction = parameters.get("order") ?? this.first.get(sort);
    this.#set({
      sort,
      direction: direction === "ascending" ? direction : "descending",
      search: parameters.get("search") ?? "",
      acc: parameters.get("acc") ?? "",
      offset: 0,
    });
    this.search.value = this.text;
  }

  #set({ sort = this.natural.sort, direction = this.natural.direction, search = "", acc = "", offset = 0, limit = 50 }) {
    if (search !== this.text || acc !== this.acc) this.#total = undefined;
    Object.assign(this, { sort, direction, text: search, acc, offset, limit });
    this.size.value = limit;
    this.table.showOrder(this);
    this.account.hidden = !acc;
    say(this.account, `account ${acc} ×`);
    this.account.setAttribute("aria-label", `Only of account ${acc}: show all`);
  }

  #change(change) {
    const { sort, direction, text: search, acc, offset, limit } = this;
    this.#set({ sort, direction, search, acc, offset, limit, ...change });
    const parameters = new URLSearchParams();
    const isNatural = this.sort === this.natural.sort && this.direction === this.natural.direction;
    if (!isNatural) parameters.set("sort", this.sort);
    if (!isNatural) parameters.set("order", this.direction);
    if (this.text) parameters.set("search", this.text);
    if (this.acc) parameters.set("acc", this.acc);
    this.shared.remember(parameters);
    this.shared.refresh();
  }

  #searchSoon() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#change({ search: this.search.value.trim(), offset: 0 }), 250);
  }

  #pages() {
    return Math.ceil((this.#total ?? 0) / this.limit);
  }

  paths() {
    const asked = new URLSearchParams({ auth: 1, sort: this.sort });
    if (this.state === "closed") asked.set("state", "closed");
    if (this.text) asked.set("search", this.text);
    if (this.acc) asked.set("acc", this.acc);
    // The server sorts in one direction only; the other is read from the end.
    this.isTurned = this.direction !== this.first.get(this.sort);
    const all = this.#total ?? this.shared.varz?.connections ?? 0;
    const end = Math.max(0, all - this.offset);
    const offset = this.isTurned ? Math.max(0, end - this.limit) : this.offset;
    this.expected = all;
    asked.set("offset", offset);
    asked.set("limit", this.isTurned ? Math.max(1, end - offset) : this.limit);
    const paths = [`connz?${asked}`];
    this.isReasonsDue = this.state === "closed" && Date.now() - this.#reasonsAt > REASONS_EVERY;
    if (this.isReasonsDue) paths.push(`connz?auth=1&state=closed&sort=stop&limit=${REASONS_OF}`);
    return [...paths, ...this.details.paths()];
  }

  show(answers) {
    if (!answers) return;
    const [connz, ...others] = answers;
    if (this.isReasonsDue) this.#showReasons(others.shift().connections);
    this.details.show(others[0], connz.now);
    // The page read from the end was not the last one. Requested again once only: with constantly changing
    // clients it may never be.
    const isGuessed = this.isTurned && this.#total === undefined && connz.total !== this.expected;
    this.#total = connz.total;
    if (isGuessed) this.shared.refresh();
    // The selected page no longer exists.
    if (this.offset > 0 && this.offset >= connz.total) {
      this.#change({ offset: Math.max(0, this.#pages() - 1) * this.limit });
    }
    const rows = this.isTurned ? connz.connections.reverse() : connz.connections;
    const before = this.#before;
    this.#before = new Map();
    for (const row of rows) {
      const { row: last, now } = before.get(row.cid) ?? {};
      row.rates = rates(last, row, (Date.parse(connz.now) - Date.parse(now)) / 1000, COUNTERS);
      this.#before.set(row.cid, { row, now: connz.now });
    }
    this.table.show(rows);
    this.#showFound(rows.length);
  }

  #showFound(shown) {
    const all = this.#total;
    const from = Math.min(this.offset + 1, all);
    const of = this.acc ? ` in account ${this.acc}` : "";
    const where = `name, address, library, account, user${this.state === "closed" ? ", reason" : ""} or cid`;
    const text = this.text
      ? `${exact(all)} of all ${this.what}${of} have “${this.text}” in ${where}`
      : `${exact(all)} ${this.what}${of}`;
    say(this.found, text);
    say(this.at, all ? `${exact(from)}–${exact(this.offset + shown)} of ${exact(all)}` : "0");
    for (const button of this.back) button.disabled = this.offset === 0;
    for (const button of this.on) button.disabled = this.offset + this.limit >= all;
  }

  /** The reasons of closed connections, the most frequent first. */
  #showReasons(closed) {
    this.#reasonsAt = Date.now();
    const counts = new Map();
    for (const { reason } of closed) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    const most = [...counts].sort(([, a], [, b]) => b - a).slice(0, 8);
    const varz = this.shared.varz;
    const items = most.map(([reason, times]) =>
      h(
        "li",
        { class: isBad(reason) ? "warn" : null },
        h("button", { type: "button", click: () => this.#searchFor(reason) }, reason),
        share(times / closed.length),
        h("span", { class: "number" }, exact(times)),
      ),
    );
    this.reasons.hidden = false;
    const focused = this.reasons.contains(document.activeElement);
    if (focused) return;
    this.reasons.replaceChildren(
      h("h2", {}, closed.length ? `Why the last ${exact(closed.length)} closed` : "No connection has closed yet"),
      h("ul", {}, ...items),
      h(
        "p",
        { class: "faint" },
        `Cut since the start: slow consumers ${exact(varz.slow_consumers)}, stale connections ${exact(varz.stale_connections)}.`,
      ),
    );
  }

  #searchFor(reason) {
    this.search.value = reason;
    this.#change({ search: reason, offset: 0 });
    this.search.focus();
  }
}

function share(part) {
  const bar = h("span");
  bar.style.width = `${100 * part}%`;
  return h("span", { class: "share", "aria-hidden": "true" }, bar);
}

/** Returns true if the server closed the connection, not its client. */
function isBad(reason) {
  return !/^(Client Closed|Server Shutdown|Duplicate Client ID)/.test(reason);
}
