// Common parts of the programs here: a browser, and pages that record errors.
//
// The browser is the Chromium named by the environment variable CHROMIUM, or Debian's. Servers and
// reports are those of ../js/harness.mjs.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

export { Server, main, withServer } from "../js/harness.mjs";

// Milliseconds in which an expected element must appear.
const DEADLINE = 15_000;

// The browser contacts the server under test only.
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser;

const folders = [];
process.on("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** Creates a folder that exists until the program ends. */
export function temporaryFolder() {
  folders.push(mkdtempSync(join(tmpdir(), "natsd-page-")));
  return folders.at(-1);
}

/** The browser, started on first use with a temporary profile. */
async function theBrowser() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: FLAGS,
  });
  return browser;
}

/**
 * Runs `body` with an empty, isolated page.
 *
 * `options` are those of playwright's newContext: viewport, colorScheme, extraHTTPHeaders and so on.
 * Errors of the page (on its console, uncaught exceptions) and requests to origins other than those in
 * `origins` fail the scenario, except for errors that match `expected`, to which a scenario may push.
 */
export async function withPage(origins, options, body) {
  const context = await (await theBrowser()).newContext(options);
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  const seen = { requests: [], complaints: [], expected: [] };
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    seen.complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => seen.complaints.push(String(error.stack ?? error)));
  context.on("request", (request) => seen.requests.push(request.url()));
  page.on("websocket", (socket) => seen.requests.push(socket.url()));
  try {
    await body(page, seen);
    const complaints = seen.complaints.filter((text) => !seen.expected.some((known) => known.test(text)));
    if (complaints.length) throw new Error(`the page complained:\n${complaints.join("\n")}`);
    const foreign = seen.requests.filter((url) => !isAt(origins, url));
    if (foreign.length) throw new Error(`fetched from elsewhere:\n${foreign.join("\n")}`);
  } finally {
    await context.close();
  }
}

function isAt(origins, url) {
  const { protocol, origin } = new URL(url);
  return protocol === "data:" || protocol === "blob:" || url === "about:blank" || origins.includes(origin);
}

/** Waits until `holds` returns a true value, and returns that. */
export async function until(what, holds) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Fails with both values unless they are structurally equal. */
export function same(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
}
