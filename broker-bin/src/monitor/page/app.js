// The page: the current view, and its rounds of requests.

import { AccountsView } from "./accounts.js";
import { ConnectionsView } from "./connections.js";
import { h, say } from "./dom.js";
import { ago, moment, rates } from "./format.js";
import { OverviewView } from "./overview.js";
import { SPAN } from "./plot.js";
import { RoutesView } from "./routes.js";
import { ServerView } from "./server.js";
import { Refused, Source } from "./source.js";
import { StreamsView } from "./streams.js";

// Milliseconds. Health changes rarely; a list of many thousand connections costs the server more than
// their sums.
const HEALTH_EVERY = 5_000;
const INTERVALS = [1_000, 2_000, 5_000, 10_000];
const REMEMBERED = "natsd.interval";

const COUNTERS = ["in_msgs", "out_msgs", "in_bytes", "out_bytes"];

/** The state shared by all views. */
const shared = {
  varz: undefined,
  health: undefined,
  /** Samples of the last minutes: `{ t, seconds, rates, varz }`. */
  history: [],
  /** Requests new data at once. */
  refresh: () => {
    current.view.last = 0;
    source.ask();
  },
  /** Stores the state of a view in the URL, so that it can be bookmarked and shared. */
  remember: (parameters) => {
    history.replaceState(null, "", `#/${current.name}${parameters.size ? `?${parameters}` : ""}`);
  },
};

const views = {
  overview: new OverviewView(shared),
  connections: new ConnectionsView(shared, "open"),
  closed: new ConnectionsView(shared, "closed"),
  accounts: new AccountsView(shared),
  streams: new StreamsView(shared),
  routes: new RoutesView(shared),
  server: new ServerView(shared),
};

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const name = document.getElementById("name");
const nav = document.getElementById("views");
const links = {};
for (const [key, { title }] of Object.entries(views)) {
  links[key] = h("a", { href: `#/${key}` }, title);
  nav.append(links[key]);
}

let current;

// The controls.

const light = h("span", { class: "light", "aria-hidden": "true" });
const stateText = h("span", { role: "status" });
const waitText = h("span", { class: "wait", "aria-hidden": "true" });
const again = h("button", { type: "button", hidden: true, click: () => source.ask() }, "Try now");
const pause = h("button", { type: "button", click: () => source.pause(!source.isPaused) }, "Pause");
const every = h(
  "select",
  { "aria-label": "Update every", change: () => changeInterval(Number(every.value)) },
  ...INTERVALS.map((millis) => h("option", { value: millis }, `every ${millis / 1000} s`)),
);
const state = h("span", { class: "state" }, light, stateText, waitText);
document.getElementById("controls").append(state, again, pause, every);

function remembered() {
  // The browser may forbid storage.
  try {
    return INTERVALS.find((millis) => String(millis) === localStorage.getItem(REMEMBERED));
  } catch {
    return undefined;
  }
}

function changeInterval(millis) {
  try {
    localStorage.setItem(REMEMBERED, millis);
  } catch {
    // The setting then applies to this visit only.
  }
  source.interval = millis;
  source.ask();
}

// Rounds of requests.

let healthAt = 0;

/** Requests the general data of the server, and the data of the view. */
async function round(get) {
  const now = Date.now();
  const { view } = current;
  const isDue = now - (view.last ?? 0) >= Math.max(view.every ?? 0, source.interval) - 100;
  const paths = isDue ? view.paths() : [];
  const isHealthDue = now - healthAt >= HEALTH_EVERY;
  const [varz, health, ...answers] = await Promise.all([
    get("varz"),
    isHealthDue ? get("healthz") : shared.health,
    ...paths.map((path) => get(path).catch(refused)),
  ]);
  if (isHealthDue) healthAt = now;
  shared.health = health;
  take(varz);
  if (view !== current.view) return;
  if (isDue) view.last = now;
  const failed = answers.find((answer) => answer instanceof Refused);
  main.classList.toggle("refused", Boolean(failed));
  if (failed) tell(`The server does not answer: ${failed.message}`, "bad");
  else view.show(isDue && paths.length ? answers : undefined);
}

function refused(error) {
  if (error instanceof Refused) return error;
  throw error;
}

function take(varz) {
  const before = shared.varz;
  shared.varz = varz;
  if (before && (before.server_id !== varz.server_id || before.start !== varz.start)) {
    shared.history.length = 0;
    for (const view of Object.values(views)) view.reset?.();
    tell(`The server was restarted at ${moment(varz.start)}: all rates begin anew.`);
  }
  const last = shared.history.at(-1);
  const seconds = last ? (Date.parse(varz.now) - Date.parse(last.varz.now)) / 1000 : 0;
  // Two samples in quick succession give random rates.
  if (last && seconds >= 0 && seconds < 0.5) return;
  // Traffic while the page was hidden is not part of the current rate.
  const isGap = seconds > Math.max(5, (3 * source.interval) / 1000) || seconds < 0;
  const t = Date.now();
  shared.history.push({ t, varz, rates: rates(isGap ? undefined : last?.varz, varz, seconds, COUNTERS) });
  while (shared.history[0].t < t - SPAN * 1000) shared.history.shift();
  say(name, varz.server_name);
  document.title = `${varz.server_name} · natsd`;
}

// Status messages.

let noticeTimer;

function tell(text, kind = "") {
  say(notice, text);
  notice.className = kind;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => say(notice, ""), 20_000);
}

let waiting;

function changed(state) {
  const isIll = shared.health && shared.health.status !== "ok";
  const why = shared.health?.error ?? shared.health?.status;
  const texts = {
    waiting: "Connecting …",
    live: isIll ? `Not healthy: ${why}` : "Live",
    paused: "Paused",
    lost: "The server does not answer",
    denied: "Not allowed any more: reload the page to log in",
  };
  say(stateText, texts[state]);
  document.body.dataset.state = state === "live" && isIll ? "ill" : state;
  again.hidden = state !== "lost";
  say(pause, source.isPaused ? "Go on" : "Pause");
  pause.setAttribute("aria-pressed", source.isPaused);
  clearInterval(waiting);
  countDown();
  if (state === "lost") waiting = setInterval(countDown, 1000);
}

function countDown() {
  const seconds = Math.max(0, Math.ceil((source.nextTry - Date.now()) / 1000));
  const seen = shared.history.at(-1);
  const since = seen ? `, last seen ${ago((Date.now() - seen.t) / 1000)} ago` : "";
  say(waitText, source.state === "lost" ? `; trying again in ${seconds} s${since}` : "");
}

// Navigation.

function navigate() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  // Not a view: the link that skips the navigation.
  if (location.hash && !location.hash.startsWith("#/")) return;
  const key = Object.hasOwn(views, path) ? path : "overview";
  const view = views[key];
  const isOther = current?.view !== view;
  current = { name: key, view };
  view.go?.(new URLSearchParams(query));
  for (const [other, link] of Object.entries(links)) {
    if (other === key) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (isOther) {
    main.replaceChildren(view.element);
    view.last = 0;
  }
  if (shared.varz) {
    view.show();
    shared.refresh();
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", navigate);
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea, dialog");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = main.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
});

const source = new Source(new URL("../", import.meta.url), remembered() ?? INTERVALS[0], round, changed);
every.value = source.interval;
navigate();
changed(source.state);
source.ask();
