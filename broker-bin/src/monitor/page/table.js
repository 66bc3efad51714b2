// A table whose rows keep their elements while values change, so that focus and selection survive.

import { h, say } from "./dom.js";

/**
 * Columns have a `name`, a `text(row)`, and may have: `title` (a longer name), `exact(row)` (shown on hover),
 * `number` (right-aligned), `mark(row)` (a class), `sort` (its sort key), `first` (the
 * direction of that order: "ascending" or "descending"), `wide` (omitted on small screens) and
 * `open` (its cell is a button that opens the row).
 */
export class Table {
  #rows = new Map();

  /** `key(row)` identifies rows. `sorted({ sort, direction })` is called when the user selects another order. */
  constructor({ caption, columns, key, sorted, opened, empty }) {
    Object.assign(this, { columns, key, sorted, opened });
    this.heads = columns.map((column) => this.#head(column));
    this.widths = [];
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty ?? "None.");
    const table = h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, ...this.heads)),
      this.body,
    );
    // Scrollable areas must be reachable by keyboard.
    const scroll = { class: "scroll", tabindex: 0, role: "region", "aria-label": caption };
    this.element = h("div", {}, h("div", scroll, table), this.empty);
  }

  #head(column) {
    const { name, title, sort, number, wide } = column;
    const classes = `${number ? "number" : ""} ${wide ? "wide" : ""}`.trim();
    const label = sort
      ? h("button", { type: "button", title, click: () => this.#sortBy(column) }, name)
      : h("span", { title }, name);
    return h("th", { scope: "col", class: classes || null, "aria-sort": sort ? "none" : null }, label);
  }

  #sortBy({ sort, first }) {
    const turned = this.direction === "ascending" ? "descending" : "ascending";
    this.sorted({ sort, direction: this.sort === sort ? turned : first });
  }

  /** Displays the current order. */
  showOrder({ sort, direction }) {
    Object.assign(this, { sort, direction });
    this.columns.forEach((column, i) => {
      if (!column.sort) return;
      this.heads[i].setAttribute("aria-sort", column.sort === sort ? direction : "none");
    });
  }

  show(rows) {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : undefined;
    const before = this.#rows;
    this.#rows = new Map();
    for (const row of rows) {
      const key = this.key(row);
      const line = before.get(key) ?? this.#line();
      before.delete(key);
      line.row = row;
      this.#rows.set(key, line);
      this.columns.forEach((column, i) => update(line.cells[i], column, row));
      this.#widen(line);
    }
    for (const { element } of before.values()) element.remove();
    let at = this.body.firstChild;
    for (const { element } of this.#rows.values()) {
      if (element === at) at = at.nextSibling;
      else this.body.insertBefore(element, at);
    }
    this.empty.hidden = rows.length > 0;
    // A moved row loses the focus.
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  /** Columns of numbers only grow, so that the table does not jitter. */
  #widen({ cells }) {
    cells.forEach(({ text, classes }, i) => {
      const length = text.textContent.length;
      if (!classes.includes("number") || length <= (this.widths[i] ?? 0)) return;
      this.widths[i] = length;
      this.heads[i].style.minWidth = `${length + 1}ch`;
    });
  }

  #line() {
    const line = {};
    line.cells = this.columns.map(({ open, number, wide }) => {
      const classes = `${number ? "number" : ""} ${wide ? "wide" : ""}`.trim();
      const cell = h(open ? "th" : "td", { class: classes || null, scope: open ? "row" : null });
      const text = open ? h("button", { type: "button" }) : cell;
      if (text !== cell) cell.append(text);
      return { cell, text, classes };
    });
    line.element = h("tr", {}, ...line.cells.map(({ cell }) => cell));
    if (this.opened) {
      line.element.classList.add("opens");
      line.element.addEventListener("click", () => {
        // Selecting text to copy it must not open the row.
        if (getSelection().isCollapsed) this.opened(line.row);
      });
    }
    return line;
  }
}

function update({ cell, text, classes }, column, row) {
  say(text, column.text(row));
  // Zeros are de-emphasized.
  const marked = column.mark?.(row) || (/^(0|0 B|–)$/.test(text.textContent) ? "faint" : "");
  cell.className = marked ? `${classes} ${marked}` : classes;
  const title = column.exact?.(row);
  if (title !== undefined && cell.title !== title) cell.title = title;
}
