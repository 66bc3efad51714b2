// Streams of all accounts: sorted, searched and paged by the server, so that their number does not matter.

import { h, say } from "./dom.js";
import { bytes, count, countRate, exact, moment, rates, since } from "./format.js";
import { StreamDetails } from "./stream.js";
import { Table } from "./table.js";

const ROWS = 50;

const NATURAL = { sort: "name", direction: "ascending" };

const total = (name, title, field, format, more = {}) => ({
  name,
  title,
  number: true,
  text: (row) => format(row[field]),
  exact: (row) => exact(row[field]),
  ...more,
});
// The server sorts these with the largest first only.
const sorted = (sort) => ({ sort, first: "descending" });

export class StreamsView {
  title = "Streams";
  every = 2_000;
  #before = new Map();
  #total = 0;

  constructor(shared) {
    this.shared = shared;
    this.details = new StreamDetails(shared);
    this.table = new Table({
      caption: "Streams",
      empty: "No streams.",
      key: ({ account, name }) => `${account} ${name}`,
      sorted: ({ sort }) => this.#change({ sort, offset: 0 }),
      opened: (row) => this.details.open(row),
      columns: [
        { name: "Stream", sort: "name", first: "ascending", open: true, text: ({ name }) => name },
        { name: "Account", wide: true, text: ({ account }) => account },
        { name: "Storage", text: ({ storage }) => storage },
        total("Msgs", "Messages", "messages", count, sorted("messages")),
        total("Bytes", "Bytes of the messages", "bytes", bytes, { ...sorted("bytes"), mark: (row) => (isFull(row) ? "warn" : "") }),
        total("Subjects", "Subjects of the messages", "subjects", count, { wide: true }),
        { name: "In/s", title: "Messages a second that are stored", number: true, text: ({ rate }) => countRate(rate) },
        total("Consumers", "Consumers", "consumers", count, sorted("consumers")),
        total("Unacked", "Messages that were delivered and not acknowledged", "ack_pending", count, sorted("ack_pending")),
        {
          name: "Last message",
          title: "When the last message was stored",
          number: true,
          ...sorted("last"),
          text: (row) => since(row.last_ts, row.now),
          exact: ({ last_seq, last_ts }) => (last_seq ? moment(last_ts) : ""),
        },
        { name: "State", text: ({ error }) => error ?? "ok", mark: ({ error }) => (error ? "warn" : "faint") },
      ],
    });
    this.search = h("input", {
      type: "search",
      placeholder: "Search",
      "aria-label": "Search all streams",
      spellcheck: "false",
      autocomplete: "off",
      input: () => this.#searchSoon(),
    });
    this.found = h("p", { class: "found", role: "status" });
    const page = (label, text, by) =>
      h("button", { type: "button", "aria-label": label, click: () => this.#change({ offset: Math.max(0, this.offset + by) }) }, text);
    this.back = page("Previous page", "‹", -ROWS);
    this.on = page("Next page", "›", ROWS);
    this.at = h("span");
    const pager = h("div", { class: "pager" }, this.back, this.at, this.on);
    this.element = h(
      "div",
      {},
      h("div", { class: "bar" }, this.search, this.found, pager),
      h("div", { class: "panel" }, this.table.element),
      this.details.element,
    );
    this.go(new URLSearchParams());
  }

  reset() {
    this.#before.clear();
  }

  /** Reads the state of the view from the URL. */
  go(parameters) {
    this.text = parameters.get("search") ?? "";
    this.sort = parameters.get("sort") ?? NATURAL.sort;
    this.offset = 0;
    this.search.value = this.text;
    this.#showOrder();
  }

  #showOrder() {
    const direction = this.sort === NATURAL.sort ? NATURAL.direction : "descending";
    this.table.showOrder({ sort: this.sort, direction });
  }

  #change(change) {
    Object.assign(this, change);
    this.#showOrder();
    const parameters = new URLSearchParams();
    if (this.sort !== NATURAL.sort) parameters.set("sort", this.sort);
    if (this.text) parameters.set("search", this.text);
    this.shared.remember(parameters);
    this.shared.refresh();
  }

  #searchSoon() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#change({ text: this.search.value.trim(), offset: 0 }), 250);
  }

  paths() {
    const asked = new URLSearchParams({ sort: this.sort, offset: this.offset, limit: ROWS });
    if (this.text) asked.set("search", this.text);
    return [`streamz?${asked}`, ...this.details.paths()];
  }

  show(answers) {
    if (!answers) return;
    const [{ now, disabled, total, streams, shows_messages }, ...others] = answers;
    this.details.show(others, { now, shows_messages });
    const before = this.#before;
    this.#before = new Map();
    const rows = (streams ?? []).map((row) => {
      const key = `${row.account} ${row.name}`;
      const last = before.get(key);
      const seconds = (Date.parse(now) - Date.parse(last?.now)) / 1000;
      const [rate] = rates(last, row, seconds, ["last_seq"]);
      const shown = { ...row, now, rate };
      this.#before.set(key, shown);
      return shown;
    });
    this.#total = total;
    this.table.show(rows);
    if (disabled) return say(this.found, "JetStream is not enabled.");
    say(this.found, this.text ? `${exact(total)} of all streams have “${this.text}” in name or account` : `${exact(total)} streams`);
    const first = Math.min(this.offset + 1, total);
    say(this.at, total ? `${exact(first)}–${exact(this.offset + rows.length)} of ${exact(total)}` : "0");
    this.back.disabled = this.offset === 0;
    this.on.disabled = this.offset + ROWS >= total;
    // The selected page no longer exists.
    if (this.offset > 0 && this.offset >= total) this.#change({ offset: 0 });
  }
}

/** Returns true if a stream uses most of the bytes that it may. */
function isFull({ bytes, max_bytes }) {
  return max_bytes > 0 && bytes > 0.9 * max_bytes;
}
