// A plot of the last minutes, which moves with each sample.

import { h, s, say } from "./dom.js";
import { ago } from "./format.js";

const HEIGHT = 150;
const MARGIN = { left: 62, right: 6, top: 8, bottom: 20 };

/** Time span of plots, in seconds. */
export const SPAN = 300;
// Shorter spans while there are fewer samples, with the distance of their marks.
const SPANS = [[60, 15], [120, 30], [SPAN, 60]];

export class Plot {
  #samples = [];
  #now = 0;
  #width = 0;
  #span = SPAN;
  // The highlighted sample.
  #pointed;

  /**
   * `lines` are names, in the order of a sample's values; `format` formats values, and `unit` follows
   * them; `step` is 1000 or 1024.
   */
  constructor({ title, lines, format, unit = "", step = 1000 }) {
    Object.assign(this, { title, lines, format, unit, step });
    this.values = lines.map(() => h("dd"));
    const legend = lines.map((name, i) =>
      h("div", { class: `line-${i}` }, h("dt", {}, name), this.values[i]),
    );
    this.when = h("span", { class: "when" });
    this.grid = s("g", { class: "grid" });
    this.area = s("path", { class: "area line-0" });
    this.paths = lines.map((_, i) => s("path", { class: `line line-${i}` }));
    this.cursor = s("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.svg = s(
      "svg",
      {
        role: "img",
        tabindex: 0,
        height: HEIGHT,
        pointermove: (event) => this.#point(event.offsetX),
        pointerleave: () => this.#pointAt(),
        blur: () => this.#pointAt(),
        keydown: (event) => this.#key(event),
      },
      this.grid,
      this.area,
      ...this.paths,
      this.cursor,
    );
    this.element = h(
      "figure",
      { class: "panel plot" },
      h("figcaption", {}, h("h2", {}, title), this.when, h("dl", {}, ...legend)),
      this.svg,
    );
    new ResizeObserver(() => {
      this.#width = this.svg.clientWidth;
      this.#draw();
    }).observe(this.svg);
  }

  /** `samples` are `{ t, values }` in chronological order, `t` in milliseconds; a value may be undefined. */
  show(samples, now) {
    this.#samples = samples;
    this.#now = now;
    const age = samples.length ? (now - samples[0].t) / 1000 : 0;
    [this.#span, this.mark] = SPANS.find(([span]) => age <= span) ?? SPANS.at(-1);
    this.#draw();
  }

  #x(t) {
    const { left, right } = MARGIN;
    return left + (1 - (this.#now - t) / 1000 / this.#span) * (this.#width - left - right);
  }

  #draw() {
    if (this.#width === 0) return;
    const bottom = HEIGHT - MARGIN.bottom;
    const known = this.#samples.flatMap(({ values }) => values).filter((value) => value !== undefined);
    const tick = niceStep(Math.max(...known, 1), this.step);
    const top = tick * Math.ceil(Math.max(...known, 1) / tick);
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    const end = this.#width - MARGIN.right;
    const marks = [];
    for (let value = 0; value <= top; value += tick) {
      marks.push(
        s("line", { x1: MARGIN.left, x2: end, y1: y(value), y2: y(value) }),
        s("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value)),
      );
    }
    const mark = this.#width < 420 ? 2 * this.mark : this.mark;
    for (let back = 0; back <= this.#span; back += mark) {
      const text = back ? `−${ago(back)}` : "now";
      const anchor = back === this.#span ? "start" : back ? "middle" : "end";
      const x = this.#x(this.#now - back * 1000);
      marks.push(s("text", { x, y: HEIGHT - 4, "text-anchor": anchor }, text));
    }
    this.grid.replaceChildren(...marks);
    this.paths.forEach((path, i) => path.setAttribute("d", this.#line(i, y)));
    this.area.setAttribute("d", this.#line(0, y, bottom));
    this.#tell();
  }

  /** Draws a line with gaps at missing values; closed at `bottom` if given. */
  #line(i, y, bottom) {
    let d = "";
    let open;
    const close = (t) => {
      if (open !== undefined && bottom !== undefined) d += `V${bottom}H${this.#x(open).toFixed(1)}Z`;
      open = undefined;
    };
    for (const { t, values } of this.#samples) {
      if (values[i] === undefined) {
        close(t);
        continue;
      }
      d += `${open === undefined ? "M" : "L"}${this.#x(t).toFixed(1)},${y(values[i]).toFixed(1)}`;
      open ??= t;
    }
    close();
    return d;
  }

  #tell() {
    if (!this.#samples.includes(this.#pointed)) this.#pointed = undefined;
    const sample = this.#pointed ?? this.#samples.at(-1);
    this.values.forEach((element, i) => {
      const value = sample?.values[i];
      say(element, value === undefined ? "–" : `${this.format(value)}${this.unit}`);
    });
    say(this.when, this.#pointed ? `${ago((this.#now - sample.t) / 1000)} ago` : "");
    this.cursor.classList.toggle("shown", this.#pointed !== undefined);
    if (this.#pointed) {
      this.cursor.setAttribute("x1", this.#x(sample.t));
      this.cursor.setAttribute("x2", this.#x(sample.t));
    }
    const told = this.lines.map((name, i) => `${name} ${this.values[i].textContent}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}: ${told}`);
  }

  #point(x) {
    let nearest;
    let least = Infinity;
    for (const sample of this.#samples) {
      const distance = Math.abs(this.#x(sample.t) - x);
      if (distance < least) [nearest, least] = [sample, distance];
    }
    this.#pointAt(nearest);
  }

  #pointAt(sample) {
    this.#pointed = sample;
    this.#tell();
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.#pointAt();
    if (!step || !this.#samples.length) return;
    event.preventDefault();
    const last = this.#samples.length - 1;
    const from = this.#pointed ? this.#samples.indexOf(this.#pointed) : last;
    this.#pointAt(this.#samples[Math.min(Math.max(from + step, 0), last)]);
  }
}

/** Returns the distance of about four marks up to `max`: 1, 2 or 5 times a power of ten, or powers of two for units of 1024. */
function niceStep(max, step) {
  const raw = Math.max(max / 4, 1);
  if (step === 1024) return 2 ** Math.ceil(Math.log2(raw));
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((nice) => nice * power >= raw);
}
