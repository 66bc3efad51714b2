// The details of one stream: its consumers, and its messages on demand.

import { h, say } from "./dom.js";
import { bytes, count, countRate, exact, moment, rates, since } from "./format.js";
import { Table } from "./table.js";

// Consumers and messages of one page.
const CONSUMERS = 50;
const MESSAGES = 20;

const number = (name, title, field, format, more = {}) => ({
  name,
  title,
  number: true,
  text: (row) => format(row[field]),
  ...more,
});

export class StreamDetails {
  #row;
  #before = new Map();
  #offset = 0;
  // The messages that are requested with the next round.
  #wanted;
  #messages = [];

  constructor(shared) {
    this.shared = shared;
    this.heading = h("h2", { id: "stream-details" });
    const close = h("button", { type: "button", "aria-label": "Close", click: () => this.element.close() }, "×");
    this.consumers = new Table({
      caption: "Consumers",
      empty: "No consumers.",
      key: ({ name }) => name,
      columns: [
        { name: "Consumer", text: ({ name }) => name, exact: ({ config }) => config?.description ?? "" },
        { name: "Kind", text: ({ config }) => (config?.deliver_subject ? "push" : "pull") },
        number("Out/s", "Messages a second that are delivered", "rate", countRate),
        number("Pending", "Messages that were not delivered", "num_pending", count, { exact: (row) => exact(row.num_pending) }),
        number("Unacked", "Messages that were delivered and not acknowledged", "num_ack_pending", count),
        number("Again", "Messages that were delivered more than once, and are not acknowledged", "num_redelivered", count, {
          mark: ({ num_redelivered }) => (num_redelivered > 0 ? "warn" : ""),
        }),
        number("Waiting", "Requests that wait for messages", "num_waiting", count),
        { name: "Delivered", title: "When a message was last delivered", number: true, text: ({ delivered, ts }) => since(delivered.last_active, ts) },
        { name: "Acked", title: "When a message was last acknowledged", number: true, text: ({ ack_floor, ts }) => since(ack_floor.last_active, ts) },
      ],
    });
    const page = (label, text, by) =>
      h("button", { type: "button", "aria-label": label, click: () => this.#turn(by) }, text);
    this.back = page("Previous consumers", "‹", -CONSUMERS);
    this.on = page("Next consumers", "›", CONSUMERS);
    this.at = h("span");
    this.pager = h("div", { class: "pager" }, this.back, this.at, this.on);
    this.subject = h("input", {
      type: "search",
      placeholder: "All subjects",
      "aria-label": "Only messages whose subject matches",
      spellcheck: "false",
      autocomplete: "off",
      change: () => this.#want({ back: 1 }),
    });
    const step = (text, wanted) => h("button", { type: "button", click: () => this.#want(wanted()) }, text);
    this.newest = step("Newest", () => ({ back: 1 }));
    this.earlier = step("Earlier", () => ({ back: 1, seq: Math.max(1, this.#edge(Math.min) - 1) }));
    this.later = step("Later", () => ({ seq: this.#edge(Math.max) + 1 }));
    this.found = h("p", { class: "found", role: "status" });
    this.list = new Table({
      caption: "Messages",
      empty: "No messages.",
      key: ({ seq }) => seq,
      columns: [
        { name: "Sequence", number: true, text: ({ seq }) => String(seq) },
        { name: "Stored", text: ({ time, damaged }) => (damaged ? "" : moment(time)), exact: ({ time }) => time },
        { name: "Subject", text: ({ subject }) => subject },
        { name: "Headers", text: ({ headers, header_bytes }) => cut(lines(headers), header_bytes > (headers?.length ?? 0), header_bytes) },
        { name: "Payload", text: payload, mark: ({ damaged }) => (damaged ? "warn" : "") },
        { name: "Bytes", number: true, text: ({ payload_bytes }) => bytes(payload_bytes), exact: ({ payload_bytes }) => exact(payload_bytes) },
      ],
    });
    this.shown = h("div", {}, this.list.element);
    this.messages = h(
      "div",
      { class: "messages" },
      h("div", { class: "bar" }, h("h3", {}, "Messages"), this.newest, this.earlier, this.later, this.subject, this.found),
      this.shown,
    );
    this.forbidden = h("p", { class: "faint" }, "Messages are not shown: the option http_messages is off.");
    this.element = h(
      "dialog",
      { "aria-labelledby": "stream-details", close: () => (this.#row = undefined) },
      h("div", { class: "bar" }, this.heading, close),
      h("div", { class: "bar" }, h("h3", {}, "Consumers"), this.pager),
      this.consumers.element,
      this.messages,
      this.forbidden,
    );
  }

  open(row) {
    this.#row = row;
    this.#before.clear();
    this.#offset = 0;
    this.#wanted = undefined;
    this.#messages = [];
    this.subject.value = "";
    say(this.heading, `${row.name} · account ${row.account}`);
    say(this.found, "");
    this.consumers.show([]);
    this.#showMessages();
    this.element.showModal();
    this.shared.refresh();
  }

  #turn(by) {
    this.#offset = Math.max(0, this.#offset + by);
    this.shared.refresh();
  }

  #want(wanted) {
    this.#wanted = wanted;
    this.shared.refresh();
  }

  #edge(pick) {
    return this.#messages.length ? pick(...this.#messages.map(({ seq }) => seq)) : 0;
  }

  paths() {
    if (!this.#row) return [];
    const { account: acc, name: stream } = this.#row;
    const paths = [`streamz?${new URLSearchParams({ acc, stream, offset: this.#offset, limit: CONSUMERS })}`];
    if (this.#wanted) {
      const asked = new URLSearchParams({ acc, stream, limit: MESSAGES, ...this.#wanted });
      if (this.subject.value.trim()) asked.set("subject", this.subject.value.trim());
      paths.push(`messagez?${asked}`);
    }
    // Another stream may be opened before the answer arrives.
    this.asked = { row: this.#row, wanted: this.#wanted };
    return paths;
  }

  show([streamz, messagez], { now, shows_messages }) {
    if (!this.#row || !streamz || this.asked?.row !== this.#row) return;
    this.messages.hidden = !shows_messages;
    this.forbidden.hidden = Boolean(shows_messages);
    const before = this.#before;
    this.#before = new Map();
    const rows = (streamz.consumers ?? []).map((consumer) => {
      const last = before.get(consumer.name);
      const row = { ...consumer, delivered_seq: consumer.delivered.consumer_seq };
      [row.rate] = rates(last?.row, row, (Date.parse(now) - Date.parse(last?.now)) / 1000, ["delivered_seq"]);
      this.#before.set(consumer.name, { row, now });
      return row;
    });
    this.consumers.show(rows);
    const { total } = streamz;
    this.pager.hidden = total <= CONSUMERS;
    say(this.at, `${exact(Math.min(this.#offset + 1, total))}–${exact(this.#offset + rows.length)} of ${exact(total)}`);
    this.back.disabled = this.#offset === 0;
    this.on.disabled = this.#offset + CONSUMERS >= total;
    if (messagez) this.#take(messagez.messages);
  }

  /** Takes the messages that were asked for: once, until the user asks again. */
  #take(messages) {
    const { wanted } = this.asked;
    if (this.#wanted === wanted) this.#wanted = undefined;
    const isEnd = messages.length === 0 && this.#messages.length > 0;
    if (isEnd && wanted.seq) return say(this.found, wanted.back ? "There are no earlier ones." : "There are no later ones.");
    // The latest first, whatever the direction.
    this.#messages = wanted.back ? messages : messages.toReversed();
    say(this.found, `${exact(messages.length)} messages`);
    this.#showMessages();
  }

  #showMessages() {
    this.list.show(this.#messages);
    this.shown.hidden = this.#messages.length === 0 && this.found.textContent === "";
    this.earlier.disabled = this.#messages.length === 0;
    this.later.disabled = this.#messages.length === 0;
  }
}

/** Returns the fields of a header block. */
function lines(headers) {
  return (headers ?? "").replace(/^NATS\/1\.0\r\n/, "").trimEnd();
}

function cut(text, isCut, length) {
  return isCut ? `${text} … (${bytes(length)})` : text;
}

function payload({ payload: text, hex, payload_bytes, damaged }) {
  if (damaged) return "damaged";
  const shown = hex === undefined ? (text ?? "") : `0x${hex}`;
  const length = hex === undefined ? new TextEncoder().encode(shown).length : hex.length / 2;
  return cut(shown, length < payload_bytes, payload_bytes);
}
