// Readable numbers and times.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Formats with three significant digits. */
function three(number) {
  return number.toFixed(number >= 99.95 || Number.isInteger(number) ? 0 : number >= 9.995 ? 1 : 2);
}

function scaled(number, step, units) {
  let unit = 0;
  while (number >= step * 0.9995 && unit < units.length - 1) {
    number /= step;
    unit += 1;
  }
  return unit === 0 ? `${whole.format(number)}${units[0]}` : `${three(number)}${units[unit]}`;
}

/** Formats with all digits. */
export const exact = (number) => whole.format(number);

/** Formats a count: all digits up to 9,999, then thousands, millions … */
export const count = (number) =>
  Math.abs(number) < 10_000 ? exact(number) : scaled(number, 1000, ["", "k", "M", "G", "T", "P"]);

export const bytes = (number) => scaled(number, 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]);

/** Placeholder of a rate that needs another sample. */
export const NOTHING = "–";

export const countRate = (rate) => {
  if (rate === undefined) return NOTHING;
  return rate > 0 && rate < 10 ? rate.toFixed(1) : count(rate);
};

export const bytesRate = (rate) => (rate === undefined ? NOTHING : bytes(rate));

/** Formats nanoseconds in the notation of options. */
export function span(nanos) {
  const seconds = nanos / 1e9;
  if (seconds < 1) return `${three(seconds * 1000)} ms`;
  return ago(seconds);
}

/** Formats a round-trip time of the server with three digits. */
export function roundTrip(text) {
  const [, number, unit] = /^([\d.]+)(ns|µs|ms|s)$/.exec(text ?? "") ?? [];
  return unit ? `${three(Number(number))} ${unit}` : text || NOTHING;
}

/** Formats seconds in their two largest units. */
export function ago(seconds) {
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const parts = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [unit, size] of units) {
    const many = Math.floor(rest / size);
    rest -= many * size;
    if (many) parts.push(`${many} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** Formats the time between two moments of the server; nothing for its zero time. */
export function since(then, now) {
  return Date.parse(then) > 0 ? `${ago((Date.parse(now) - Date.parse(then)) / 1000)} ago` : NOTHING;
}

const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dateAndTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Formats a time in the user's time zone; with its date unless it is today. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const isToday = date.toDateString() === new Date().toDateString();
  return (isToday ? time : dateAndTime).format(date);
}

/** Returns the growth per second of each counter in `names` between two samples. */
export function rates(before, after, seconds, names) {
  return names.map((name) => {
    const grown = before && seconds > 0 ? (after[name] - before[name]) / seconds : undefined;
    return grown >= 0 ? grown : undefined;
  });
}
